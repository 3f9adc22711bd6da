"""The decision about an evaluation that repeats: each time once, never two at once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from qwen3_api.v1alpha1.evaluation import EvalStatus, Verdict
from qwen3_operator.evaluation.actions import EvalPlan
from qwen3_operator.evaluation.plan import EvalObserved, plan_evaluation
from qwen3_operator.evaluation.scheduled_run import build_run, run_name
from qwen3_operator.evaluation.views import Evaluation, ScheduledRun, parse_evaluation, parse_run
from support.evaluation_world import SPEC, build_report, build_runs_end, conditions_of
from support.operator_world import NOW, SETTINGS, build_body

HOURLY = {"cron": "0 * * * *"}


def build_scheduled(
    schedule: dict[str, Any] | None = None,
    status: EvalStatus | None = None,
    *,
    name: str = "quiz",
    uid: str = "uid-quiz",
    created: datetime = NOW - timedelta(hours=5),
    **changes: Any,
) -> Evaluation:
    wire = status.to_wire() if status else None
    body = build_body(
        {**SPEC, "schedule": HOURLY | (schedule or {}), **changes}, wire, name=name, uid=uid
    )
    body["metadata"]["creationTimestamp"] = created.isoformat()
    return parse_evaluation(body, SETTINGS)


def plan(ev: Evaluation, *runs: ScheduledRun, now: datetime = NOW) -> EvalPlan:
    return plan_evaluation(ev, EvalObserved(fine_tunes={}, runs=runs), SETTINGS, now)


def run_of(found: EvalPlan, status: EvalStatus | None = None) -> ScheduledRun:
    """The run that a plan applies, as the API server would hold it."""
    (manifest,) = found.apply
    return as_run(manifest, status)


def as_run(manifest: Any, status: EvalStatus | None = None) -> ScheduledRun:
    body = build_body(dict(manifest["spec"]), status.to_wire() if status else None)
    body["metadata"] |= manifest["metadata"] | {"uid": f"uid-{manifest['metadata']['name']}"}
    run = parse_run(body, SETTINGS)
    assert run is not None
    return run


def test_a_run_is_an_evaluation_of_its_own() -> None:
    found = plan(build_scheduled())
    (manifest,) = found.apply
    assert manifest["metadata"]["annotations"] == {
        "qwen3.dev/scheduled-time": "2026-03-01T12:00:00Z"
    }
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == "uid-quiz"
    run = run_of(found).evaluation
    assert run.spec is not None, run.error
    assert (run.spec.schedule, run.spec.suspend) == (None, False)
    assert run.spec.target.fine_tune is not None
    assert found.status is not None
    assert found.status.schedule is not None
    told = found.status.schedule
    assert (told.last_time, told.next_time) == ("2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z")
    assert told.active == manifest["metadata"]["name"]
    assert found.requeue_after == 3600
    assert conditions_of(found)["Ready"].reason == "Scheduled"


def test_before_its_first_time_nothing_runs() -> None:
    found = plan(build_scheduled(created=NOW), now=NOW + timedelta(minutes=10))
    assert found.apply == ()
    assert found.requeue_after == 3000


@pytest.mark.parametrize("crashed", [True, False])
def test_a_time_runs_once(crashed: bool) -> None:
    """Whether the status of the start was written or the operator died before."""
    first = plan(build_scheduled())
    run = run_of(first)
    status = None if crashed else first.status
    again = plan(build_scheduled(status=status), run, now=NOW + timedelta(minutes=1))
    assert again.apply == ()
    assert again.status is not None
    assert again.status.schedule is not None
    assert again.status.schedule.active == run.evaluation.meta.name
    ended = build_runs_end(run, build_report())
    assert plan(build_scheduled(status=status), ended).apply == ()
    removed = plan(build_scheduled(status=plan(build_scheduled(), ended).status))
    assert removed.apply == (), "a run that somebody removed doesn't come again"


def test_planned_twice_it_is_the_same_run() -> None:
    late = plan(build_scheduled(), now=NOW + timedelta(minutes=7))
    assert [dict(m) for m in late.apply] == [dict(m) for m in plan(build_scheduled()).apply]


def test_what_was_missed_is_made_up_for_once() -> None:
    away = build_scheduled(created=NOW - timedelta(days=30))
    found = plan(away)
    assert len(found.apply) == 1
    ended = build_runs_end(run_of(found), build_report())
    assert plan(build_scheduled(status=found.status), ended).apply == ()


def test_a_run_that_goes_on_keeps_the_next_one_waiting() -> None:
    first = plan(build_scheduled())
    run = run_of(first)
    later = NOW + timedelta(hours=3, minutes=1)
    waiting = plan(build_scheduled(status=first.status), run, now=later)
    assert waiting.apply == ()
    ended = build_runs_end(run, build_report())
    found = plan(build_scheduled(status=waiting.status), ended, now=later)
    assert run_of(found).scheduled == NOW + timedelta(hours=3)


@pytest.mark.parametrize(("late", "runs"), [(60, True), (61, False)])
def test_over_its_deadline_it_is_left_out(late: int, runs: bool) -> None:
    ev = build_scheduled({"startingDeadlineSeconds": 60})
    found = plan(ev, now=NOW + timedelta(seconds=late))
    assert bool(found.apply) is runs
    assert found.status is not None
    told = found.status.schedule
    assert told is not None
    assert told.missed_time == (None if runs else "2026-03-01T12:00:00Z")
    assert [e.reason for e in found.events] == (["RunStarted"] if runs else ["RunMissed"])
    again = plan(
        build_scheduled({"startingDeadlineSeconds": 60}, found.status),
        now=NOW + timedelta(seconds=late + 5),
    )
    if not runs:
        assert (again.apply, again.events) == ((), ()), "it is told once"


def test_suspend() -> None:
    parked = plan(build_scheduled(suspend=True))
    assert (parked.apply, parked.requeue_after) == ((), None)
    conditions = conditions_of(parked)
    assert conditions["Ready"].reason == "Suspended"
    assert parked.status is not None
    assert parked.status.schedule is not None
    assert parked.status.schedule.next_time is None
    assert len(plan(build_scheduled(status=parked.status)).apply) == 1


def test_what_came_out_stands_in_status() -> None:
    first = plan(build_scheduled())
    ended = build_runs_end(run_of(first), build_report(), revision="0a1b2c3d")
    found = plan(build_scheduled(status=first.status), ended)
    status = found.status
    assert status is not None
    assert (status.verdict, status.score, status.delta) == (Verdict.COMPLETED, "0.7500", "+0.5000")
    assert len(status.results) == 2
    assert status.schedule is not None
    (line,) = status.schedule.history
    assert (line.verdict, line.score, line.revision) == ("Completed", "0.7500", "0a1b2c3d")
    assert line.report_uri == status.report_uri == "s3://q/report.html"
    assert conditions_of(found)["Succeeded"].status == "True"
    assert [e.message for e in found.events if e.reason == "Completed"] == [
        f"run {line.name}: Completed: score 0.7500, delta +0.5000"
    ]
    again = plan(build_scheduled(status=status), ended)
    assert again.events == ()
    assert again.status is not None
    assert again.status.to_wire() == status.to_wire()


def test_a_run_that_failed_is_told_and_the_next_one_runs() -> None:
    first = plan(build_scheduled())
    run = run_of(first)
    failed = build_runs_end(run, None)
    found = plan(build_scheduled(status=first.status), failed, now=NOW + timedelta(hours=1))
    assert len(found.apply) == 1
    succeeded = conditions_of(found)["Succeeded"]
    assert (succeeded.status, succeeded.reason) == ("False", "EvaluatorFailed")
    assert conditions_of(found)["Ready"].status == "True", "the schedule is in force"


def ended_runs(count: int) -> Sequence[ScheduledRun]:
    """So many, the last one at NOW."""
    ev = build_scheduled()
    assert ev.spec is not None
    return [
        build_runs_end(
            as_run(build_run(ev.meta, ev.spec, NOW - timedelta(hours=n))), build_report()
        )
        for n in range(count)
    ]


def test_history_is_limited_and_its_runs_with_it() -> None:
    runs = ended_runs(4)
    found = plan(build_scheduled({"historyLimit": 2}), *runs)
    assert found.status is not None
    assert found.status.schedule is not None
    kept = [line.name for line in found.status.schedule.history]
    assert kept == [r.evaluation.meta.name for r in runs[:2]], "newest first"
    assert [d.name for d in found.delete] == [r.evaluation.meta.name for r in runs[2:]]
    assert {d.uid for d in found.delete} == {r.evaluation.meta.uid for r in runs[2:]}


@pytest.mark.parametrize("schedule", [{"cron": "61 * * * *"}, {"timeZone": "Europe/Bonn"}])
def test_a_schedule_that_cannot_be_followed(schedule: dict[str, Any]) -> None:
    found = plan(build_scheduled(schedule))
    conditions = conditions_of(found)
    assert found.apply == ()
    assert conditions["Ready"].reason == conditions["Stalled"].reason == "InvalidSpec"
    assert "spec.schedule." in conditions["Ready"].message
    mended = plan(build_scheduled(status=found.status))
    assert len(mended.apply) == 1
    assert "Stalled" not in conditions_of(mended)


@pytest.mark.parametrize("name", ["a", "quiz", "a" * 40, f"{'a' * 23}-b", f"{'a' * 23}--b"])
def test_names_of_runs(name: str) -> None:
    ev = build_scheduled(name=name)
    found = run_name(ev.meta, NOW)
    assert len(found) <= 40
    assert "--" not in found.removeprefix(name[:23])
    others = {
        run_name(ev.meta, NOW + timedelta(minutes=1)),
        run_name(build_scheduled(name=name, uid="uid-other").meta, NOW),
        run_name(build_scheduled(name=f"{name[:39]}x").meta, NOW),
    }
    assert len(others - {found}) == 3
