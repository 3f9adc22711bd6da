"""Ready says what is so at this moment."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes.stream import stream

from qwen3_local import s3, tenants
from qwen3_local.tenants import Platform
from support.finetunes import Body, Tenant, condition, is_true
from support.quickstart import QUICKSTART, agent_status, ask, pod_ready, service_url
from support.waiting import wait_for


def vllm_restarts(tenant: Tenant) -> int:
    """Restarts of the vLLM container of the one pool pod."""
    statuses = tenant.pool_pods()[0].status.container_statuses
    return next(s.restart_count for s in statuses if s.name == "vllm")


def test_a_killed_vllm_makes_it_unready_and_the_adapter_comes_back_by_itself(
    quickstart: Body, tenant: Tenant
) -> None:
    before = tenant.wait_ready(QUICKSTART)
    pod = tenant.pool_pods()[0]
    restarts = vllm_restarts(tenant)
    # PID 1 of a container ignores signals it has no handler for from inside, but not its children.
    script = """
import os, signal
for p in filter(str.isdigit, os.listdir("/proc")):
    if p != str(os.getpid()) and b"EngineCore" in open(f"/proc/{p}/cmdline", "rb").read():
        os.kill(int(p), signal.SIGKILL)
"""
    stream(
        tenant.core.connect_get_namespaced_pod_exec, pod.metadata.name, tenant.namespace,
        container="vllm", command=["python3", "-c", script],
        stderr=True, stdout=True, stdin=False, tty=False,
    )  # fmt: skip
    killed = time.monotonic()
    tenant.wait(QUICKSTART, lambda b: not is_true(b, "Ready"), "Ready turns False", 180)
    told = time.monotonic() - killed
    assert not pod_ready(tenant.pool_pods()[0])
    body = tenant.wait_ready(QUICKSTART, 300)
    assert vllm_restarts(tenant) == restarts + 1
    assert tenant.pool_pods()[0].metadata.uid == pod.metadata.uid
    assert body["status"]["serving"]["digest"] == before["status"]["serving"]["digest"]
    answer = ask(service_url(tenant, body), body["status"]["serving"]["modelName"], "Hello")
    assert answer.model_id == body["status"]["serving"]["modelID"]
    print(f"Ready=False {told:.1f} s after the kill")


def test_a_new_pod_is_never_ready_without_the_adapter(quickstart: Body, tenant: Tenant) -> None:
    """Scale the pool to two: an edit of serving, so no Job either."""
    serving = tenant.wait_ready(QUICKSTART)["status"]["serving"]
    jobs = {j.metadata.uid for j in tenant.jobs(QUICKSTART)}
    old = {p.metadata.uid for p in tenant.pool_pods()}
    tenant.patch(QUICKSTART, {"serving": {"replicas": 2}})

    def look() -> bool:
        """Whether the new pod is ready; while it is, it must hold the adapter."""
        new = [p for p in tenant.pool_pods() if p.metadata.uid not in old]
        if not new or not pod_ready(new[0]):
            return False
        said = agent_status(new[0])
        assert said is not None
        assert said.aliases.get(serving["modelName"]) == serving["modelID"]
        assert [a.digest for a in said.adapters if a.id == serving["modelID"]] == [
            serving["digest"]
        ]
        return True

    wait_for(look, bool, "the second pod is ready", 300, pause=0.2)
    body = tenant.wait_ready(QUICKSTART, 180)
    assert body["status"]["serving"]["loadedReplicas"] == 2
    assert {j.metadata.uid for j in tenant.jobs(QUICKSTART)} == jobs
    tenant.patch(QUICKSTART, {"serving": {"replicas": 1}})
    wait_for(lambda: len(tenant.pool_pods()), lambda n: n == 1, "back to one pod", 180)
    tenant.wait_ready(QUICKSTART, 180)


def operator_pods(tenant: Tenant) -> list[tuple[str, int]]:
    """uid and restarts of each pod of the operator."""
    found = tenant.core.list_namespaced_pod(
        tenants.SYSTEM, label_selector="app.kubernetes.io/name=qwen3-operator"
    ).items
    return sorted(
        (p.metadata.uid, sum(c.restart_count for c in p.status.container_statuses)) for p in found
    )


def store_key(tenant: Tenant, pair: s3.Credentials) -> None:
    """Put a key pair into the operator's Secret."""
    secret = tenants.credentials_secret(tenants.OPERATOR_SECRET, tenants.SYSTEM, pair)
    tenant.core.patch_namespaced_secret(
        tenants.OPERATOR_SECRET, tenants.SYSTEM, {"stringData": secret["stringData"]}
    )


def is_whole(body: Body) -> bool:
    """Ready, without any restriction."""
    return is_true(body, "Ready") and not is_true(body, "Degraded")


@contextmanager
def revoked_key(tenant: Tenant, store: s3.S3Server) -> Iterator[s3.Credentials]:
    """The operator's key is refused; a good one, not yet in its Secret. At the end the Secret has
    the first key again, and both are good: the operator uses the new one until it reads its files
    again, which nobody can see from outside."""
    new = s3.Credentials("rotated-operator", "rotated-operator-secret")
    s3.ensure_identity(store, "rotated-operator", new, s3.ADMIN)
    s3.remove_identity(store, "operator")
    try:
        yield new
    finally:
        s3.ensure_identity(store, "operator", store.credentials, s3.ADMIN)
        store_key(tenant, store.credentials)
        tenant.wait(QUICKSTART, is_whole, "a good key is in use", 240)


def test_what_serves_stays_reported_while_the_operators_key_is_refused(
    quickstart: Body, platform: Platform, tenant: Tenant
) -> None:
    """And a rotated key is taken without a restart, once the kubelet has updated the file."""
    before = tenant.wait(QUICKSTART, is_whole, "served", 240)
    operator, jobs = operator_pods(tenant), {j.metadata.uid for j in tenant.jobs(QUICKSTART)}
    pool = {p.metadata.uid for p in tenant.pool_pods()}
    with revoked_key(tenant, platform.store) as new:
        body = tenant.wait(QUICKSTART, lambda b: is_true(b, "Degraded"), "the refusal", 120)
        for type_ in ("Ready", "Served", "Trained", "ArtifactStored", "Validated"):
            assert is_true(body, type_), condition(body, type_)
        assert (condition(body, "Degraded") or {})["reason"] == "StorageDenied"
        assert body["status"]["stage"] == "StorageDenied"
        kept = ("serving", "history", "revisions", "currentRevision", "training")
        assert {k: body["status"].get(k) for k in kept} == {
            k: before["status"].get(k) for k in kept
        }
        serving = body["status"]["serving"]
        answer = ask(service_url(tenant, body), serving["modelName"], "Hello")
        assert answer.model_id == serving["modelID"]
        store_key(tenant, new)
        after = tenant.wait(QUICKSTART, is_whole, "the rotated key is in use", 240)
        assert after["status"]["serving"] == before["status"]["serving"]
        assert operator_pods(tenant) == operator
    assert {j.metadata.uid for j in tenant.jobs(QUICKSTART)} == jobs
    assert {p.metadata.uid for p in tenant.pool_pods()} == pool
