"""The decision about an evaluation that repeats: which run is due, and what came out. Pure.

As a CronJob with concurrencyPolicy Forbid: the last time that was missed is made up for once,
however many were; one that falls due while a run is going on waits for its end; one over its
starting deadline is left out. What was started is read off the runs themselves and off status, so
that neither a crash between the two nor a removed run starts one again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import EvalSpec, EvalStatus, Verdict
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_api.v1alpha1.schedule import EvalSchedule, RunStatus, ScheduleStatus
from qwen3_operator.evaluation.actions import EvalPlan
from qwen3_operator.evaluation.cron import Cron, CronError
from qwen3_operator.evaluation.holdout import set_holdout_condition
from qwen3_operator.evaluation.scheduled_run import build_run, run_name
from qwen3_operator.evaluation.status import REFUSALS, set_gate_condition
from qwen3_operator.evaluation.views import Evaluation, ReadableEvaluation, ScheduledRun
from qwen3_operator.resources.actions import Deletion, Event, Manifest
from qwen3_operator.resources.conditions import Conditions, format_time
from qwen3_operator.resources.summary import Progress, Summary, write_summary
from qwen3_operator.resources.views import parse_time

LOOK_SECONDS = 3600.0
"""The longest wait: the machine's clock may be set meanwhile."""
TAKEN_OVER = (
    "verdict", "results", "gates", "score", "delta", "samples", "resolved", "report_uri", "failure",
    "start_time", "completion_time", "holdout",
)  # fmt: skip
"""Fields of status that are those of the newest ended run."""


@dataclass(frozen=True)
class _Due:
    """What the clock asks for."""

    start: datetime | None = None
    """A run begins now."""
    missed: datetime | None = None
    """A time that is over its deadline."""
    following: datetime | None = None


def plan_scheduled(
    ev: ReadableEvaluation,
    schedule: EvalSchedule,
    runs: Sequence[ScheduledRun],
    now: datetime,
) -> EvalPlan:
    """What shall be true next.

    runs: those of this evaluation's own that exist, in any order.
    """
    spec, told = ev.spec, ev.status.schedule or ScheduleStatus()
    ended = [r for r in runs if r.evaluation.status.verdict is not None]
    active = [r for r in runs if r.evaluation.status.verdict is None]
    try:
        due = _decide(ev, spec, schedule, runs, told, bool(active), now)
    except CronError as error:
        problem = FailureStatus.of(Reason.INVALID_SPEC, str(error))
        status = _build_status(
            ev, spec, told.model_copy(update={"next_time": None}), {}, problem, now
        )
        return EvalPlan(status=status)
    apply: tuple[Manifest, ...] = ()
    events: list[Event] = []
    running = min((r.evaluation.meta.name for r in active), default=None)
    last = max((r.scheduled for r in runs), default=None)
    if due.start is not None:
        running, last = run_name(ev.meta, due.start), due.start
        apply = (build_run(ev.meta, spec, due.start),)
        events.append(Event("Normal", "RunStarted", f"Created run {running}"))
    if due.missed is not None:
        late = f"the run of {format_time(due.missed)} missed its starting deadline and was skipped"
        events.append(Event("Warning", "RunMissed", late))
    history = _build_history(told.history, ended)[: schedule.history_limit]
    known = {r.name for r in told.history}
    events += [_tell(run) for run in reversed(history) if run.name not in known]
    news = ScheduleStatus(
        next_time=format_time(due.following) if due.following else None,
        last_time=_later(told.last_time, last),
        missed_time=_later(told.missed_time, due.missed),
        active=running,
        history=history,
    )
    newest = next((r for r in ended if history and r.evaluation.meta.name == history[0].name), None)
    kept = {run.name for run in history}
    return EvalPlan(
        status=_build_status(ev, spec, news, _outcome(newest), None, now),
        apply=apply,
        delete=tuple(
            Deletion("Qwen3Eval", r.evaluation.meta.name, r.evaluation.meta.uid)
            for r in ended
            if r.evaluation.meta.name not in kept
        ),
        events=tuple(events),
        requeue_after=_wait(due.following, now),
    )


def _decide(
    ev: Evaluation,
    spec: EvalSpec,
    schedule: EvalSchedule,
    runs: Sequence[ScheduledRun],
    told: ScheduleStatus,
    busy: bool,
    now: datetime,
) -> _Due:
    """Raises CronError."""
    cron = Cron(schedule)
    if spec.suspend:
        return _Due()
    following, latest = cron.following(now), cron.latest(now)
    seen = [parse_time(t) for t in (told.last_time, told.missed_time) if t is not None]
    since = max([ev.meta.created, *seen, *(r.scheduled for r in runs)])
    if latest is None or latest <= since:
        return _Due(following=following)
    deadline = schedule.starting_deadline_seconds
    if deadline is not None and now - latest > timedelta(seconds=deadline):
        return _Due(missed=latest, following=following)
    return _Due(start=None if busy else latest, following=following)


def _build_history(told: Sequence[RunStatus], ended: Sequence[ScheduledRun]) -> list[RunStatus]:
    """Newest first. A run that somebody removed is remembered."""
    lines = {run.name: run for run in told}
    lines |= {r.evaluation.meta.name: _line(r) for r in ended}
    return sorted(lines.values(), key=lambda run: run.scheduled_time, reverse=True)


def _line(run: ScheduledRun) -> RunStatus:
    status = run.evaluation.status
    failed = status.verdict is Verdict.ERROR and status.failure is not None
    return RunStatus(
        name=run.evaluation.meta.name,
        scheduled_time=format_time(run.scheduled),
        completion_time=status.completion_time,
        verdict=status.verdict or "",
        reason=status.failure.reason if failed and status.failure is not None else None,
        score=status.score,
        delta=status.delta,
        samples=status.samples,
        revision=status.resolved.target_revision if status.resolved else None,
        report_uri=status.report_uri,
    )


def _outcome(newest: ScheduledRun | None) -> dict[str, Any]:
    """Fields of status out of the newest ended run; none if there is nothing new to tell."""
    if newest is None:
        return {}
    return {name: getattr(newest.evaluation.status, name) for name in TAKEN_OVER}


def _build_status(
    ev: Evaluation,
    spec: EvalSpec,
    schedule: ScheduleStatus,
    outcome: Mapping[str, Any],
    problem: FailureStatus | None,
    now: datetime,
) -> EvalStatus:
    status = ev.status.model_copy(
        update={**outcome, "schedule": schedule, "observed_generation": ev.meta.generation}
    )
    conditions = Conditions(ev.status.conditions, ev.meta.generation, now)
    reason, message = _explain(spec, schedule, problem)
    progress = Progress.STALLED if problem is not None else Progress.NONE
    summary = Summary(reason is Reason.SCHEDULED, reason, message, progress)
    write_summary(conditions, summary)
    last = schedule.history[0] if schedule.history else None
    if last is None:
        conditions.set(
            ConditionType.SUCCEEDED, ConditionStatus.UNKNOWN, reason, "no run has finished yet"
        )
    else:
        good = last.verdict != Verdict.ERROR
        why = Reason.COMPLETED if good else last.reason or Reason.EVALUATOR_FAILED
        conditions.set(ConditionType.SUCCEEDED, good, why, f"run {last.name}: {last.verdict}")
    set_gate_condition(conditions, spec, status.verdict, status.gates, reason)
    set_holdout_condition(conditions, status.holdout, status.failure)
    return status.model_copy(update={"stage": summary.stage, "conditions": conditions.to_list()})


def _explain(
    spec: EvalSpec, schedule: ScheduleStatus, problem: FailureStatus | None
) -> tuple[Reason, str]:
    """Reason and message of Ready."""
    if problem is not None:
        return Reason.INVALID_SPEC, problem.message
    going_on = f"run {schedule.active} is active; " if schedule.active else ""
    if spec.suspend:
        return Reason.SUSPENDED, f"{going_on}spec.suspend is true"
    if schedule.next_time is None:
        return Reason.SCHEDULED, f"{going_on}no further run is due"
    return Reason.SCHEDULED, f"{going_on}the next run is due at {schedule.next_time}"


def _tell(run: RunStatus) -> Event:
    if run.verdict == Verdict.ERROR:
        reason = run.reason or Reason.EVALUATOR_FAILED.value
        return Event("Warning", reason, f"run {run.name} failed")
    refusal = next((r for v, r in REFUSALS.items() if v == run.verdict), None)
    delta = f", delta {run.delta}" if run.delta else ""
    message = f"run {run.name}: {run.verdict}: score {run.score}{delta}"
    if refusal is not None:
        return Event("Warning", refusal.value, message)
    return Event("Normal", Reason.COMPLETED.value, message)


def _later(told: str | None, found: datetime | None) -> str | None:
    """The later of two times, as status has them."""
    times = [t for t in (told, format_time(found) if found else None) if t is not None]
    return max(times, default=None)


def _wait(following: datetime | None, now: datetime) -> float | None:
    if following is None:
        return None
    return min(LOOK_SECONDS, max(1.0, (following - now).total_seconds()))
