"""The operator's Jobs on a real API server with the real Job controller and garbage collector.

There is no kubelet: the tests write pod statuses as one would. Commits are written in the trainer's
place. The operator is the real process.
"""

import itertools
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from qwen3_api.job import layout
from qwen3_api.job.base import FileDigest
from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import HuggingFaceModel, TrainJob
from qwen3_operator.resources.labels import ANNOTATION_ORDER, ANNOTATION_PARKED, LIFECYCLE_MANAGER
from qwen3_operator.serving.manifests import PoolSpec, build_pool_objects
from qwen3_operator.settings import Settings
from support.control_plane import ControlPlane
from support.finetunes import Tenant, condition, is_true, stage
from support.operator_process import OperatorProcess, running_operator
from support.operator_world import (
    MODEL,
    build_commit,
    build_finetune,
    build_spec,
    sha256,
    storage_of,
)
from support.preflights import passing_preflights
from support.trainer_runs import BUCKET, Store, running_store
from support.waiting import hold_for, wait_for

pytestmark = pytest.mark.integration
_numbers = itertools.count(1)
NAMESPACES = 30
UNWATCHED = "lifecycle-unwatched"
CRASHES = {
    "after-job-created": "crash-1",
    "before-status": "crash-2",
    "after-commit": "crash-3",
}
"""Failpoints of the operator, and the namespace of the operator that dies there."""
UNSERVED = build_spec(serving={"mode": "None"})


@dataclass(frozen=True)
class World:
    """A running operator, its bucket and the cluster it works on."""

    settings: dict[str, Any]
    plane: ControlPlane
    store: Store
    operator: OperatorProcess


@pytest.fixture(scope="module")
def world(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("lifecycle")
    with running_store(folder / "s3") as store:
        keys = store.server.credentials
        secrets = folder / "keys"
        secrets.mkdir()
        (secrets / "AWS_ACCESS_KEY_ID").write_text(keys.access_key)
        (secrets / "AWS_SECRET_ACCESS_KEY").write_text(keys.secret_key)
        settings = {
            "operatorNamespace": "default",
            # Not the namespaces of operators that a test crashes.
            "watchNamespaces": [f"lifecycle-{n}" for n in range(1, NAMESPACES + 1)],
            "images": {"trainer": "none", "server": "none", "evaluator": "none"},
            "storage": {
                "default": {
                    "endpoint": store.server.endpoint,
                    "bucket": BUCKET,
                    "credentialsDir": str(secrets),
                }
            },
            "catalogue": [{"name": MODEL, "source": {"type": "HuggingFace"}}],
            "training": {"cpu": "1m", "memory": "1Mi"},
        }
        core = client.CoreV1Api(control_plane.api)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        for name in (*settings["watchNamespaces"], *CRASHES.values(), UNWATCHED):
            core.create_namespace({"metadata": {"name": name, "labels": labels}})
        with (
            passing_preflights(control_plane.api, store.client),
            running_operator(control_plane.kubeconfig, settings, folder) as operator,
        ):
            yield World(settings, control_plane, store, operator)


@pytest.fixture
def tenant(world: World) -> Tenant:
    """A namespace of the test's own, under the *restricted* Pod Security Standard."""
    return open_tenant(world, f"lifecycle-{next(_numbers)}")


def open_tenant(world: World, namespace: str) -> Tenant:
    """A namespace that pods can be made in."""
    core = client.CoreV1Api(world.plane.api)
    wait_for(
        lambda: core.list_namespaced_service_account(namespace).items, bool, "account", 30, 0.1
    )
    return Tenant(world.plane.api, namespace)


# --- a kubelet's and a trainer's part


def job_of(tenant: Tenant, name: str) -> Any:
    """The one Job of a fine-tune."""
    (job,) = wait_for(lambda: tenant.jobs(name), bool, f"Job of {name}", 180, 0.1)
    return job


def pods_of(tenant: Tenant, name: str) -> list[Any]:
    """All training pods, oldest first, those that are going too."""
    found = tenant.core.list_namespaced_pod(
        tenant.namespace,
        label_selector=f"qwen3.dev/fine-tune={name},app.kubernetes.io/component=trainer",
    ).items
    return sorted(found, key=lambda p: (p.metadata.creation_timestamp, p.metadata.name))


def running_pod(tenant: Tenant, name: str, after: int = 0) -> Any:
    """The newest pod once there are more than `after`, put into phase Running."""
    pods = wait_for(
        lambda: pods_of(tenant, name), lambda found: len(found) > after, "a pod", 180, 0.1
    )
    pod = next(p for p in reversed(pods) if p.status.phase == "Pending")
    set_status(tenant, pod, "Running", {"running": {"startedAt": now()}})
    return pod


@pytest.fixture
def node(tenant: Tenant) -> Iterator[str]:
    """A node without a kubelet, closed to the scheduler.

    Pods that must outlive their deletion are bound to it: the pod garbage collector ends one that
    is being deleted without ever having had a node, at its next round within 20 seconds.
    """
    name = f"node-{tenant.namespace}"
    tenant.core.create_node({"metadata": {"name": name}, "spec": {"unschedulable": True}})
    yield name
    tenant.core.delete_node(name)


def bind(tenant: Tenant, pod: Any, node: str) -> None:
    """Put a pod on a node, as the scheduler would."""
    target = client.V1ObjectReference(api_version="v1", kind="Node", name=node)
    body = client.V1Binding(metadata={"name": pod.metadata.name}, target=target)
    # The client can't parse the answer, which is a Status.
    tenant.core.create_namespaced_pod_binding(
        pod.metadata.name, tenant.namespace, body, _preload_content=False
    )


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_status(
    tenant: Tenant, pod: Any, phase: str, state: dict[str, Any], disrupted: bool = False
) -> None:
    """The status of a pod, as its kubelet would write it."""
    status: dict[str, Any] = {
        "phase": phase,
        "containerStatuses": [
            {
                "name": "trainer",
                "image": "none",
                "imageID": "none",
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
        ],
    }
    if disrupted:
        status["conditions"] = [
            {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
        ]
    tenant.core.patch_namespaced_pod_status(pod.metadata.name, tenant.namespace, {"status": status})


def end(tenant: Tenant, pod: Any, code: int, message: str = "", *, disrupted: bool = False) -> None:
    """The container ended."""
    state = {
        "terminated": {
            "exitCode": code,
            "message": message,
            "reason": "Error" if code else "Completed",
            "startedAt": now(),
            "finishedAt": now(),
        }
    }
    set_status(tenant, pod, "Failed" if code else "Succeeded", state, disrupted)


def remove(tenant: Tenant, pod: Any) -> None:
    """The kubelet's last word about a pod that was deleted."""
    try:
        tenant.core.delete_namespaced_pod(
            pod.metadata.name, tenant.namespace, grace_period_seconds=0
        )
    except ApiException as error:
        if error.status != 404:
            raise


def order_of(job: Any) -> TrainJob:
    """What the trainer would read."""
    annotations = job.spec.template.metadata.annotations
    return TrainJob.model_validate_json(annotations[ANNOTATION_ORDER])


def commit(world: World, order: TrainJob) -> str:
    """Upload a small adapter and commit it; returns its digest."""
    content = order.revision.encode()
    file = FileDigest(path="adapter_model.safetensors", size=len(content), sha256=sha256(content))
    prefix = f"{layout.attempt_prefix(order.output.prefix, 'attempt')}/{layout.ADAPTER}"
    document = build_commit(
        build_finetune(),
        order.revision,
        prefix=prefix,
        files=[file],
        digest=adapter_digest([file]),
        attempt="attempt",
    )
    bucket = world.store.client
    bucket.put_object(Bucket=BUCKET, Key=f"{prefix}/{file.path}", Body=content)
    key = f"{order.output.prefix}/{layout.COMMIT}"
    bucket.put_object(Bucket=BUCKET, Key=key, Body=document.to_json(), IfNoneMatch="*")
    return document.digest


def managers_of(job: Any) -> dict[str, str]:
    """What each field manager owns of a Job, as text."""
    return {
        f.manager: json.dumps(f.fields_v1)
        for f in job.metadata.managed_fields
        if f.subresource is None
    }


def read_job(tenant: Tenant, job: Any) -> Any:
    return tenant.batch.read_namespaced_job(job.metadata.name, tenant.namespace)


# --- applied once


def test_one_job_and_no_second_write(world: World, tenant: Tenant) -> None:
    tenant.create("bot", UNSERVED)
    job = job_of(tenant, "bot")
    pod = running_pod(tenant, "bot")
    tenant.wait("bot", lambda b: stage(b) == "Training", "Training", 180)
    # Every look from here on finds nothing to do.
    end(tenant, pod, 46)
    pod = running_pod(tenant, "bot", after=1)
    tenant.wait("bot", lambda b: stage(b) == "Training", "Training again", 180)
    again = read_job(tenant, job)
    assert again.metadata.uid == job.metadata.uid
    assert again.metadata.generation == 1, "a second apply would have raised it"
    assert len(tenant.jobs("bot")) == 1


def test_pods_are_admitted_by_the_restricted_standard(world: World, tenant: Tenant) -> None:
    """The Job controller's pod is there, so admission let it through; the server pods likewise."""
    tenant.create("bot", UNSERVED)
    job_of(tenant, "bot")
    wait_for(lambda: pods_of(tenant, "bot"), bool, "an admitted pod", 180, 0.1)
    # Where no operator looks: it would remove a pool without members.
    tenant = open_tenant(world, UNWATCHED)
    settings = Settings.model_validate(
        {
            "images": {"trainer": "none", "server": "none", "evaluator": "none"},
            "storage": {"default": {"endpoint": "http://s3.test:1", "bucket": "qwen3"}},
        }
    )
    storage = storage_of(build_finetune(settings=settings))
    pool = PoolSpec(
        namespace=tenant.namespace,
        name="pool-x",
        base_model=MODEL,
        source=HuggingFaceModel(repo=MODEL),
        storage=storage,
        replicas=1,
        hf_token_secret=None,
    )
    for manifest in build_pool_objects(pool, settings):
        result = world.plane.kubectl(
            "apply", "--server-side", "-f", "-", stdin=json.dumps(manifest)
        )
        assert result.returncode == 0, result.stderr
        assert "would violate PodSecurity" not in result.stderr
    wait_for(
        lambda: tenant.pods("qwen3.dev/pool=pool-x"), bool, "the pool's pod is admitted", 30, 0.2
    )


def test_kueue_fields(world: World, tenant: Tenant) -> None:
    tenant.create("bot", build_spec(serving={"mode": "None"}, resources={"queueName": "gpus"}))
    job = job_of(tenant, "bot")
    assert job.metadata.labels["kueue.x-k8s.io/queue-name"] == "gpus"
    assert '"f:suspend"' not in managers_of(job)["qwen3-operator"]


# --- the second field manager


def test_suspend_parks_and_goes_on(world: World, tenant: Tenant) -> None:
    tenant.create("bot", UNSERVED)
    job = job_of(tenant, "bot")
    pod = running_pod(tenant, "bot")
    tenant.patch("bot", {"suspend": True})
    parked = wait_for(lambda: read_job(tenant, job), lambda j: j.spec.suspend, "parked", 180, 0.2)
    assert parked.metadata.annotations[ANNOTATION_PARKED] == "true"
    assert '"f:suspend"' in managers_of(parked)[LIFECYCLE_MANAGER]
    tenant.wait("bot", lambda b: stage(b) == "Suspended", "Suspended", 180)
    remove(tenant, pod)
    tenant.patch("bot", {"suspend": False})
    resumed = wait_for(
        lambda: read_job(tenant, job), lambda j: not j.spec.suspend, "goes on", 30, 0.2
    )
    assert resumed.metadata.uid == job.metadata.uid
    assert ANNOTATION_PARKED not in (resumed.metadata.annotations or {})
    assert '"f:suspend"' not in managers_of(resumed).get(LIFECYCLE_MANAGER, "")
    running_pod(tenant, "bot")
    tenant.wait("bot", lambda b: stage(b) == "Training", "Training again", 180)
    assert (read_job(tenant, job).status.failed or 0) == 0, "parking is free"


def test_what_another_suspended_is_never_started(world: World, tenant: Tenant) -> None:
    tenant.create("bot", UNSERVED)
    job = job_of(tenant, "bot")
    tenant.batch.patch_namespaced_job(
        job.metadata.name, tenant.namespace, {"spec": {"suspend": True}}, field_manager="a-queue"
    )
    tenant.wait("bot", lambda b: stage(b) == "Queued", "Queued", 180)
    # Our own suspend comes and goes over it; the queue's stays.
    tenant.patch("bot", {"suspend": True})
    tenant.wait("bot", lambda b: stage(b) == "Suspended", "Suspended", 180)
    tenant.patch("bot", {"suspend": False})
    body = tenant.wait("bot", lambda b: stage(b) == "Queued", "Queued again", 180)
    assert body["status"]["queue"]["message"]
    found = condition(body, "Admitted")
    assert found is not None
    assert found["status"] == "False"
    hold_for(
        lambda: read_job(tenant, job).spec.suspend, lambda s: s is True, "stays suspended", 2, 0.2
    )


def test_the_ttl_comes_with_the_result(world: World, tenant: Tenant) -> None:
    tenant.create("bot", build_spec(serving={"mode": "None"}, ttlSecondsAfterFinished=3600))
    job = job_of(tenant, "bot")
    pod = running_pod(tenant, "bot")
    assert job.spec.ttl_seconds_after_finished is None
    digest = commit(world, order_of(job))
    end(tenant, pod, 0)
    done = wait_for(
        lambda: read_job(tenant, job),
        lambda j: j.spec.ttl_seconds_after_finished == 3600,
        "TTL",
        180,
        0.2,
    )
    assert "ttlSecondsAfterFinished" in managers_of(done)[LIFECYCLE_MANAGER]
    body = tenant.wait_ready("bot", 180)
    assert body["status"]["revisions"][0]["adapterDigest"] == digest
    # Shorter, and the TTL controller takes the Job; the fine-tune stays Ready without it.
    tenant.patch("bot", {"ttlSecondsAfterFinished": 0})
    wait_for(lambda: tenant.jobs("bot"), lambda jobs: not jobs, "Job forgotten", 180, 0.3)
    hold_for(
        lambda: (is_true(tenant.get("bot"), "Ready"), len(tenant.jobs("bot"))),
        lambda seen: seen == (True, 0),
        "Ready without its Job",
        3,
    )


# --- podFailurePolicy


def test_a_users_error_fails_at_once(world: World, tenant: Tenant) -> None:
    tenant.create("bot", UNSERVED)
    job = job_of(tenant, "bot")
    words = json.dumps({"reason": "DatasetInvalid", "message": "line 3: no answer", "hint": "Mend"})
    end(tenant, running_pod(tenant, "bot"), 42, words)
    body = tenant.wait_stalled("bot", 180)
    assert body["status"]["failure"]["reason"] == "DatasetInvalid"
    assert body["status"]["failure"]["class"] == "User"
    failed = read_job(tenant, job)
    assert any(
        c.type == "Failed" and c.reason == "PodFailurePolicy" for c in failed.status.conditions
    )
    assert len(pods_of(tenant, "bot")) == 1, "never retried"
    assert failed.spec.ttl_seconds_after_finished is None, "the evidence stays"


@pytest.mark.parametrize("disrupted", [False, True], ids=["received SIGTERM", "node lost"])
def test_interruptions_are_free(world: World, tenant: Tenant, disrupted: bool) -> None:
    tenant.create("bot", build_spec(serving={"mode": "None"}, failurePolicy={"maxRetries": 0}))
    job = job_of(tenant, "bot")
    # Free of charge, not of the Job controller's ten seconds between two pods.
    end(tenant, running_pod(tenant, "bot"), 143 if disrupted else 43, disrupted=disrupted)
    running_pod(tenant, "bot", after=1)
    tenant.wait("bot", lambda b: stage(b) == "Training", "Training", 180)
    found = read_job(tenant, job)
    assert (found.status.failed or 0) == 0
    assert not is_true(tenant.get("bot"), "Stalled")


def test_failures_count_up_to_the_limit(world: World, tenant: Tenant) -> None:
    tenant.create("bot", build_spec(serving={"mode": "None"}, failurePolicy={"maxRetries": 1}))
    job = job_of(tenant, "bot")
    end(tenant, running_pod(tenant, "bot"), 1, "Traceback: boom")
    # The Job controller waits ten seconds before the second attempt.
    tenant.wait("bot", lambda b: stage(b) == "Retrying", "Retrying", 180)
    end(tenant, running_pod(tenant, "bot", after=1), 1, "Traceback: boom again")
    body = tenant.wait_stalled("bot", 180)
    failure = body["status"]["failure"]
    assert "2 attempts failed" in failure["message"]
    assert "boom again" in failure["message"]
    assert failure["retriable"] is True
    assert read_job(tenant, job).status.failed == 2


# --- edits


def test_an_edit_replaces_an_unfinished_job(world: World, tenant: Tenant) -> None:
    tenant.create("bot", UNSERVED)
    old = job_of(tenant, "bot")
    tenant.patch("bot", {"hyperparameters": {"seed": 7}})
    jobs = wait_for(
        lambda: tenant.jobs("bot"),
        lambda found: (
            [j.metadata.name for j in found] not in ([], [old.metadata.name]) and len(found) == 1
        ),
        "the new revision's Job alone",
        180,
        0.2,
    )
    assert jobs[0].metadata.name != old.metadata.name
    # Serving, checkpoints and gates retrain nothing.
    tenant.patch("bot", {"checkpoint": {"everySteps": 7}, "revisionHistoryLimit": 3})
    generation = tenant.get("bot")["metadata"]["generation"]
    tenant.wait(
        "bot", lambda b: b["status"]["observedGeneration"] == generation, "edit was seen", 30
    )
    assert [j.metadata.uid for j in tenant.jobs("bot")] == [jobs[0].metadata.uid]


def test_there_and_back_never_runs_two_pods(world: World, tenant: Tenant, node: str) -> None:
    """The first Job goes at once, its pod takes its grace period: the second Job must wait."""
    tenant.create("bot", UNSERVED)
    first = job_of(tenant, "bot")
    pod = running_pod(tenant, "bot")
    bind(tenant, pod, node)
    # A node without a kubelet and a finalizer stand for a grace period that lasts.
    tenant.core.patch_namespaced_pod(
        pod.metadata.name, tenant.namespace, {"metadata": {"finalizers": ["test.dev/grace"]}}
    )
    seed = order_of(first).hyperparameters.seed
    tenant.patch("bot", {"hyperparameters": {"seed": 7}})
    wait_for(
        lambda: [j.metadata.uid for j in tenant.jobs("bot")],
        lambda uids: bool(uids) and first.metadata.uid not in uids,
        "replaced",
        180,
        0.2,
    )
    tenant.patch("bot", {"hyperparameters": {"seed": seed}})
    body = tenant.wait("bot", lambda b: stage(b) == "Pending", "waits for the pod", 180)
    assert pod.metadata.name in body["status"]["conditions"][0]["message"]
    names = lambda: [j.metadata.name for j in tenant.jobs("bot")]  # noqa: E731
    hold_for(names, lambda found: first.metadata.name not in found, "no second Job yet", 3)
    tenant.core.delete_namespaced_pod(pod.metadata.name, tenant.namespace, grace_period_seconds=0)
    tenant.core.patch_namespaced_pod(
        pod.metadata.name, tenant.namespace, {"metadata": {"finalizers": None}}
    )
    wait_for(names, lambda found: found == [first.metadata.name], "goes on", 180, 0.2)


def test_a_failed_run_follows_an_edit_of_resources(world: World, tenant: Tenant) -> None:
    tenant.create("bot", UNSERVED)
    old = job_of(tenant, "bot")
    end(tenant, running_pod(tenant, "bot"), 44)
    tenant.wait_stalled("bot", 180)
    tenant.patch("bot", {"resources": {"memory": "2Mi"}})
    new = wait_for(
        lambda: tenant.jobs("bot"),
        lambda found: bool(found) and found[0].metadata.uid != old.metadata.uid,
        "another Job",
        180,
        0.2,
    )[0]
    assert new.metadata.name == old.metadata.name, "the same revision"
    container = new.spec.template.spec.containers[0]
    assert container.resources.limits["memory"] == "2Mi"


def test_a_deleted_job_of_an_old_order_is_made_again(world: World, tenant: Tenant) -> None:
    """What doesn't make a revision may have changed: the new Job is told."""
    tenant.create("bot", UNSERVED)
    old = job_of(tenant, "bot")
    tenant.patch("bot", {"checkpoint": {"everySteps": 7}})
    tenant.batch.delete_namespaced_job(
        old.metadata.name, tenant.namespace, propagation_policy="Background"
    )
    new = wait_for(
        lambda: tenant.jobs("bot"),
        lambda found: bool(found) and found[0].metadata.uid != old.metadata.uid,
        "another Job",
        180,
        0.2,
    )[0]
    assert order_of(new).checkpoint.every_steps == 7
    assert not is_true(tenant.get("bot"), "Stalled")


def test_a_namesake_starts_anew(world: World, tenant: Tenant) -> None:
    """Deleted and applied again at once: what garbage collection still holds is in the way."""
    tenant.create("bot", UNSERVED)
    old = job_of(tenant, "bot")
    tenant.delete("bot")
    tenant.create("bot", UNSERVED)
    uid = tenant.get("bot")["metadata"]["uid"]
    new = wait_for(
        lambda: tenant.jobs("bot"),
        lambda found: [j.metadata.owner_references[0].uid for j in found] == [uid],
        "a Job of its own",
        90,
        0.2,
    )[0]
    assert new.metadata.uid != old.metadata.uid
    assert order_of(new).uid == uid
    tenant.wait("bot", lambda b: not is_true(b, "Stalled"), "not stalled", 180)


# --- the end


def test_deletion_policy_delete_empties_the_folder(world: World, tenant: Tenant) -> None:
    spec = build_spec(serving={"mode": "None"}, artifacts={"deletionPolicy": "Delete"})
    tenant.create("bot", spec)
    job = job_of(tenant, "bot")
    pod = running_pod(tenant, "bot")
    order = order_of(job)
    commit(world, order)
    folder = order.output.prefix.rsplit("/revisions/", 1)[0]
    assert len(world.store.keys(f"{folder}/")) == 3, "preflight, adapter, commit"
    body = tenant.wait_ready("bot", 180)
    assert body["metadata"]["finalizers"] == ["qwen3.dev/artifacts"]
    tenant.custom.delete_namespaced_custom_object(
        "qwen3.dev", "v1alpha1", tenant.namespace, "qwen3finetunes", "bot"
    )
    # The pod still runs: the folder must wait for it.
    wait_for(lambda: tenant.jobs("bot"), lambda jobs: not jobs, "Job removed", 180, 0.2)
    remove(tenant, pod)
    wait_for(lambda: tenant.exists("bot"), lambda there: not there, "let go", 180, 0.2)
    assert world.store.keys(f"{folder}/") == []


def test_deletion_policy_retain_keeps_it_and_needs_no_finalizer(
    world: World, tenant: Tenant
) -> None:
    tenant.create("bot", UNSERVED)
    order = order_of(job_of(tenant, "bot"))
    commit(world, order)
    body = tenant.wait_ready("bot", 180)
    assert "finalizers" not in body["metadata"]
    tenant.delete("bot")
    wait_for(lambda: tenant.jobs("bot"), lambda jobs: not jobs, "Job collected", 180, 0.3)
    assert world.store.keys(order.output.prefix)


# --- status


def test_a_tenants_numbers_never_block_the_status(world: World, tenant: Tenant) -> None:
    """The API server refuses a status with one value out of bounds."""
    tenant.create("bot", UNSERVED)
    job = job_of(tenant, "bot")
    pod = running_pod(tenant, "bot")
    order = order_of(job)
    progress = {
        "contract": 1,
        "attempt": pod.metadata.uid,
        "phase": "Training",
        "step": 10**30,
        "total_steps": 10**30,
        "loss": 1e308,
        "epoch": 1e300,
        "eta_seconds": 10**30,
        "started": "x",
        "updated": "0001-01-01T00:00:00Z",
    }
    attempt = layout.attempt_prefix(order.output.prefix, pod.metadata.uid)
    world.store.client.put_object(
        Bucket=BUCKET, Key=f"{attempt}/{layout.PROGRESS}", Body=json.dumps(progress).encode()
    )
    body = tenant.wait(
        "bot", lambda b: b["status"].get("training", {}).get("step", 0) > 0, "progress", 180
    )
    assert body["status"]["training"]["step"] == 2**53


# --- crashes


@pytest.mark.parametrize("failpoint", CRASHES)
def test_a_crash_costs_nothing(world: World, tmp_path: Path, failpoint: str) -> None:
    """SIGKILL between two writes; another process finds what is there and goes on."""
    tenant = open_tenant(world, CRASHES[failpoint])
    settings = {
        **world.settings,
        "watchNamespaces": [tenant.namespace],
        "leaseName": tenant.namespace,
    }
    operator = OperatorProcess(world.plane.kubeconfig, settings, tmp_path)
    operator.start(failpoint)
    try:
        tenant.create("bot", UNSERVED)
        if failpoint == "after-commit":
            job = job_of(tenant, "bot")
            pod = running_pod(tenant, "bot")
            commit(world, order_of(job))
            end(tenant, pod, 0)
        assert operator.wait_dead() == -signal.SIGKILL
        # The first status is written after the preflight's Job.
        (preflight,) = tenant.preflights("bot")
        operator.start()
        operator.wait_leading()
        job = job_of(tenant, "bot")
        assert [j.metadata.uid for j in tenant.preflights("bot")] == [preflight.metadata.uid]
        if failpoint != "after-commit":
            pod = running_pod(tenant, "bot")
            commit(world, order_of(job))
            end(tenant, pod, 0)
        tenant.wait_ready("bot", 180)
    finally:
        operator.stop()
    (only,) = tenant.jobs("bot")
    assert only.metadata.uid == job.metadata.uid
    assert len(pods_of(tenant, "bot")) == 1
