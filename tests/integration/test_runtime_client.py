"""The client, the errors and the cache against a real API server."""

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from qwen3_operator.controller import client as client_module
from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.client import ApiServer, Client
from qwen3_operator.controller.connection import Connection, from_kubeconfig
from qwen3_operator.controller.errors import Conflict, NotLeader, Stalled, Transient
from qwen3_operator.controller.intake import Intake, plain_keys
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.kind import Manifest
from qwen3_operator.controller.queue import WorkQueue
from qwen3_operator.controller.reconciler import Result
from qwen3_operator.controller.resync import Resync
from qwen3_operator.resources.kinds import CONFIG_MAP, DEPLOYMENT, FINE_TUNE, JOB, KINDS
from support.control_plane import ControlPlane
from support.toy_process import write_token_kubeconfig

pytestmark = pytest.mark.integration
numbers = itertools.count()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    name = f"runtime-{next(numbers)}"
    assert control_plane.kubectl("create", "namespace", name).returncode == 0
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def connection(control_plane: ControlPlane) -> Connection:
    return from_kubeconfig([control_plane.kubeconfig])


@pytest.fixture
async def api(connection: Connection) -> AsyncIterator[ApiServer]:
    async with ApiServer(connection) as opened:
        yield opened


@pytest.fixture
def cache() -> Cache:
    return Cache(KINDS)


@pytest.fixture
def client(api: ApiServer, cache: Cache) -> Client:
    return Client(api, KINDS, fence=lambda: True, observe=cache.put)


def build_config_map(namespace: str, name: str = "a", **metadata: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"qwen3.dev/managed": "true", "qwen3.dev/fine-tune": "bot"},
            **metadata,
        },
        "data": {"job.json": "{}"},
    }


def build_job(namespace: str, **spec: Any) -> Manifest:
    container = {"name": "trainer", "image": "trainer"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
            **spec,
        },
    }


def build_finetune(namespace: str) -> Manifest:
    return {
        "apiVersion": "qwen3.dev/v1alpha1",
        "kind": "Qwen3FineTune",
        "metadata": {"name": "bot", "namespace": namespace},
        "spec": {
            "baseModel": {"name": "Qwen/Qwen3-8B"},
            "dataset": {"train": {"type": "S3", "s3": {"uri": "s3://team-a/support.jsonl"}}},
        },
    }


def count(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


async def test_applying_again_changes_nothing(client: Client, cache: Cache, namespace: str) -> None:
    first = await client.apply(build_config_map(namespace))
    second = await client.apply(build_config_map(namespace))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert cache.get(CONFIG_MAP, namespace, "a") == first, "written through"


async def test_another_managers_field(client: Client, namespace: str) -> None:
    await client.apply(build_config_map(namespace))
    theirs = build_config_map(namespace) | {"data": {"job.json": "theirs"}}
    with pytest.raises(Conflict, match="conflict with"):
        await client.apply(theirs, field_manager="somebody", force=False)
    applied = await client.apply(theirs, field_manager="somebody", force=True)
    assert applied["data"] == {"job.json": "theirs"}


async def test_a_write_meant_for_one_object_never_lands_on_a_namesake(
    client: Client, namespace: str
) -> None:
    foreign = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(Conflict):
        await client.apply(build_config_map(namespace, uid=foreign))
    assert await client.get(CONFIG_MAP, namespace, "a") is None
    await client.apply(build_config_map(namespace))
    with pytest.raises(Conflict):
        await client.apply(build_config_map(namespace, uid=foreign))
    with pytest.raises(Conflict):
        await client.apply(build_config_map(namespace, resourceVersion="1"))
    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAP, namespace, "a", uid=foreign)
    assert await client.get(CONFIG_MAP, namespace, "a") is not None


async def test_absence_is_no_error(client: Client, namespace: str) -> None:
    assert await client.get(JOB, namespace, "nope") is None
    await client.delete(JOB, namespace, "nope")
    status = build_finetune(namespace) | {"status": {"observedGeneration": 1}}
    del status["spec"]
    assert await client.apply_status(status) is None


@pytest.mark.parametrize(
    "spec", [{"backofLimit": 1}, {"backoffLimit": -1}, {"backoffLimit": "three"}], ids=str
)
async def test_what_the_server_refuses_is_not_tried_again(
    client: Client, namespace: str, spec: dict[str, Any]
) -> None:
    with pytest.raises(Stalled) as caught:
        await client.apply(build_job(namespace, **spec))
    assert caught.value.reason == "Invalid"


async def test_a_namespace_that_is_not_there(client: Client) -> None:
    with pytest.raises(Stalled, match="not found"):
        await client.apply(build_config_map("no-such-namespace"))


async def test_status_of_a_namesake(client: Client, namespace: str) -> None:
    created = await client.apply(build_finetune(namespace))
    status = {
        "apiVersion": created["apiVersion"],
        "kind": created["kind"],
        "metadata": {"name": "bot", "namespace": namespace, "uid": created["metadata"]["uid"]},
        "status": {"observedGeneration": 1},
    }
    applied = await client.apply_status(status)
    assert applied is not None
    assert applied["status"]["observedGeneration"] == 1
    await client.delete(FINE_TUNE, namespace, "bot")
    await client.apply(build_finetune(namespace))
    with pytest.raises(Conflict, match="another object of the same name"):
        await client.apply_status(status)
    status["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"]
    with pytest.raises(Conflict, match="has been modified"):
        await client.apply_status(status)


async def test_a_stale_list_of_finalizers_is_refused(client: Client, namespace: str) -> None:
    created = await client.apply(build_config_map(namespace))
    version = created["metadata"]["resourceVersion"]
    held = await client.patch_finalizers(CONFIG_MAP, namespace, "a", ["qwen3.dev/a"], version)
    assert held is not None
    with pytest.raises(Conflict):
        await client.patch_finalizers(CONFIG_MAP, namespace, "a", [], version)
    await client.delete(CONFIG_MAP, namespace, "a")
    blocked = await client.get(CONFIG_MAP, namespace, "a")
    assert blocked is not None
    await client.patch_finalizers(
        CONFIG_MAP, namespace, "a", [], blocked["metadata"]["resourceVersion"]
    )
    assert await client.get(CONFIG_MAP, namespace, "a") is None


async def test_a_closed_fence_sends_nothing(api: ApiServer, namespace: str) -> None:
    client = Client(api, KINDS, fence=lambda: False)
    sent = count("qwen3_operator_api_writes_total", verb="apply", kind="ConfigMap")
    fenced = count("qwen3_operator_writes_fenced_total", verb="apply", kind="ConfigMap")
    with pytest.raises(NotLeader):
        await client.apply(build_config_map(namespace))
    assert await client.get(CONFIG_MAP, namespace, "a") is None
    assert count("qwen3_operator_api_writes_total", verb="apply", kind="ConfigMap") == sent
    now_fenced = count("qwen3_operator_writes_fenced_total", verb="apply", kind="ConfigMap")
    assert now_fenced == fenced + 1


async def test_writes_are_counted_by_verb_and_kind(client: Client, namespace: str) -> None:
    before = count("qwen3_operator_api_writes_total", verb="apply", kind="Job")
    await client.apply(build_job(namespace, suspend=True))
    await client.get(JOB, namespace, "a")
    assert count("qwen3_operator_api_writes_total", verb="apply", kind="Job") == before + 1


async def test_lists_are_read_in_pages(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LIST_PAGE", 2)
    for number in range(5):
        await client.apply(build_config_map(namespace, f"n{number}"))
    items, version = await client.list(CONFIG_MAP, namespace, KINDS.managed_selector)
    assert sorted(item["metadata"]["name"] for item in items) == [f"n{n}" for n in range(5)]
    assert all(int(item["metadata"]["resourceVersion"]) <= int(version) for item in items)
    assert {item["kind"] for item in items} == {"ConfigMap"}


async def test_events_reach_the_reader(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    created = await client.apply(build_finetune(namespace))
    await client.create_event(created, type_="Warning", reason="DatasetNotFound", message="no file")
    shown = control_plane.kubectl("describe", "q3ft", "bot", "-n", namespace).stdout
    assert "DatasetNotFound" in shown
    assert "no file" in shown


async def test_a_lost_event_does_not_fail_the_reconcile(connection: Connection) -> None:
    lost = count("qwen3_operator_events_lost_total")
    async with ApiServer(replace(connection, server="https://127.0.0.1:1")) as away:
        client = Client(away, KINDS, fence=lambda: True)
        await client.create_event(build_finetune("x"), type_="Normal", reason="X", message="y")
        assert count("qwen3_operator_events_lost_total") == lost + 1
        with pytest.raises(NotLeader):
            await Client(away, KINDS, fence=lambda: False).create_event(
                build_finetune("x"), type_="Normal", reason="X", message="y"
            )


async def test_a_missing_right_names_itself(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    run = control_plane.kubectl
    run("create", "serviceaccount", "weak", "-n", namespace)
    run("create", "role", "weak", "-n", namespace, "--verb=get,list", "--resource=jobs.batch")
    run("create", "rolebinding", "weak", "-n", namespace, "--role=weak",
        f"--serviceaccount={namespace}:weak")  # fmt: skip
    token = run("create", "token", "weak", "-n", namespace).stdout.strip()
    path = write_token_kubeconfig(control_plane.kubeconfig, token, tmp_path / "weak")
    weak = from_kubeconfig([path])
    async with ApiServer(weak) as api:
        client = Client(api, KINDS, fence=lambda: True)
        assert await client.get(JOB, namespace, "a") is None
        with pytest.raises(Stalled) as caught:
            await client.apply(build_job(namespace))
        assert caught.value.reason == "Forbidden"
        assert caught.value.recheck == 300
        assert 'cannot patch resource "jobs"' in caught.value.message
        with pytest.raises(Stalled, match='cannot list resource "deployments"'):
            await client.list(DEPLOYMENT, namespace)
    wrong = replace(weak, token=lambda: "nonsense")
    async with ApiServer(wrong) as api:
        with pytest.raises(Transient, match="Unauthorized"):
            await api.get(JOB, namespace, "a")


async def test_an_api_server_that_is_away(connection: Connection) -> None:
    async with ApiServer(replace(connection, server="https://127.0.0.1:1")) as api:
        with pytest.raises(Transient) as caught:
            await api.get(JOB, "default", "a")
    assert caught.value.reason == "ApiUnreachable"


async def test_resync_finds_what_no_watch_told(
    api: ApiServer, client: Client, cache: Cache, control_plane: ControlPlane, namespace: str
) -> None:
    await client.apply(build_config_map(namespace, "stays"))
    await client.apply(build_config_map(namespace, "vanishes"))
    seen: list[Key] = []

    async def reconcile(key: Key) -> Result:
        seen.append(key)
        return Result()

    queue = WorkQueue(reconcile, workers=1)
    resync = Resync(api, cache, Intake(cache, queue, partial(plain_keys, KINDS)), [namespace], 120)
    await resync.list_all()
    control_plane.kubectl("delete", "cm", "vanishes", "-n", namespace)
    control_plane.kubectl("label", "cm", "stays", "qwen3.dev/managed-", "-n", namespace)
    control_plane.kubectl("create", "-f", "-", stdin=MANAGED_YAML.format(namespace=namespace))
    await resync.list_all()
    names = {obj["metadata"]["name"] for obj in cache.list(CONFIG_MAP, namespace)}
    assert names == {"missed"}
    queue.start()
    assert await queue.stop(grace=5)


MANAGED_YAML = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: missed
  namespace: {namespace}
  labels: {{qwen3.dev/managed: "true", qwen3.dev/fine-tune: bot}}
"""
