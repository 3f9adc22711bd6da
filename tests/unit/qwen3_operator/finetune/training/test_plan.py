"""What training decides, by what it sees: the commit outranks the Job, the Job the wish."""

from dataclasses import replace
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.finetune.actions import TrainingPlan
from qwen3_operator.finetune.plan import plan_finetune
from qwen3_operator.finetune.training.job_spec import revision_folder
from qwen3_operator.finetune.training.plan import plan_training
from qwen3_operator.finetune.training.status import (
    build_queue_status,
    build_sizing_status,
    build_training_status,
    format_duration,
)
from qwen3_operator.finetune.views import FineTune, Observed
from qwen3_operator.resources.actions import Deletion
from qwen3_operator.resources.identity import resources_digest
from qwen3_operator.resources.labels import ANNOTATION_PARKED
from qwen3_operator.resources.views import parse_pod
from support.operator_world import (
    NOW,
    SETTINGS,
    SIZING,
    build_commit,
    build_finetune,
    build_job,
    build_metrics,
    build_pod,
    build_preflight,
    build_progress,
    build_spec,
    revision_of,
    spec_of,
    storage_of,
)

FT = build_finetune()
PARKED = build_finetune(build_spec(suspend=True))
QUEUED = build_finetune(build_spec(resources={"queueName": "gpus"}))


def plan(ft: FineTune = FT, **observed: Any) -> TrainingPlan:
    return plan_training(ft, Observed(**observed), storage_of(ft), SETTINGS, NOW)


def writes(found: TrainingPlan) -> list[str]:
    """Which kinds of write it asks for."""
    return [name for name in ("apply", "delete", "lifecycle") if getattr(found, name)]


def test_starts_with_one_write() -> None:
    found = plan(preflight=build_preflight(FT))
    assert [m["kind"] for m in found.apply] == ["Job"], "its order is in it"
    assert found.reason is Reason.SCHEDULING
    assert found.admitted is True
    assert plan(QUEUED, preflight=build_preflight(QUEUED)).admitted is False


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        pytest.param((), Reason.SCHEDULING, id="no pod yet"),
        pytest.param((build_pod(phase="Pending"),), Reason.SCHEDULING, id="pending"),
        pytest.param((build_pod(),), Reason.TRAINING, id="running"),
        pytest.param((build_pod(phase="Failed", exit_code=46),), Reason.RETRYING, id="ended"),
        pytest.param(
            (build_pod(phase="Failed", exit_code=46), build_pod(1, phase="Pending")),
            Reason.SCHEDULING,
            id="the next one is starting",
        ),
        pytest.param(
            (build_pod(phase="Failed", exit_code=46), build_pod(1)), Reason.TRAINING, id="next runs"
        ),
        pytest.param((build_pod(phase="Failed"),), Reason.SCHEDULING, id="evicted, no code"),
        pytest.param(
            (build_pod(phase="Pending", waiting_reason="CreateContainerConfigError"),),
            Reason.CREDENTIALS_NOT_FOUND,
            id="no Secret",
        ),
        pytest.param(
            (build_pod(phase="Pending", waiting_reason="ImagePullBackOff"),),
            Reason.IMAGE_PULL_FAILED,
            id="no image",
        ),
        pytest.param(
            (build_pod(phase="Pending", unschedulable="0/3 nodes: nvidia.com/gpu"),),
            Reason.UNSCHEDULABLE,
            id="no node",
        ),
    ],
)
def test_reason_of_a_running_job(pods: tuple[Any, ...], reason: Reason) -> None:
    found = plan(job=build_job(FT), pods=pods)
    assert found.reason is reason
    assert found.problem is None, "it may still go on by itself"
    assert found.requeue_after is not None
    assert writes(found) == []


def test_a_pod_without_a_node_tells_what_node_it_needs() -> None:
    pod = parse_pod(
        {
            "metadata": {"name": "p", "uid": "u", "creationTimestamp": "2026-11-01T00:00:00Z"},
            "spec": {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4", "zone": "a"}},
            "status": {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes fit."}
                ],
            },
        }
    )

    found = plan(job=build_job(FT), pods=(pod,))

    needs = "it needs a node with nvidia.com/gpu.product=NVIDIA-L4, zone=a"
    assert found.message.startswith(f"pod p ({needs}): 0/3 nodes fit.")


def test_step_is_told_of_the_running_pod_only() -> None:
    job = build_job(FT)
    assert "42 of 120" in plan(job=job, pods=(build_pod(),), progress=build_progress()).message
    older = plan(job=job, pods=(build_pod(1),), progress=build_progress())
    assert older.message == "the trainer is starting"


# --- the commit outranks everything


@pytest.mark.parametrize(
    "job",
    [None, "running", "failed", "complete", "suspended", "deleting"],
)
@pytest.mark.parametrize("ft", [FT, PARKED], ids=["wanted", "suspended"])
def test_a_commit_ends_it_whatever_the_job_says(ft: FineTune, job: str | None) -> None:
    view = build_job(ft, **({job: True} if job not in (None, "running") else {})) if job else None
    found = plan(ft, commit=build_commit(ft), verified=True, job=view)
    assert found.committed
    assert found.problem is None
    assert {"apply", "delete"}.isdisjoint(writes(found))


def test_a_job_is_forgotten_only_after_its_result() -> None:
    done = build_job(FT, complete=True)
    assert plan(job=done).lifecycle == ()
    found = plan(job=done, commit=build_commit(FT), verified=True).lifecycle
    assert [m["spec"] for m in found] == [{"ttlSecondsAfterFinished": 86400}]
    again = plan(job=replace(done, ttl=86400), commit=build_commit(FT), verified=True)
    assert again.lifecycle == ()
    running = plan(job=build_job(FT), commit=build_commit(FT), verified=True)
    assert running.lifecycle == (), "a TTL on a Job that has not finished tells nothing"


def test_damaged_artifacts_stop_it() -> None:
    damage = FailureStatus.of(Reason.ARTIFACT_CORRUPT, "x has 3 bytes")
    found = plan(job=build_job(FT, complete=True), artifact_problem=damage)
    assert found.problem is damage
    assert not found.apply, "never trains over a result, not even a damaged one"


# --- ends of the Job


def test_complete_without_commit_stalls() -> None:
    found = plan(job=build_job(FT, complete=True))
    assert found.problem is not None
    assert found.reason is Reason.COMMIT_MISSING


def test_failed_job_stalls_and_stays() -> None:
    found = plan(
        job=build_job(FT, failed=True, failed_reason="PodFailurePolicy"),
        pods=(build_pod(phase="Failed", exit_code=137, ended_reason="OOMKilled"),),
    )
    assert found.reason is Reason.OUT_OF_MEMORY
    assert writes(found) == [], "the evidence stays"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Error", "ended with code 137; waiting"),
        ("OOMKilled", "ended with code 137 (OOMKilled); waiting"),
    ],
)
def test_between_two_pods_it_says_how_the_last_one_ended(reason: str, words: str) -> None:
    pods = (build_pod(phase="Failed", exit_code=137, ended_reason=reason),)
    found = plan(job=build_job(FT), pods=pods)
    assert found.reason is Reason.RETRYING
    assert words in found.message


def test_suspending_does_not_hide_a_failure() -> None:
    found = plan(PARKED, job=build_job(PARKED, failed=True))
    assert found.problem is not None
    assert plan(PARKED, job=build_job(PARKED, complete=True)).problem is not None


# --- suspend, queues


def test_parks_with_an_annotation_and_once() -> None:
    found = plan(PARKED, job=build_job(PARKED))
    (manifest,) = found.lifecycle
    assert manifest["spec"] == {"suspend": True}
    assert manifest["metadata"]["annotations"] == {ANNOTATION_PARKED: "true"}
    assert plan(PARKED, job=build_job(PARKED, suspended=True, parked=True)).lifecycle == ()
    assert plan(PARKED).apply == (), "a suspended fine-tune doesn't start"


def test_goes_on_by_giving_up_what_it_holds() -> None:
    found = plan(job=build_job(FT, suspended=True, parked=True))
    (manifest,) = found.lifecycle
    assert manifest["spec"] == {}
    assert "annotations" not in manifest["metadata"]


def test_never_starts_what_another_suspended() -> None:
    for ft in (FT, QUEUED):
        found = plan(ft, job=build_job(ft, suspended=True))
        assert found.reason is Reason.QUEUED
        assert found.admitted is False
        assert writes(found) == []


def test_under_kueue_suspending_removes_the_job() -> None:
    parked = build_finetune(build_spec(suspend=True, resources={"queueName": "gpus"}))
    for suspended in (False, True):
        job = build_job(parked, suspended=suspended)
        assert plan(parked, job=job).delete == (Deletion("Job", job.name, job.uid),)
    assert plan(parked, job=build_job(parked, deleting=True)).delete == ()


def test_a_late_lifecycle_apply_never_makes_a_job() -> None:
    """Server-side apply creates what isn't there; the uid makes that a conflict."""
    done = build_job(FT, complete=True)
    for found in (
        plan(PARKED, job=build_job(PARKED)),
        plan(job=build_job(FT, suspended=True, parked=True)),
        plan(job=done, commit=build_commit(FT), verified=True),
    ):
        assert [m["metadata"]["uid"] for m in found.lifecycle] == [done.uid]


# --- never two pods of a revision


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_waits_for_the_pods_of_the_job_before(phase: str) -> None:
    """A Job is gone at once, its pod only after its grace period."""
    found = plan(pods=(build_pod(phase=phase, deleting=True),))
    assert not found.apply
    assert found.requeue_after is not None
    assert "pod-0" in found.message
    assert plan(pods=(build_pod(phase="Failed", exit_code=43),)).apply


def test_waits_for_a_job_that_is_going() -> None:
    found = plan(job=build_job(FT, deleting=True))
    assert {"apply", "delete"}.isdisjoint(writes(found))
    assert found.requeue_after is not None


def test_the_job_of_an_earlier_object_is_removed_first() -> None:
    """It writes into the folder of the earlier uid: its end would be told as ours."""
    for changes in ({}, {"complete": True}, {"failed": True}, {"suspended": True}):
        job = build_job(FT, owner_uid="uid-of-yesterday", **changes)
        found = plan(job=job)
        assert found.delete == (Deletion("Job", job.name, job.uid),)
        assert not found.apply
        assert found.problem is None
    assert plan(job=build_job(FT, owner_uid="", deleting=True)).delete == ()


# --- resources


def test_a_job_follows_an_edit_of_resources() -> None:
    """They make no revision; but the hints say to change them, so that must do something."""
    bigger = build_finetune(build_spec(resources={"memory": "64Gi"}))
    old, new = resources_digest(spec_of(FT)), resources_digest(spec_of(bigger))
    assert old != new
    assert revision_of(FT) == revision_of(bigger)
    for changes in ({}, {"failed": True}, {"suspended": True}):
        job = build_job(bigger, resources=old, **changes)
        assert plan(bigger, job=job).delete == (Deletion("Job", job.name, job.uid),)
        assert plan(bigger, job=replace(job, resources=new)).delete == ()
        assert plan(bigger, job=replace(job, resources="")).delete == (), "from before"
        done = plan(bigger, job=job, commit=build_commit(bigger), verified=True)
        assert done.delete == (), "there is nothing left to run"
    lost = plan(bigger, job=build_job(bigger, resources=old, complete=True))
    assert lost.delete == (), "a lost commit is no matter of resources"


def test_a_job_follows_an_edit_from_planned_bits_to_16() -> None:
    """One revision, but the Job may have been made for 4."""
    named = build_finetune(build_spec(adapter={"type": "LoRA"}))
    assert revision_of(FT) == revision_of(named)
    job = build_job(named, resources=resources_digest(spec_of(FT)))
    assert plan(named, job=job).delete == (Deletion("Job", job.name, job.uid),)


# --- status.training


def status_wire(**observed: Any) -> dict[str, Any]:
    return build_training_status(None, "bot-x", Observed(**observed), storage_of(FT)).to_wire()


def test_status_tells_progress_for_people() -> None:
    found = status_wire(job=build_job(FT), progress=build_progress())
    assert found["progress"] == "42/120"
    assert found["loss"] == "0.5124"
    assert found["learningRate"] == "0.0002"
    assert found["eta"] == "1m30s"
    assert found["lastHeartbeatTime"] == "2026-03-01T11:59:00Z"


def test_the_address_of_an_online_run_is_told_and_kept() -> None:
    url = "https://wandb.ai/team-a/bots/runs/1"
    told = build_training_status(
        None, "bot-x", Observed(progress=build_progress(tracking_url=url)), storage_of(FT)
    )
    assert told.tracking_url == url
    starting = Observed(progress=build_progress(attempt="uid-pod-1", tracking_url=None))
    again = build_training_status(told, "bot-x", starting, storage_of(FT))
    assert again.tracking_url == url, "the next attempt is the same run"


OFFLINE = build_finetune(build_spec(tracking={"wandb": {"project": "p", "mode": "Offline"}}))


@pytest.mark.parametrize(
    ("ft", "observed", "told"),
    [
        pytest.param(OFFLINE, {"pods": (build_pod(),)}, False, id="nothing ended yet"),
        pytest.param(
            OFFLINE, {"pods": (build_pod(phase="Failed", exit_code=46), build_pod(1))}, True,
            id="an attempt ended",
        ),
        pytest.param(OFFLINE, {"commit": build_commit(OFFLINE)}, True, id="committed"),
        pytest.param(FT, {"commit": build_commit(FT)}, False, id="not tracked"),
    ],
)  # fmt: skip
def test_offline_runs_are_told_where_the_trainer_puts_them(
    ft: FineTune, observed: dict[str, Any], told: bool
) -> None:
    found = plan_finetune(ft, Observed(job=build_job(ft), **observed), SETTINGS, NOW).status
    assert found is not None
    assert found.training is not None
    folder = revision_folder(ft.meta, ft.revision, storage_of(ft))
    attempt = layout.wandb_prefix(folder.prefix, "uid-pod-0")
    where = f"s3://qwen3/{attempt}".removesuffix("/uid-pod-0") if told else None
    assert found.training.offline_runs_uri == where


def test_a_result_from_before_has_no_offline_run() -> None:
    """Tracking was asked for after the end."""
    done = Observed(commit=build_commit(FT))
    before = build_training_status(None, "bot-x", done, storage_of(FT))
    found = build_training_status(before, "bot-x", done, storage_of(FT), offline_runs="a/wandb")
    assert found.offline_runs_uri is None


PLANNED = build_sizing_status(SIZING, gpu="NVIDIA-L4", why="needs 17.7 GiB of it")
ADAPTED = "micro-batch 2 -> 1 after OutOfMemory at step 2"
HALVED = {"micro_batch_size": 1, "gradient_accumulation_steps": 16}


@pytest.mark.parametrize("committed", [False, True], ids=["running", "committed"])
@pytest.mark.parametrize(
    ("changes", "adaptations", "message"),
    [
        pytest.param({}, [], PLANNED.message, id="as planned"),
        pytest.param(HALVED, ["before", ADAPTED], ADAPTED, id="adapted"),
        pytest.param(HALVED, [], "", id="of another plan"),
    ],
)
def test_the_sizing_in_force_says_why(
    changes: dict[str, int], adaptations: list[str], message: str, committed: bool
) -> None:
    sizing = SIZING.model_copy(update=changes)
    observed = Observed(progress=build_progress(sizing=sizing, adaptations=adaptations))
    told = build_training_status(None, "bot-x", observed, storage_of(FT), planned=PLANNED)
    if committed:
        commit = build_commit(FT)
        provenance = commit.provenance.model_copy(update={"sizing": sizing})
        done = Observed(commit=commit.model_copy(update={"provenance": provenance}))
        told = build_training_status(told, "bot-x", done, storage_of(FT), planned=PLANNED)
    assert told.sizing is not None
    assert (told.sizing.gpu, told.sizing.message) == ("NVIDIA-L4", message)
    assert told.sizing.micro_batch_size == sizing.micro_batch_size


def test_status_of_the_commit_outranks_progress() -> None:
    found = status_wire(progress=build_progress(), commit=build_commit(FT))
    assert (found["step"], found["progress"]) == (120, "120/120")
    assert "eta" not in found
    assert found["completionTime"] == "2026-03-01T11:59:30Z"


def test_status_forgets_the_numbers_of_another_revision() -> None:
    old = build_training_status(None, "bot-1", Observed(progress=build_progress()), None)
    assert build_training_status(old, "bot-1", Observed(), None).step == 42
    assert build_training_status(old, "bot-2", Observed(), None).step is None


def test_a_checkpoint_is_told_with_its_bucket() -> None:
    def saved(prefix: str, time: str = "2026-03-01T11:58:00Z") -> Any:
        checkpoint = {"step": 40, "prefix": prefix, "time": time}
        return status_wire(progress=build_progress(checkpoint=checkpoint)).get("lastCheckpoint")

    assert saved("a/step-40") == {
        "step": 40,
        "uri": "s3://qwen3/a/step-40",
        "time": "2026-03-01T11:58:00Z",
    }
    assert saved("x" * 1024) is None, "longer than status takes"
    assert saved("a", time="yesterday") is None


BIG = 10**40


@pytest.mark.parametrize(
    "observed",
    [
        {"progress": build_progress(step=BIG, total_steps=BIG, eta_seconds=BIG)},
        {"progress": build_progress(step=-1, eta_seconds=-5, resumed_from_step=BIG)},
        {"progress": build_progress(loss=1e308, epoch=1e300, tokens_per_second=1e308)},
        {"progress": build_progress(loss=float("nan"), eval_loss=float("inf"))},
        {"commit": build_commit(FT, metrics=build_metrics(final_loss=1e308, steps=BIG))},
        {"commit": build_commit(FT, metrics=build_metrics(epochs=float("inf"), eval_loss=-1e308))},
        {"commit": build_commit(FT, committed="yesterday")},
        {"progress": build_progress(updated="0001-01-01T00:00:00Z")},
        {"progress": build_progress(updated="9999-12-31T23:59:59-23:00")},
        {"progress": build_progress(updated="2026-03-01T11:59:00+99:00")},
    ],
)
def test_no_number_of_a_tenant_makes_a_status_that_the_api_server_refuses(
    observed: dict[str, Any],
) -> None:
    """One field out of bounds and the whole status is refused, for ever."""
    status = build_training_status(None, "bot-x", Observed(**observed), storage_of(FT))
    again = type(status).model_validate(status.to_wire())
    for value in (again.step, again.total_steps, again.eta_seconds, again.resumed_from_step):
        assert value is None or 0 <= value < 2**63
    for text in (again.loss, again.eval_loss, again.epoch, again.tokens_per_second):
        assert text is None or float(text) == pytest.approx(float(text))


def test_queue_status_only_while_a_queue_holds_it() -> None:
    held = plan(QUEUED, job=build_job(QUEUED, suspended=True))
    status = build_queue_status(spec_of(QUEUED), held)
    assert status is not None
    assert status.local_queue == "gpus"
    assert build_queue_status(spec_of(FT), plan(job=build_job(FT))) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (90, "1m30s"), (3600, "1h0m"), (7260, "2h1m"), (-5, "0s")],
)
def test_format_duration(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("updated", "silent"),
    [
        ("2026-03-01T11:59:00Z", False),
        ("2026-03-01T11:57:31Z", False),
        ("2026-03-01T11:57:30Z", True),
        ("2026-03-01T13:00:00Z", False),
        ("soon", False),
    ],
)
def test_a_trainer_that_writes_no_more_is_told(updated: str, silent: bool) -> None:
    found = plan(job=build_job(FT), pods=(build_pod(),), progress=build_progress(updated=updated))
    assert found.requeue_after, "it is looked at again"
    assert found.problem is None, "it goes on"
    assert found.reason is (Reason.STORAGE_UNAVAILABLE if silent else Reason.TRAINING)
    if silent:
        assert found.warning is not None
        assert f"written no heartbeat to the bucket since {updated}" in found.warning.message
        assert "training continues" in found.warning.hint


@pytest.mark.parametrize(
    ("started", "silent"), [("2026-03-01T11:58:00Z", False), ("2026-03-01T11:57:30Z", True)]
)
def test_a_trainer_that_never_wrote_is_told(started: str, silent: bool) -> None:
    """It waits for the bucket, and whoever waits for it sees why."""
    pods = (build_pod(started=started),)
    found = plan(job=build_job(FT), pods=pods, progress=None)
    assert found.reason is (Reason.STORAGE_UNAVAILABLE if silent else Reason.TRAINING)
    if silent:
        assert found.warning is not None
        assert f"since {started}" in found.warning.message


def test_the_silence_of_an_earlier_pod_says_nothing_of_the_next() -> None:
    old = build_progress(updated="2026-03-01T11:00:00Z")
    pods = (build_pod(phase="Failed", exit_code=46), build_pod(1))
    assert plan(job=build_job(FT), pods=pods, progress=old).reason is Reason.TRAINING
