"""The whole decision about a fine-tune: what it writes into status and what it asks for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qwen3_api.job.base import Failure
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import TrainReport
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus, RevisionStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_operator.finetune.actions import FineTunePlan
from qwen3_operator.finetune.plan import (
    plan_finetune,
    tell_changes,
    with_refusal,
    with_waiting_deletion,
)
from qwen3_operator.finetune.status import MAX_REVISIONS
from qwen3_operator.finetune.views import FineTune, Observed
from qwen3_operator.resources.actions import Deletion
from qwen3_operator.resources.conditions import find
from qwen3_operator.resources.labels import FINALIZER
from support.operator_world import (
    NOW,
    SETTINGS,
    build_alias,
    build_any_finetune,
    build_commit,
    build_finetune,
    build_job,
    build_pod,
    build_pool,
    build_pool_pod,
    build_preflight,
    build_spec,
    id_of,
    merge,
    revision_of,
    serving_pod,
)

UNSERVED = build_spec(serving={"mode": "None"})
DELETE = build_spec(artifacts={"deletionPolicy": "Delete"})
RETAIN = build_spec(artifacts={"deletionPolicy": "Retain"})
UNREADABLE = build_spec(adapter={"rank": 7})
FT = build_finetune()
COMMIT = build_commit(FT)
READY = Observed(
    job=build_job(FT, complete=True, ttl=86400),
    commit=COMMIT,
    verified=True,
    alias=build_alias(FT, COMMIT),
    pool=build_pool(serving_pod(FT, COMMIT)),
)


def plan(ft: FineTune = FT, observed: Observed | None = None, **world: Any) -> FineTunePlan:
    return plan_finetune(ft, observed or Observed(**world), SETTINGS, NOW)


def status_of(found: FineTunePlan) -> FineTuneStatus:
    """The status, as the API server would take it."""
    assert found.status is not None
    return FineTuneStatus.model_validate(found.status.to_wire())


def told(status: FineTuneStatus) -> dict[str, tuple[str, str]]:
    """Status and reason by condition type."""
    return {c.type: (c.status.value, c.reason) for c in status.conditions}


# --- conditions by stage


def test_first_look() -> None:
    assert told(status_of(plan())) == {
        "Ready": ("False", "Preflight"),
        "Reconciling": ("True", "Preflight"),
        "Validated": ("Unknown", "Preflight"),
        "Trained": ("False", "Preflight"),
        "ArtifactStored": ("Unknown", "Pending"),
        "Served": ("False", "Pending"),
    }


def test_after_the_preflight() -> None:
    status = status_of(plan(observed=Observed(preflight=build_preflight(FT))))
    assert told(status) == {
        "Ready": ("False", "Scheduling"),
        "Reconciling": ("True", "Scheduling"),
        "Validated": ("True", "Valid"),
        "Admitted": ("True", "Admitted"),
        "Trained": ("False", "Scheduling"),
        "ArtifactStored": ("Unknown", "Pending"),
        "Served": ("False", "Pending"),
    }
    assert status.candidate_revision == revision_of(FT)
    assert status.current_revision is None
    assert [r.id for r in status.revisions] == [revision_of(FT)]


def test_all_done() -> None:
    found = plan(observed=READY)
    status = status_of(found)
    assert told(status) == {
        "Ready": ("True", "Served"),
        "Validated": ("True", "Valid"),
        "Admitted": ("True", "Admitted"),
        "Trained": ("True", "Committed"),
        "ArtifactStored": ("True", "Verified"),
        "Served": ("True", "Served"),
    }
    assert status.current_revision == revision_of(FT)
    assert status.candidate_revision is None
    assert status.revisions[0].adapter_digest == COMMIT.digest
    assert found.wake_pool is None, "a pool at rest is left alone"


def test_trained_without_serving_is_ready() -> None:
    ft = build_finetune(UNSERVED)
    found = plan(ft, commit=build_commit(ft), verified=True)
    status = status_of(found)
    assert told(status)["Ready"] == ("True", "Trained")
    assert "Served" not in told(status)
    assert status.serving is None
    assert status.current_revision == revision_of(ft)
    assert found.requeue_after is None, "nothing will change by itself"


def test_what_was_found_damaged_has_no_digest_any_more() -> None:
    """A new operator takes what has one for good until it has read the files itself."""
    known = build_finetune(build_spec(), status_of(plan(observed=READY)))
    damage = FailureStatus.of(Reason.ARTIFACT_CORRUPT, "a file is another")
    found = plan(known, commit=COMMIT, artifact_problem=damage, alias=READY.alias, pool=READY.pool)
    assert status_of(found).revisions[0].adapter_digest is None


def test_suspended_is_neither_reconciling_nor_stalled() -> None:
    ft = build_finetune(build_spec(suspend=True))
    status = status_of(plan(ft))
    assert told(status)["Ready"] == ("False", "Suspended")
    assert {"Reconciling", "Stalled"}.isdisjoint(told(status))
    assert told(status)["Admitted"] == ("False", "Suspended")


def test_a_failed_run_with_an_incumbent_is_degraded() -> None:
    old = build_commit(FT, "01d00000")
    status = status_of(
        plan(
            job=build_job(FT, failed=True),
            alias=build_alias(FT, old),
            pool=build_pool(serving_pod(FT, old)),
        )
    )
    conditions = told(status)
    assert conditions["Ready"] == ("False", "TrainerFailed")
    assert conditions["Stalled"] == ("True", "TrainerFailed")
    assert conditions["Degraded"] == ("True", "OlderRevision")
    assert conditions["Served"] == ("True", "Served")
    assert status.failure is not None
    assert (status.current_revision, status.candidate_revision) == ("01d00000", revision_of(FT))


def test_a_refused_candidate_stalls() -> None:
    pod = build_pool_pod(failed={id_of(FT, COMMIT): "ArtifactRefused"})
    found = plan(commit=COMMIT, verified=True, pool=build_pool(pod))
    assert told(status_of(found))["Stalled"] == ("True", "ArtifactRefused")
    assert found.promote is None


def test_fewer_pods_than_asked_is_degraded() -> None:
    ft = build_finetune(build_spec(serving={"replicas": 2}))
    commit = build_commit(ft)
    status = status_of(
        plan(
            ft,
            commit=commit,
            verified=True,
            alias=build_alias(ft, commit),
            pool=build_pool(serving_pod(ft, commit), replicas=2),
        )
    )
    assert told(status)["Ready"] == ("False", "PoolScaling")
    assert told(status)["Degraded"] == ("True", "PoolScaling")


def test_a_pod_that_cannot_start_is_told_with_its_hint() -> None:
    pod = build_pod(phase="Pending", unschedulable="0/3 nodes")
    status = status_of(plan(job=build_job(FT), pods=(pod,)))
    assert told(status)["Reconciling"] == ("True", "Unschedulable")
    assert status.failure is not None
    assert "spec.resources" in status.failure.hint


def test_a_failed_attempt_is_told_with_its_report_as_long_as_it_stands() -> None:
    report = TrainReport(
        attempt=build_pod().uid,
        outcome="Failed",
        failure=Failure(reason="LossNaN", message="the loss is nan"),
        exit_code=ExitCode.DIVERGED,
        step=3,
        total_steps=9,
        started="",
        finished="",
    )
    failed = {"job": build_job(FT, failed=True), "report": report}
    ended = build_pod(phase="Failed", exit_code=ExitCode.DIVERGED)

    first = status_of(plan(**failed, pods=(ended,)))
    later = status_of(plan(build_finetune(status=first), **failed, pods=()))
    silent = status_of(plan(job=failed["job"], pods=(ended,)))

    for status in (first, later):
        assert status.failure is not None
        uri = status.failure.log_uri
        assert uri is not None
        assert uri.startswith("s3://")
        assert uri.endswith(f"/attempts/{report.attempt}/report.json")
    assert silent.failure is not None
    assert silent.failure.log_uri is None


# --- guards


def test_the_bucket_is_away() -> None:
    problem = FailureStatus.of(Reason.BUCKET_NOT_FOUND, "no bucket", "Create it.")
    found = plan(job=build_job(FT), storage_problem=problem)
    assert told(status_of(found))["Stalled"] == ("True", "BucketNotFound")
    assert found.requeue_after is not None, "it is mended outside the cluster"
    assert found.delete == (), "the run goes on"


def test_an_unreadable_spec_keeps_what_was_known() -> None:
    served = status_of(plan(observed=READY))
    ft = build_any_finetune(build_spec(adapter={"rank": 7}), served, generation=2)
    found = plan(ft)
    status = status_of(found)
    assert told(status)["Stalled"] == ("True", "InvalidSpec")
    assert "spec.adapter.rank" in status.conditions[0].message
    assert status.serving == served.serving, "it still serves"
    assert status.revisions == served.revisions
    assert (found.delete, found.apply, found.promote) == ((), (), None)


def test_a_problem_of_the_spec_holds_the_promotion() -> None:
    pod = build_pool_pod(loaded={id_of(FT, COMMIT): COMMIT.digest})
    world: dict[str, Any] = {"commit": COMMIT, "verified": True, "pool": build_pool(pod)}
    assert plan(**world).promote is not None
    taken = plan(**world, alias_owner="elder")
    assert taken.promote is None
    assert told(status_of(taken))["Stalled"] == ("True", "AliasTaken")
    assert not any(e.reason == "Promoted" for e in taken.events)


# --- other revisions


def test_an_edit_stops_the_run_of_the_old_revision_only() -> None:
    running = build_job(FT, revision="01d00000")
    finished = build_job(FT, revision="01d00001", failed=True)
    going = build_job(FT, revision="01d00002", deleting=True)
    found = plan(other_jobs=(running, finished, going))
    assert found.delete == (Deletion("Job", running.name, running.uid),)


def test_going_back_to_a_committed_revision_trains_nothing() -> None:
    other = build_commit(FT, "01d00000")
    found = plan(
        commit=COMMIT,
        verified=True,
        alias=build_alias(FT, other),
        pool=build_pool(serving_pod(FT, other)),
    )
    assert found.apply == ()
    assert found.wake_pool == FT.pool


@pytest.mark.parametrize("limit", [1, 5, 20])
def test_revisions_stay_within_what_status_holds(limit: int) -> None:
    """The serving one is kept whatever its age, and the API server takes twenty."""
    ft = build_finetune(build_spec(revisionHistoryLimit=limit))
    old = [
        RevisionStatus(id=f"{n:08x}", spec_hash=f"{n:064x}", created_time="2026-01-01T00:00:00Z")
        for n in range(25)
    ]
    last = old[19]
    ft = build_finetune(
        build_spec(revisionHistoryLimit=limit), FineTuneStatus(revisions=old[:20]), generation=9
    )
    commit = build_commit(ft, last.id)
    status = status_of(
        plan(ft, alias=build_alias(ft, commit), pool=build_pool(serving_pod(ft, commit)))
    )
    ids = [r.id for r in status.revisions]
    assert ids[0] == revision_of(ft)
    assert last.id in ids
    assert len(ids) == min(limit + 1, MAX_REVISIONS)


def test_a_revision_keeps_the_time_it_was_first_seen() -> None:
    first = status_of(plan())
    later = plan_finetune(
        build_finetune(status=first), Observed(), SETTINGS, NOW + timedelta(hours=1)
    )
    assert status_of(later).revisions[0].created_time == first.revisions[0].created_time


# --- idempotence and events


@pytest.mark.parametrize(
    "observed",
    [
        Observed(),
        Observed(job=build_job(FT), pods=(build_pod(),)),
        Observed(job=build_job(FT, failed=True)),
        READY,
        Observed(storage_problem=FailureStatus.of(Reason.STORAGE_DENIED, "no")),
        Observed(alias_owner="elder"),
    ],
)
def test_the_same_world_again_changes_nothing(observed: Observed) -> None:
    first = status_of(plan(observed=observed))
    again = plan_finetune(
        build_finetune(status=first), observed, SETTINGS, NOW + timedelta(minutes=5)
    )
    assert status_of(again).to_wire() == first.to_wire()
    assert tell_changes(build_finetune(status=first), first) == ()


def test_events_tell_changes_once() -> None:
    found = plan(observed=READY)
    assert [e.reason for e in found.events] == ["Ready"]
    again = plan_finetune(build_finetune(status=status_of(found)), READY, SETTINGS, NOW)
    assert again.events == ()


def test_stalling_for_another_reason_is_told_again() -> None:
    first = status_of(plan(alias_owner="elder"))
    found = plan_finetune(
        build_finetune(status=first),
        Observed(storage_problem=FailureStatus.of(Reason.STORAGE_DENIED, "no")),
        SETTINGS,
        NOW,
    )
    assert [(e.type, e.reason) for e in found.events] == [("Warning", "StorageDenied")]


def test_a_refusal_is_told_and_nothing_else() -> None:
    found = plan()
    refused = with_refusal(FT, status_of(found), "exceeded what", NOW)
    status = FineTuneStatus.model_validate(refused.to_wire())
    assert told(status)["Stalled"] == ("True", "ApplyRefused")
    assert "Reconciling" not in told(status)
    assert status.stage == "ApplyRefused"
    assert [e.reason for e in tell_changes(FT, status)] == ["ApplyRefused"]
    ready = find(status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.status is ConditionStatus.FALSE


def test_a_refusal_leaves_it_degraded() -> None:
    scaling = replace(READY, pool=build_pool(serving_pod(FT, COMMIT), replicas=2))
    found = status_of(plan_finetune(FT, scaling, SETTINGS, NOW))
    degraded = told(found)["Degraded"]
    assert degraded[1] == "PoolScaling"
    assert told(with_refusal(FT, found, "exceeded what", NOW))["Degraded"] == degraded


# --- the end


def test_finalizer_only_for_deletion_policy_delete() -> None:
    assert plan().finalizer is None
    assert plan(build_finetune(DELETE)).finalizer is True
    assert plan(build_finetune(DELETE, finalizers=(FINALIZER,))).finalizer is None
    assert plan(build_finetune(finalizers=(FINALIZER,))).finalizer is False


GOING: dict[str, Any] = {"deleting": True, "finalizers": (FINALIZER, "someone.else/theirs")}


def test_deletion_stops_jobs_waits_for_pods_then_removes() -> None:
    ft = build_finetune(DELETE, **GOING)
    job, old = build_job(ft), build_job(ft, revision="01d00000", complete=True)
    first = plan(ft, job=job, other_jobs=(old,), pods=(build_pod(),))
    assert {d.name for d in first.delete} == {job.name, old.name}
    assert (first.delete_artifacts, first.finalizer) == (False, None)
    assert first.requeue_after is not None
    waiting = plan(ft, pods=(build_pod(deleting=True),))
    assert (waiting.delete, waiting.delete_artifacts) == ((), False)
    last = plan(ft)
    assert (last.delete_artifacts, last.finalizer) == (True, False)
    assert last.status is None


@pytest.mark.parametrize(
    ("spec", "removes", "event"),
    [
        (DELETE, True, ("Normal", "ArtifactsDeleted")),
        (build_spec(), False, ("Normal", "ArtifactsKept")),
        (RETAIN, False, ("Normal", "ArtifactsKept")),
        (merge(DELETE, UNREADABLE), True, ("Normal", "ArtifactsDeleted")),
        (merge(RETAIN, UNREADABLE), False, ("Normal", "ArtifactsKept")),
        (UNREADABLE, False, ("Normal", "ArtifactsKept")),
        (build_spec(artifacts={"deletionPolicy": "Maybe"}), False, ("Warning", "ArtifactsKept")),
        (merge(DELETE, {"artifacts": {"later": 1}}), False, ("Warning", "ArtifactsKept")),
        ({**UNREADABLE, "artifacts": "Delete"}, False, ("Warning", "ArtifactsKept")),
        ({**UNREADABLE, "artifacts": None}, False, ("Warning", "ArtifactsKept")),
    ],
)
def test_the_spec_decides_at_the_last_moment(
    spec: dict[str, Any], removes: bool, event: tuple[str, str]
) -> None:
    """The finalizer is what the spec was once. In doubt the artifacts stay, with an event."""
    found = plan(build_any_finetune(spec, **GOING))
    assert (found.delete_artifacts, found.finalizer) == (removes, False)
    assert [(e.type, e.reason) for e in found.events] == [event]


def test_what_is_retained_waits_for_nothing() -> None:
    found = plan(build_finetune(RETAIN, **GOING), job=build_job(FT), pods=(build_pod(),))
    assert (found.finalizer, found.delete, found.delete_artifacts) == (False, (), False)


@pytest.mark.parametrize(
    ("refusal", "waits", "reason"),
    [
        (
            FailureStatus.of(Reason.STORAGE_DENIED, "no", "Rotate the key."),
            "Stalled",
            "StorageDenied",
        ),
        (None, "Reconciling", "StorageUnavailable"),
    ],
)
def test_a_deletion_that_waits_for_the_bucket_reports_why(
    refusal: FailureStatus | None, waits: str, reason: str
) -> None:
    ft = build_finetune(DELETE, status_of(plan(observed=READY)), **GOING)
    status = FineTuneStatus.model_validate(with_waiting_deletion(ft, refusal, NOW).to_wire())
    assert told(status)["Ready"] == ("False", "Deleting")
    assert told(status)[waits] == ("True", reason)
    assert told(status)["Trained"] == ("True", "Committed")
    assert "Or set deletionPolicy to Retain" in status.conditions[0].message
    assert [e.reason for e in tell_changes(ft, status)] == [reason]
    again = build_finetune(DELETE, status, **GOING)
    assert with_waiting_deletion(again, refusal, NOW).to_wire() == status.to_wire()


def test_deletion_without_our_finalizer_is_not_ours() -> None:
    ft = build_finetune(DELETE, deleting=True, finalizers=("someone.else/theirs",))
    assert plan(ft, job=build_job(ft)) == FineTunePlan(status=None)
