"""The runtime as a process against a real API server: watches, repairs, election, refusals.

The reconcile is a toy (support/toy_operator.py); the decisions have tests of their own.
"""

import base64
import itertools
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kubernetes import client, config, watch

from qwen3_local.cluster import up_control_plane
from qwen3_local.programs import stop_recorded
from qwen3_operator.controller.election import LEASE_SECONDS
from support.control_plane import PORTS, ControlPlane, install_crds, stop
from support.ports import free_ports
from support.toy_process import ToyProcess, start_toy, write_token_kubeconfig
from support.waiting import hold_for, wait_for

pytestmark = pytest.mark.integration
numbers = itertools.count()

FINE_TUNE = {
    "apiVersion": "qwen3.dev/v1alpha1",
    "kind": "Qwen3FineTune",
    "metadata": {"name": "bot"},
    "spec": {
        "baseModel": {"name": "Qwen/Qwen3-8B"},
        "dataset": {"train": {"type": "S3", "s3": {"uri": "s3://team-a/support.jsonl"}}},
    },
}


@dataclass
class Place:
    """A namespace with toys in it."""

    plane: ControlPlane
    namespace: str
    folder: Path
    toys: list[ToyProcess]

    def start(self, identity: str, *options: str, kubeconfig: Path | None = None) -> ToyProcess:
        toy = start_toy(
            kubeconfig or self.plane.kubeconfig, self.namespace, self.folder, identity, *options
        )
        self.toys.append(toy)
        return toy

    def create_finetune(self) -> None:
        result = self.plane.kubectl(
            "create", "-n", self.namespace, "-f", "-", stdin=json.dumps(FINE_TUNE)
        )
        assert result.returncode == 0, result.stderr

    def get(self, what: str) -> dict[str, object]:
        """An object as JSON, empty if it isn't there."""
        result = self.plane.kubectl("get", what, "-n", self.namespace, "-o", "json")
        return json.loads(result.stdout) if result.returncode == 0 else {}

    def wait_for_child(self, what: str, until: Callable[[dict[str, object]], bool] = bool) -> None:
        wait_for(lambda: self.get(what), until, f"{what} exists", 180, 0.1)


def make_place(plane: ControlPlane, folder: Path) -> Place:
    name = f"operator-{next(numbers)}"
    assert plane.kubectl("create", "namespace", name).returncode == 0
    return Place(plane, name, folder, [])


@pytest.fixture
def place(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Place]:
    found = make_place(control_plane, tmp_path)
    yield found
    for toy in found.toys:
        toy.end()
    control_plane.kubectl("delete", "namespace", found.namespace, "--wait=false")


def uid_of(obj: dict[str, object]) -> object:
    metadata = obj.get("metadata", {})
    return metadata.get("uid") if isinstance(metadata, dict) else None


def test_children_follow_the_resource_and_kopf_leaves_no_trace(place: Place) -> None:
    toy = place.start("toy")
    toy.wait_leading()
    place.create_finetune()
    place.wait_for_child("job/bot")
    place.wait_for_child("configmap/bot")
    first = uid_of(place.get("job/bot"))
    place.plane.kubectl("delete", "job", "bot", "-n", place.namespace)
    place.wait_for_child("job/bot", lambda job: uid_of(job) not in {None, first})
    wait_for(
        lambda: place.get("q3ft/bot").get("status"),
        lambda status: isinstance(status, dict) and status.get("observedGeneration") == 1,
        "status written",
    )
    metadata = place.get("q3ft/bot")["metadata"]
    assert isinstance(metadata, dict)
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    assert toy.probe("/healthz") == (200, "ok\n")
    assert toy.probe("/readyz") == (200, "ok\n")
    toy.send(signal.SIGTERM)
    assert toy.process.wait(180) == 0
    assert "Traceback" not in toy.log


def test_a_missing_right_is_told_at_once_and_ends_the_process(place: Place) -> None:
    run, space = place.plane.kubectl, place.namespace
    run("create", "serviceaccount", "weak", "-n", space)
    run("create", "role", "weak", "-n", space, "--verb=get,list,watch,create,update",
        "--resource=leases.coordination.k8s.io,pods,services,configmaps,deployments.apps,"
        "qwen3finetunes.qwen3.dev,qwen3evals.qwen3.dev")  # fmt: skip
    run("create", "rolebinding", "weak", "-n", space, "--role=weak",
        f"--serviceaccount={space}:weak")  # fmt: skip
    token = run("create", "token", "weak", "-n", space).stdout.strip()
    path = write_token_kubeconfig(place.plane.kubeconfig, token, place.folder / "weak")
    toy = place.start("weak", kubeconfig=path)
    wait_for(lambda: toy.log, lambda log: "cannot list" in log, "the refusal is logged", 180, 0.1)
    assert 'cannot list resource \\"jobs\\"' in toy.log
    assert toy.probe("/readyz") == (503, "caches: initial list not finished\n")
    assert toy.process.wait(180) == 1
    assert "FirstListError" not in toy.log.splitlines()[-1]
    assert "Traceback" not in toy.log


# --- election -------------------------------------------------------------------------------------


class Writers:
    """Who wrote the beat, in order, as a watch of the API server tells it."""

    def __init__(self, place: Place) -> None:
        self._core = client.CoreV1Api(place.plane.api)
        self._namespace = place.namespace
        self.seen: list[tuple[float, str]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        watcher = watch.Watch()
        while not self._ending.is_set():
            # One second at a time, each from where the last one ended.
            for event in watcher.stream(
                self._core.list_namespaced_config_map,
                self._namespace,
                timeout_seconds=1,
                resource_version=watcher.resource_version,
            ):
                data = event["object"].data or {}
                if "writer" in data:
                    self.seen.append((time.monotonic(), data["writer"]))

    def end(self) -> None:
        self._ending.set()
        self._thread.join(10)

    def last(self) -> str | None:
        return self.seen[-1][1] if self.seen else None

    def first_of(self, writer: str) -> float:
        return next(at for at, who in self.seen if who == writer)

    def wait_for(self, writer: str, seconds: float) -> None:
        wait_for(self.last, lambda last: last == writer, f"{writer} writes", seconds, 0.05)

    def assert_handed_over_once(self) -> None:
        names = [name for name, _ in itertools.groupby(who for _, who in self.seen)]
        assert names == ["one", "two"], "a write by a non-holder"


@pytest.fixture
def pair(place: Place) -> Iterator[tuple[ToyProcess, ToyProcess, Writers]]:
    """`one` leads and writes ten times a second, `two` stands by."""
    writers = Writers(place)
    place.create_finetune()
    one = place.start("one", "--beat", "0.1")
    writers.wait_for("one", 180)
    two = place.start("two", "--beat", "0.1")
    wait_for(lambda: two.log, lambda log: "waiting for the lease" in log, "two stands by", 180, 0.1)
    wait_for(lambda: two.probe("/readyz"), lambda probe: probe[0] == 200, "a standby is ready", 180)
    # Its 15 s start at its first look; a killed leader may have renewed just before.
    hold_for(writers.last, lambda last: last == "one", "one leads", 2)
    yield one, two, writers
    writers.end()


def test_a_killed_leader_is_followed(
    pair: tuple[ToyProcess, ToyProcess, Writers],
) -> None:
    one, _, writers = pair
    one.send(signal.SIGKILL)
    killed = time.monotonic()
    writers.wait_for("two", 4 * LEASE_SECONDS)
    taken = writers.first_of("two") - killed
    print(f"SIGKILL to the first write of the other: {taken:.1f} s")
    writers.assert_handed_over_once()


def test_a_stopped_leader_that_wakes_up_writes_nothing(
    pair: tuple[ToyProcess, ToyProcess, Writers],
) -> None:
    one, _, writers = pair
    one.send(signal.SIGSTOP)
    writers.wait_for("two", 180)
    one.send(signal.SIGCONT)
    assert one.process.wait(180) == 1, "it gives up by itself"
    assert "one lost" in one.log
    hold_for(writers.last, lambda last: last == "two", "two leads alone", 3)
    writers.assert_handed_over_once()


def test_a_leader_that_ends_gives_its_lease_back(
    pair: tuple[ToyProcess, ToyProcess, Writers],
) -> None:
    one, _, writers = pair
    one.send(signal.SIGTERM)
    asked = time.monotonic()
    writers.wait_for("two", 180)
    taken = writers.first_of("two") - asked
    print(f"SIGTERM to the first write of the other: {taken:.1f} s")
    assert taken < LEASE_SECONDS, "the lease was given back, not left to expire"
    assert one.process.wait(180) == 0
    writers.assert_handed_over_once()


# --- an API server that goes away -----------------------------------------------------------------


@pytest.fixture
def own_place(tmp_path: Path) -> Iterator[tuple[Place, int]]:
    """A control plane of its own, because its API server is stopped; and its first port."""
    name, port = f"pytest-{os.getpid()}-away", free_ports(PORTS)
    cluster = up_control_plane(name, port)
    api = config.new_client_from_config(config_file=str(cluster.kubeconfig))
    plane = ControlPlane(api, cluster.kubeconfig, cluster)
    install_crds(plane)
    found = make_place(plane, tmp_path)
    yield found, port
    for toy in found.toys:
        toy.end()
    api.close()
    stop(cluster)


def delete_in_etcd(endpoint: str, key: str) -> None:
    """Delete behind the API server's back; the only way to be sure that no watch tells of it."""
    body = json.dumps({"key": base64.b64encode(key.encode()).decode()}).encode()
    request = urllib.request.Request(f"{endpoint}/v3/kv/deleterange", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.loads(answer.read()).get("deleted") == "1"


def test_what_vanished_while_the_api_server_was_away_is_noticed(
    own_place: tuple[Place, int],
) -> None:
    place, port = own_place
    cluster = place.plane.cluster
    # A longer lease: this is about the watches, and a lost lease would only restart the process.
    toy = place.start("toy", "--lease", "120")
    toy.wait_leading()
    place.create_finetune()
    place.wait_for_child("job/bot")
    first = uid_of(place.get("job/bot"))
    assert stop_recorded(cluster.folder / "run" / "apiserver.json")
    delete_in_etcd(f"http://127.0.0.1:{port + 1}", f"/registry/jobs/{place.namespace}/bot")
    up_control_plane(cluster.name, port)
    started = time.monotonic()
    place.wait_for_child("job/bot", lambda job: uid_of(job) not in {None, first})
    print(f"API server back to Job back: {time.monotonic() - started:.1f} s")
    assert toy.process.poll() is None, "it lived through it"
    assert toy.log.count("waiting for the lease") == 1
