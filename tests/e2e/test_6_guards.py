"""Guards, each provoked once with the real trainer: a reason and a hint each, no GPU pod left over.

All fine-tunes at once. What can't be asked for in a spec is done to them as it happens in life, by
whoever owns the node: a process that hangs, a disk that is full, a bucket that can't be reached.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_local.node import BRIDGE_ADDRESS
from qwen3_local.tenants import Platform
from support.finetunes import Body, Tenant, condition, is_true, stage
from support.gated_hub import gated_hub
from support.node import cut_off, freeze, shrink_disk, trainer, training_workers
from support.pod_environment import added_environment
from support.quickstart import small_spec
from support.waiting import wait_for

EVERY = 20
ENDLESS = small_spec()["hyperparameters"] | {"maxSteps": 100_000}
# A learning rate that no float32 survives. Of up to 1,000 steps each one is logged.
EXPLODING = ENDLESS | {
    "maxSteps": 1000, "learningRate": "1e30", "scheduler": "Constant", "warmupRatio": "0"
}  # fmt: skip
# One that is good for the first steps and climbs on: what was learnt is lost for good.
CLIMBING = ENDLESS | {"maxSteps": 1000, "learningRate": "5", "warmupRatio": "0.9"}
CUT_OFF, FROZEN, FULL, GATED, SPENT = "cut-off", "frozen", "full", "gated", "spent"
BUDGET = 90
"""GPU seconds: more than the start takes beside the others."""


def spec(**changes: Any) -> Body:
    """A run that doesn't end by itself and asks for little: several share two cores."""
    return small_spec(
        hyperparameters=changes.pop("hyperparameters", ENDLESS),
        checkpoint={"everySteps": EVERY},
        resources={"gpus": 1, "cpu": "100m", "memory": "3Gi"},
        failurePolicy={"maxRetries": 0, **changes.pop("failurePolicy", {})},
        **changes,
    )


ENDS: dict[str, tuple[Body, Reason, ExitCode | None, str, str]] = {
    "exploding": (
        spec(hyperparameters=EXPLODING), Reason.LOSS_NAN, ExitCode.DIVERGED, "at step 2",
        "hyperparameters.learningRate",
    ),
    "climbing": (
        spec(hyperparameters=CLIMBING, adapter={"alpha": 32}), Reason.LOSS_DIVERGED,
        ExitCode.DIVERGED, "at best and has been around", "hyperparameters.learningRate",
    ),
    FROZEN: (
        spec(failurePolicy={"stallTimeoutSeconds": 30}), Reason.STALL_DETECTED, ExitCode.STALLED,
        "nothing happened for 30 s", "failurePolicy.stallTimeoutSeconds",
    ),
    FULL: (
        spec(), Reason.DISK_FULL, ExitCode.DISK_FULL, "the scratch volume of the pod is full",
        "Checkpoints in the bucket are kept",
    ),
    GATED: (
        spec(baseModel={"name": "Qwen/Qwen3-8B", "source": {"type": "HuggingFace"}}),
        Reason.GATED_MODEL, None, "Qwen/Qwen3-8B is gated on the hub",
        "baseModel.tokenSecretRef",
    ),
    SPENT: (
        spec(limits={"maxGPUSeconds": BUDGET}), Reason.BUDGET_EXHAUSTED, ExitCode.BUDGET_EXHAUSTED,
        f"of {BUDGET} GPU seconds are used", "limits.maxGPUSeconds",
    ),
}  # fmt: skip
"""Spec, reason, exit code of the trainer (what is gated is refused by the preflight), and a part of
the message and of the hint."""


def running_pod(tenant: Tenant, name: str) -> str:
    """The uid of the training pod, once its container runs."""

    def uid() -> str | None:
        pods = tenant.training_pods(name)
        return pods[-1].metadata.uid if pods and trainer(pods[-1].metadata.uid) else None

    found = wait_for(uid, bool, f"{name} has a pod that runs", 120, 0.2)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def provoked(
    rows: None, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Every fine-tune applied, and what has to be done to its pod done."""
    labels = {"qwen3.dev/fine-tune": GATED}
    with (
        gated_hub(BRIDGE_ADDRESS) as hub,
        added_environment(
            tenant.api, labels, "HF_ENDPOINT", hub, tmp_path_factory.mktemp("certificates")
        ),
    ):
        tenant.create(CUT_OFF, spec())
        for name, (wanted, *_) in ENDS.items():
            tenant.create(name, wanted)
        full = trainer(running_pod(tenant, FULL))
        assert full is not None
        shrink_disk(full, "/work/output", "2m")
        frozen = running_pod(tenant, FROZEN)
        freeze(wait_for(lambda: training_workers(frozen), bool, "a worker to freeze", 60, 0.2))
        yield
    for name in (CUT_OFF, *ENDS):
        tenant.delete(name)


def checkpoint(body: Body) -> int:
    """The step of the newest checkpoint in the bucket, as status tells it."""
    training = body.get("status", {}).get("training", {})
    return int(training.get("lastCheckpoint", {}).get("step") or 0)


def overdue(tenant: Tenant, pod: str, after: int) -> int:
    """The newest checkpoint, of a step after `after`, that the pod's log says isn't uploaded."""
    log = tenant.core.read_namespaced_pod_log(pod, tenant.namespace)
    found = [int(step) for step in re.findall(r"checkpoint (\d+) is not in the bucket", log)]
    return max((step for step in found if step > after), default=0)


def test_training_goes_on_while_the_bucket_is_away_and_uploads_catch_up(
    provoked: None, platform: Platform, tenant: Tenant
) -> None:
    body = tenant.wait(CUT_OFF, lambda b: checkpoint(b) > 0, "a checkpoint", 240)
    pod = tenant.training_pods(CUT_OFF)[-1]
    with cut_off(pod, platform.store.endpoint):
        saved = checkpoint(tenant.get(CUT_OFF))
        # One that was made after the last that got through, so steps were made meanwhile.
        missed = wait_for(
            lambda: overdue(tenant, pod.metadata.name, saved + EVERY), bool, "misses one", 240
        )
        during = tenant.wait(
            CUT_OFF, lambda b: stage(b) == Reason.STORAGE_UNAVAILABLE, "the silence is told", 300
        )
        assert checkpoint(during) < missed
        assert not is_true(during, "Stalled")
        failure = during["status"]["failure"]
        assert (
            f"pod {pod.metadata.name} is running, but has written no heartbeat"
            in failure["message"]
        )
        assert "training continues" in failure["hint"]
    body = tenant.wait(CUT_OFF, lambda b: checkpoint(b) > missed, "catches up", 180)
    assert body["status"]["training"]["attempt"] == pod.metadata.uid
    assert body["status"].get("failure") is None
    (job,) = tenant.jobs(CUT_OFF)
    assert not job.status.failed


def test_the_budget_counts_what_earlier_attempts_used(provoked: None, tenant: Tenant) -> None:
    """It is lowered in mid-run, below what is used: the run saves, its successor ends at once."""
    used = tenant.get(CUT_OFF)["status"]["usage"]["gpuSeconds"]
    assert used > 10
    tenant.patch(CUT_OFF, {"limits": {"maxGPUSeconds": 10}})
    body = tenant.wait_stalled(CUT_OFF, 120)
    failure = body["status"]["failure"]
    assert failure["reason"] == Reason.BUDGET_EXHAUSTED
    assert failure["exitCode"] == ExitCode.BUDGET_EXHAUSTED
    told = re.search(r"(\d+) of 10 GPU seconds are used", failure["message"])
    assert told is not None
    assert int(told[1]) >= used
    assert "limits.maxGPUSeconds" in failure["hint"]
    assert failure["hint"] in (condition(body, "Ready") or {})["message"]
    assert checkpoint(body) > 0
    wait_no_live_pod(tenant, CUT_OFF)


@pytest.mark.parametrize("name", ENDS)
def test_it_says_what_happened_and_what_to_do(name: str, provoked: None, tenant: Tenant) -> None:
    _, reason, code, word, advice = ENDS[name]
    body = tenant.wait_stalled(name, 240)
    failure, ready = body["status"]["failure"], condition(body, "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert failure["reason"] == reason
    assert failure.get("exitCode") == code
    assert word in failure["message"]
    assert advice in failure["hint"]
    assert failure["hint"] in ready["message"]
    assert not is_true(body, "Reconciling")
    wait_no_live_pod(tenant, name)
    assert len(tenant.training_pods(name)) == (name != GATED), "the same would come again"


def test_a_run_saves_before_its_budget_ends(provoked: None, tenant: Tenant) -> None:
    body = tenant.wait_stalled(SPENT, 240)
    status = body["status"]
    assert checkpoint(body) == int(status["training"]["step"]) > 0
    # A step slower than the one before it may overrun it (ADR 0026); the run has hours left.
    assert 0 < status["usage"]["gpuSeconds"] <= 1.5 * BUDGET


def test_a_raised_budget_lets_the_run_go_on_from_its_checkpoint(
    provoked: None, tenant: Tenant
) -> None:
    step = checkpoint(tenant.wait_stalled(SPENT, 240))
    tenant.patch(SPENT, {"limits": {"maxGPUSeconds": 100 * BUDGET}})
    body = tenant.wait(SPENT, lambda b: checkpoint(b) > step, "makes more steps", 240)
    assert body["status"]["training"]["resumedFromStep"] == step
    assert not is_true(body, "Stalled")
    tenant.patch(SPENT, {"suspend": True})


def wait_no_live_pod(tenant: Tenant, name: str) -> None:
    wait_for(
        lambda: [p for p in tenant.training_pods(name) if p.status.phase in ("Pending", "Running")],
        lambda live: not live,
        f"no pod of {name} is live",
        30,
    )
