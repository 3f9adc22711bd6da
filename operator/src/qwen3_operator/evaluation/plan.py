"""The decision about one evaluation. Pure.

A low score is no error, and neither is a gate that did not pass: Succeeded tells that it ran, the
results and GatePassed what came out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qwen3_api.job.evaluate import EvalProgressDocument, EvalReport, TrackingReport
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import (
    EvalProgress,
    EvalSpec,
    EvalStatus,
    ResolvedStatus,
    Verdict,
)
from qwen3_api.v1alpha1.failure import FailureClass, FailureStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_operator.evaluation.actions import EvalPlan
from qwen3_operator.evaluation.adapter import GuestView, find_waiting, is_permanent
from qwen3_operator.evaluation.holdout import (
    find_training,
    set_holdout_condition,
    tell_holdout,
)
from qwen3_operator.evaluation.manifests import build_eval_objects, resolve_eval_job
from qwen3_operator.evaluation.schedule import plan_scheduled
from qwen3_operator.evaluation.status import (
    build_gates,
    build_results,
    decide_verdict,
    set_gate_condition,
)
from qwen3_operator.evaluation.target import World, resolve_asked
from qwen3_operator.evaluation.tracking import build_tracking, set_tracked_condition
from qwen3_operator.evaluation.training import resolve_training
from qwen3_operator.evaluation.views import (
    Evaluation,
    ReadableEvaluation,
    ScheduledRun,
    UnreadableEvaluation,
)
from qwen3_operator.finetune.views import FineTune
from qwen3_operator.resources.actions import Event, Manifest
from qwen3_operator.resources.conditions import Conditions, find
from qwen3_operator.resources.diagnosis import (
    REASONS,
)
from qwen3_operator.resources.job import build_lifecycle, build_parking
from qwen3_operator.resources.job_state import JobAssessment, JobState, assess_job
from qwen3_operator.resources.names import eval_job_name
from qwen3_operator.resources.numbers import count, count_or_none
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.summary import Progress, Summary, write_summary
from qwen3_operator.resources.views import JobView, PodView, wire_time
from qwen3_operator.serving.adapter import Guest
from qwen3_operator.serving.views import PoolView
from qwen3_operator.settings import Settings

POLL_SECONDS = 5.0
WAIT_SECONDS = 15.0
STORAGE_SECONDS = 30.0
HINTS = {
    Reason.CREDENTIALS_NOT_FOUND: "Create the Secret that the message names in this "
    "namespace: with OPENAI_API_KEY for an endpoint's secretRef, with AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY for the store. The pod then starts automatically.",
    Reason.UNSCHEDULABLE: "Request less in spec.runner, or wait for a node.",
    Reason.OUT_OF_MEMORY: "Raise spec.runner.memory.",
}
"""Hints about a pod that read otherwise for an evaluation than for a training run."""


@dataclass(frozen=True)
class EvalObserved:
    """The world around one evaluation."""

    fine_tunes: Mapping[str, FineTune]
    """The fine-tunes that the spec names, those that exist."""
    pools: Mapping[str, PoolView] = field(default_factory=dict)
    """The pools of those that it asks by revision, by the fine-tune's name."""
    job: JobView | None = None
    pods: tuple[PodView, ...] = ()
    progress: EvalProgressDocument | None = None
    report: EvalReport | None = None
    report_uri: str = ""
    tracking: TrackingReport | None = None
    """Read until status says what it says."""
    storage_problem: FailureStatus | None = None
    runs: tuple[ScheduledRun, ...] = ()
    """Of one with a schedule: its runs."""
    guest: GuestView | None = None
    """Of one with a target of type Adapter, until its Job asks."""


@dataclass(frozen=True)
class _Step:
    """What comes next and how the evaluation stands."""

    reason: Reason
    message: str
    problem: FailureStatus | None = None
    apply: tuple[Manifest, ...] = ()
    lifecycle: tuple[Manifest, ...] = ()
    resolved: ResolvedStatus | None = None
    requeue_after: float | None = None
    done: bool = False
    events: tuple[Event, ...] = field(default=())

    @property
    def failed(self) -> bool:
        """It ended without a result. A problem that is looked at again ends nothing."""
        return self.problem is not None and self.requeue_after is None

    @property
    def progress(self) -> Progress:
        """Who acts next."""
        if self.problem is not None:
            return Progress.STALLED
        done = self.done or self.reason is Reason.SUSPENDED
        return Progress.NONE if done else Progress.RECONCILING


def plan_evaluation(
    ev: Evaluation, observed: EvalObserved, settings: Settings, now: datetime
) -> EvalPlan:
    """What shall be true next."""
    if ev.meta.deleting:
        return EvalPlan(status=None)
    if isinstance(ev, ReadableEvaluation) and ev.spec.schedule is not None:
        return plan_scheduled(ev, ev.spec.schedule, observed.runs, now)
    if ev.status.verdict is not None and _is_unread(ev, observed):
        # A verdict stands, whatever becomes of the bucket. An error too: its cause may not be found
        # a second time, and a bad adapter would be loaded again.
        return EvalPlan(
            status=None,
            requeue_after=STORAGE_SECONDS if isinstance(ev, ReadableEvaluation) else None,
        )
    step = _next_step(ev, observed, settings)
    status = _build_status(ev, observed, step, now)
    return EvalPlan(
        status=status,
        apply=step.apply,
        lifecycle=step.lifecycle,
        events=(*step.events, *_events(ev, status)),
        requeue_after=step.requeue_after,
    )


def _is_unread(ev: Evaluation, observed: EvalObserved) -> bool:
    """The report can't be read: the spec has no usable bucket, or the store refuses."""
    if isinstance(ev, UnreadableEvaluation) or ev.storage is None:
        return True
    return observed.storage_problem is not None


def _next_step(ev: Evaluation, observed: EvalObserved, settings: Settings) -> _Step:
    """Guards in the order of truth: the report, the Job, the wish."""
    if isinstance(ev, UnreadableEvaluation):
        problem = FailureStatus.of(Reason.INVALID_SPEC, ev.error, "Apply a new evaluation.")
        return _Step(Reason.INVALID_SPEC, ev.error, problem=problem)
    storage = ev.storage
    if storage is None or observed.storage_problem is not None:
        problem = observed.storage_problem or FailureStatus.of(
            Reason.STORAGE_NOT_CONFIGURED,
            "spec.output.s3: the operator has no credentials or no bucket for this endpoint",
            "Omit spec.output.s3 to use the platform's storage.",
        )
        return _Step(
            Reason(problem.reason), problem.message, problem, requeue_after=STORAGE_SECONDS
        )
    report, job = observed.report, observed.job
    if report is not None and report.outcome == "Completed":
        return _plan_completed(ev, job)
    found = assess_job(job, observed.pods, ev.meta.uid, recorded=ev.status.failure)
    if job is not None and found.state is JobState.NOT_OWNED:
        message = f"waiting for deletion of Job {job.name}, owned by a previous evaluation"
        return _Step(Reason.PENDING, message, requeue_after=POLL_SECONDS)
    if job is not None and found.state in (JobState.FAILED, JobState.NO_RESULT):
        return _plan_broken(job, found, observed)
    if (told := told_before(ev, job)) is not None:
        return _Step(Reason(told.reason), told.message, told)
    if found.state is JobState.LEAVING:
        message = "waiting for deletion of the old Job"
        return _Step(Reason.PENDING, message, requeue_after=POLL_SECONDS)
    if ev.spec.suspend:
        return _plan_suspended(ev, job)
    if job is None or (job.suspended and job.parked):
        waiting = _plan_loading(observed.guest, settings)
        return waiting or _plan_start(ev, job, observed, storage, settings)
    return _plan_running(job, found, observed)


def _plan_broken(job: JobView, found: JobAssessment, observed: EvalObserved) -> _Step:
    """The Job came to its end without a result."""
    problem = found.problem
    if problem is None:
        message = f"Job {job.name} completed without a report"
        hint = "Delete the Job to repeat the evaluation."
        problem = FailureStatus.of(Reason.EVALUATOR_FAILED, message, hint, user=False)
        return _Step(Reason.EVALUATOR_FAILED, message, problem)
    if found.recalled:
        return _Step(Reason(problem.reason), problem.message, problem)
    told = observed.report.failure if observed.report is not None else None
    if told is not None and told.reason in REASONS:
        problem = FailureStatus.of(told.reason, told.message, told.hint)
    elif problem.reason == Reason.TRAINER_FAILED:
        problem = FailureStatus.of(
            Reason.EVALUATOR_FAILED, problem.message, problem.hint, user=False
        )
    elif problem.reason == Reason.OUT_OF_MEMORY:
        problem = problem.with_changes(hint=HINTS[Reason.OUT_OF_MEMORY])
    return _Step(Reason(problem.reason), problem.message, problem)


def _plan_loading(guest: GuestView | None, settings: Settings) -> _Step | None:
    """What an adapter that is loaded for the evaluation waits for; None when it may be asked."""
    waiting = find_waiting(guest, settings) if guest is not None else None
    if isinstance(waiting, FailureStatus):
        again = None if is_permanent(waiting) else WAIT_SECONDS
        return _Step(Reason(waiting.reason), waiting.message, waiting, requeue_after=again)
    if waiting is not None:
        return _Step(Reason.TARGET_NOT_READY, waiting, requeue_after=POLL_SECONDS)
    return None


def told_before(ev: ReadableEvaluation, job: JobView | None) -> FailureStatus | None:
    """Why an adapter could not be asked at all. It was unloaded over that, so the sidecars don't
    say it any more: what was told stands."""
    failure = ev.status.failure
    if ev.spec.target.adapter is None or failure is None or job is not None:
        return None
    if ev.status.verdict is not Verdict.ERROR or ev.status.job_name is not None:
        return None
    user = failure.failure_class is FailureClass.USER
    return FailureStatus.of(failure.reason, failure.message, failure.hint, user=user)


def _plan_completed(ev: ReadableEvaluation, job: JobView | None) -> _Step:
    lifecycle: tuple[Manifest, ...] = ()
    ttl = ev.spec.ttl_seconds_after_finished
    if job is not None and job.finished and job.ttl != ttl and not job.deleting:
        manifest = build_lifecycle(ev.meta.namespace, job, {"ttlSecondsAfterFinished": ttl})
        lifecycle = (manifest,)
    waiting = job is not None and not job.finished
    return _Step(
        Reason.COMPLETED,
        "all questions were answered and scored",
        done=True,
        lifecycle=lifecycle,
        requeue_after=POLL_SECONDS if waiting else None,
    )


def _plan_suspended(ev: Evaluation, job: JobView | None) -> _Step:
    message = "spec.suspend is true"
    if job is None or job.suspended:
        return _Step(Reason.SUSPENDED, message)
    return _Step(Reason.SUSPENDED, message, lifecycle=(build_parking(ev.meta.namespace, job),))


def _plan_running(job: JobView, found: JobAssessment, observed: EvalObserved) -> _Step:
    if job.suspended:
        return _Step(Reason.QUEUED, f"Job {job.name} is suspended by another client")
    warning = found.problem
    if warning is not None:
        reason = Reason(warning.reason)
        warning = warning.with_changes(hint=HINTS.get(reason, warning.hint))
        return _Step(reason, warning.advice, requeue_after=POLL_SECONDS)
    if any(p.running for p in observed.pods):
        p = observed.progress
        said = f"{p.completed} of {p.total} requests" if p else "the evaluator is starting"
        return _Step(Reason.EVALUATING, said, requeue_after=POLL_SECONDS)
    return _Step(Reason.SCHEDULING, "the pod is starting", requeue_after=POLL_SECONDS)


def _plan_start(
    ev: ReadableEvaluation,
    job: JobView | None,
    observed: EvalObserved,
    storage: StorageTarget,
    settings: Settings,
) -> _Step:
    """Resolve the target to an immutable id and start, or let a parked Job go on. The order is
    written once, into the ConfigMap: a promotion in the middle of the run doesn't change who is
    asked."""
    if job is not None:
        return _Step(
            Reason.SCHEDULING,
            f"Job {job.name} resumes",
            lifecycle=(build_lifecycle(ev.meta.namespace, job, {}),),
            requeue_after=POLL_SECONDS,
        )
    spec = ev.spec
    guest = observed.guest.found if observed.guest is not None else None
    adapter = guest if isinstance(guest, Guest) else None
    world = World(observed.fine_tunes, observed.pools, settings, adapter)
    asked = resolve_asked(spec, world)
    if isinstance(asked, str):
        return _Step(Reason.TARGET_NOT_READY, asked, requeue_after=WAIT_SECONDS)
    revision = asked.status.target_revision
    digest = find_training(ev, revision, observed.fine_tunes)
    if isinstance(digest, FailureStatus):
        return _Step(Reason(digest.reason), digest.message, digest)
    training = resolve_training(spec, revision, world, storage)
    order = resolve_eval_job(
        ev.meta, spec, asked.target, asked.baselines, storage, digest=digest, training=training
    )
    name = eval_job_name(ev.meta.name)
    return _Step(
        Reason.SCHEDULING,
        f"Job {name} was created",
        apply=build_eval_objects(ev.meta, spec, order, storage, settings),
        resolved=asked.status,
        events=(Event("Normal", "EvaluationStarted", f"Created Job {name}"),),
        requeue_after=POLL_SECONDS,
    )


def _build_status(ev: Evaluation, observed: EvalObserved, step: _Step, now: datetime) -> EvalStatus:
    conditions = Conditions(ev.status.conditions, ev.meta.generation, now)
    hint = f". {step.problem.hint}" if step.problem and step.problem.hint else ""
    message = f"{step.message}{hint}"
    summary = Summary(step.done, step.reason, message, step.progress)
    write_summary(conditions, summary)
    succeeded = ConditionStatus.UNKNOWN
    if step.done or step.failed:
        succeeded = ConditionStatus.TRUE if step.done else ConditionStatus.FALSE
    conditions.set(ConditionType.SUCCEEDED, succeeded, step.reason, message)
    update: dict[str, Any] = {
        "observed_generation": ev.meta.generation,
        "stage": summary.stage,
        "job_name": eval_job_name(ev.meta.name) if observed.job or step.apply else None,
        "verdict": Verdict.ERROR if step.failed else None,
        "failure": step.problem,
    }
    if step.resolved is not None:
        update["resolved"] = step.resolved
    if observed.job is not None and observed.job.start_time:
        update["start_time"] = observed.job.start_time
    update["progress"] = _build_progress(ev, observed)
    if isinstance(ev, ReadableEvaluation):
        update |= _add_results(conditions, ev, observed, step, update)
    return ev.status.model_copy(update=update | {"conditions": conditions.to_list()})


def _add_results(
    conditions: Conditions,
    ev: ReadableEvaluation,
    observed: EvalObserved,
    step: _Step,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """Fields and conditions that say what came out, on top of those of `before`."""
    spec, update = ev.spec, dict(before)
    if step.done and observed.report is not None:
        update |= _build_outcome(spec, observed.report)
        update["report_uri"] = observed.report_uri
        if (done := update["progress"]) is not None:
            update["progress"] = EvalProgress(completed=done.total, total=done.total)
    set_gate_condition(conditions, spec, update["verdict"], update.get("gates", []), step.reason)
    set_holdout_condition(conditions, update.get("holdout", []), update["failure"])
    if step.done and observed.tracking is not None:
        update["tracking"] = build_tracking(spec, observed.tracking)
    set_tracked_condition(
        conditions,
        ev.status.conditions,
        spec,
        observed.tracking if step.done else None,
        observed.job,
        done=step.done,
        reason=step.reason,
    )
    return update


def _build_progress(ev: Evaluation, observed: EvalObserved) -> EvalProgress | None:
    """How far it is, or was when it was last looked at."""
    p = observed.progress
    if p is None:
        return ev.status.progress
    return EvalProgress(
        completed=count(p.completed),
        total=count(p.total),
        suite=p.suite[:128],
        eta_seconds=count_or_none(p.eta_seconds),
    )


def _build_outcome(spec: EvalSpec, report: EvalReport) -> dict[str, Any]:
    """What came out, in the fields of status."""
    rows, gates = build_results(spec, report), build_gates(spec, report)
    first = rows[0] if rows else None
    return {
        "verdict": decide_verdict(report, gates),
        "results": rows,
        "gates": gates,
        "holdout": tell_holdout(spec, report),
        "score": first.value if first else None,
        "delta": first.delta if first else None,
        "samples": first.samples if first else 0,
        "completion_time": wire_time(report.finished),
    }


def _events(ev: Evaluation, status: EvalStatus) -> tuple[Event, ...]:
    before = find(ev.status.conditions, ConditionType.SUCCEEDED)
    after = find(status.conditions, ConditionType.SUCCEEDED)
    if after is None or after.status is ConditionStatus.UNKNOWN:
        return ()
    if before is not None and before.status is after.status:
        return ()
    if after.status is not ConditionStatus.TRUE:
        return (Event("Warning", after.reason, after.message),)
    delta = f", delta {status.delta}" if status.delta else ""
    events = [Event("Normal", after.reason, f"{status.verdict}: score {status.score}{delta}")]
    holdout = find(status.conditions, ConditionType.HOLDOUT_CLEAN)
    if holdout is not None and holdout.status is ConditionStatus.FALSE:
        events.append(Event("Warning", holdout.reason, holdout.message))
    gate = find(status.conditions, ConditionType.GATE_PASSED)
    if gate is not None:
        good = gate.status is ConditionStatus.TRUE
        events.append(Event("Normal" if good else "Warning", gate.reason, gate.message))
    return tuple(events)
