"""What the local platform promises to everything that runs on it."""

import json
from collections.abc import Iterator

import pytest

from qwen3_local import cluster, images, node, s3
from qwen3_local.cluster import Cluster
from qwen3_local.programs import ProgramError, wait_until

NAMESPACE = "local-platform"
PSS = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    """The cluster with a namespace that admits only restricted pods."""
    found = cluster.up()
    labels = {PSS: "restricted"}
    space = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    }
    found.kubectl_run("apply", "--server-side", "-f", "-", stdin=json.dumps(space))
    yield found
    found.kubectl_run("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def image() -> str:
    """A small image with Python, by digest."""
    return images.build(["evaluator"])["evaluator"].ref


def pod_spec(image: str, script: str, limits: dict[str, str] | None = None) -> dict[str, object]:
    """A pod that the restricted policy admits, with a read-only root file system."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", script],
        "resources": {"limits": limits or {}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }


def run_pod(running: Cluster, name: str, spec: dict[str, object]) -> None:
    """Create the pod anew."""
    place = ("--namespace", NAMESPACE)
    running.kubectl_run("delete", "pod", name, *place, "--ignore-not-found", "--grace-period=0")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    running.kubectl_run("create", *place, "-f", "-", stdin=json.dumps(pod))


def phase(running: Cluster, name: str) -> str:
    return running.kubectl_run(
        "get", "pod", name, "--namespace", NAMESPACE, "-o", "jsonpath={.status.phase}"
    )


def output(running: Cluster, name: str) -> str:
    """The log of a pod that ended well."""
    wait_until(lambda: phase(running, name) in {"Succeeded", "Failed"}, f"end of pod {name}", 180)
    log = running.kubectl_run("logs", name, "--namespace", NAMESPACE)
    assert phase(running, name) == "Succeeded", log
    return log


def test_restricted_job_with_failure_policy_completes_on_an_advertised_gpu(
    running: Cluster, image: str
) -> None:
    gpu = {node.GPU_RESOURCE: "1"}
    policy = {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]},
            }
        ]
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "trains"},
        "spec": {
            "backoffLimit": 3,
            "podFailurePolicy": policy,
            "podReplacementPolicy": "Failed",
            "template": {"spec": pod_spec(image, "import os; print(os.getuid())", gpu)},
        },
    }
    place = ("--namespace", NAMESPACE)
    running.kubectl_run("delete", "job", "trains", *place, "--ignore-not-found")
    running.kubectl_run("create", *place, "-f", "-", stdin=json.dumps(job))
    running.kubectl_run("wait", "job/trains", *place, "--for=condition=Complete", "--timeout=180s")
    assert running.kubectl_run("logs", "job/trains", *place).strip() == "65532"


def test_user_error_fails_the_job_at_once(running: Cluster, image: str) -> None:
    rule = {"containerName": "main", "operator": "In", "values": [42]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "fails"},
        "spec": {
            "backoffLimit": 3,
            "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": rule}]},
            "template": {"spec": pod_spec(image, "raise SystemExit(42)")},
        },
    }
    place = ("--namespace", NAMESPACE)
    running.kubectl_run("delete", "job", "fails", *place, "--ignore-not-found")
    running.kubectl_run("create", *place, "-f", "-", stdin=json.dumps(job))
    running.kubectl_run("wait", "job/fails", *place, "--for=condition=Failed", "--timeout=180s")
    found = json.loads(running.kubectl_run("get", "job", "fails", *place, "-o", "json"))
    assert found["status"]["failed"] == 1
    reasons = [condition["reason"] for condition in found["status"]["conditions"]]
    assert "PodFailurePolicy" in reasons


def test_pod_resolves_services_by_short_and_full_name(running: Cluster, image: str) -> None:
    script = (
        "import socket\n"
        "for name in ('kubernetes.default', 'kubernetes.default.svc.cluster.local'):\n"
        "    print(socket.gethostbyname(name))\n"
    )
    run_pod(running, "resolves", pod_spec(image, script))
    assert output(running, "resolves").split() == ["10.96.0.1", "10.96.0.1"]


def test_pod_reaches_the_api_server_and_the_object_store(running: Cluster, image: str) -> None:
    server = s3.start()
    script = (
        "import socket\n"
        "socket.create_connection(('kubernetes.default', 443), 10).close()\n"
        f"socket.create_connection(('{server.address}', {server.port}), 10).close()\n"
        "print('both')\n"
    )
    run_pod(running, "connects", pod_spec(image, script))
    assert output(running, "connects").strip() == "both"


def test_exec_reaches_a_running_pod(running: Cluster, image: str) -> None:
    script = "import time; print('up', flush=True); time.sleep(600)"
    run_pod(running, "waits", pod_spec(image, script))
    place = ("--namespace", NAMESPACE)
    running.kubectl_run("wait", "pod/waits", *place, "--for=condition=Ready", "--timeout=180s")
    said = running.kubectl_run("exec", "waits", *place, "--", "python", "-c", "print(6*7)")
    assert said.strip() == "42"
    running.kubectl_run("delete", "pod", "waits", *place, "--grace-period=0", "--force")


def test_privileged_pod_is_refused(running: Cluster, image: str) -> None:
    spec = pod_spec(image, "print('never')")
    spec["hostNetwork"] = True
    with pytest.raises(ProgramError, match="violates PodSecurity"):
        run_pod(running, "refused", spec)


def test_node_offers_the_gpus(running: Cluster) -> None:
    found = cluster.node_object(running)
    assert found is not None
    status = found["status"]
    assert isinstance(status, dict)
    assert status["allocatable"][node.GPU_RESOURCE] == str(node.GPU_COUNT)


def test_second_up_starts_nothing(running: Cluster) -> None:
    before = sorted((running.folder / "run").glob("*.json"))
    records = [path.read_text() for path in before]
    cluster.up()
    assert [path.read_text() for path in before] == records
