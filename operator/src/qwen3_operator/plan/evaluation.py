"""The decision about one evaluation. Pure.

A low score is no error: Succeeded tells that it ran, the results tell what came out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qwen3_api.job.evaluate import (
    EvalEndpoint,
    EvalJob,
    EvalProgressDocument,
    EvalReport,
    EvalResult,
)
from qwen3_api.job.report import adapter_id
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import (
    EvalProgress,
    EvalSpec,
    EvalStatus,
    FineTuneTarget,
    ResolvedStatus,
    ResultStatus,
    TargetType,
    Verdict,
)
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_operator.desired.eval_job import build_eval_objects, resolve_eval_job
from qwen3_operator.desired.names import StorageTarget, eval_job_name, resolve_storage
from qwen3_operator.observed import (
    Evaluation,
    FineTune,
    JobView,
    PodView,
    Problem,
    wire_time,
)
from qwen3_operator.plan.conditions import Conditions, find
from qwen3_operator.plan.diagnosis import (
    REASONS,
    build_failure,
    diagnose_failed_job,
    diagnose_waiting,
)
from qwen3_operator.plan.numbers import count, count_or_none, decimal
from qwen3_operator.plan.plan import EvalPlan, Event, Manifest
from qwen3_operator.plan.training import build_lifecycle, build_parking
from qwen3_operator.settings import Settings

POLL_SECONDS = 5.0
WAIT_SECONDS = 15.0
TARGET = "target"


@dataclass(frozen=True)
class EvalObserved:
    """The world around one evaluation."""

    fine_tunes: Mapping[str, FineTune]
    """The fine-tunes that the spec names, those that exist."""
    job: JobView | None = None
    pods: tuple[PodView, ...] = ()
    progress: EvalProgressDocument | None = None
    report: EvalReport | None = None
    report_uri: str = ""
    storage_problem: Problem | None = None


@dataclass(frozen=True)
class _Step:
    """What comes next and how the evaluation stands."""

    reason: Reason
    message: str
    problem: Problem | None = None
    apply: tuple[Manifest, ...] = ()
    lifecycle: tuple[Manifest, ...] = ()
    resolved: ResolvedStatus | None = None
    requeue_after: float | None = None
    done: bool = False
    events: tuple[Event, ...] = field(default=())


@dataclass(frozen=True)
class _Resolved:
    endpoint: EvalEndpoint
    revision: str | None
    digest: str | None


def plan_evaluation(
    ev: Evaluation, observed: EvalObserved, settings: Settings, now: datetime
) -> EvalPlan:
    """What shall be true next."""
    if ev.meta.deleting:
        return EvalPlan(status=None)
    step = _next_step(ev, observed, settings)
    status = _build_status(ev, observed, step, now)
    return EvalPlan(
        status=status,
        apply=step.apply,
        lifecycle=step.lifecycle,
        events=(*step.events, *_events(ev, status)),
        requeue_after=step.requeue_after,
    )


def _next_step(ev: Evaluation, observed: EvalObserved, settings: Settings) -> _Step:
    """Guards in the order of truth: the report, the Job, the wish."""
    if ev.spec is None:
        problem = Problem(Reason.INVALID_SPEC, ev.error, "Apply a new evaluation.")
        return _Step(Reason.INVALID_SPEC, ev.error, problem=problem)
    storage = resolve_storage(ev.spec.output.s3, settings)
    if storage is None or observed.storage_problem is not None:
        problem = observed.storage_problem or Problem(
            Reason.STORAGE_NOT_CONFIGURED,
            "spec.output.s3: the operator has no credentials or no bucket for this endpoint",
            "Leave spec.output.s3 out to use the platform's.",
        )
        return _Step(Reason(problem.reason), problem.message, problem, requeue_after=30.0)
    report, job = observed.report, observed.job
    if report is not None and report.outcome == "Completed":
        return _plan_completed(ev, ev.spec, job)
    if job is not None and job.owner_uid != ev.meta.uid:
        message = f"waiting for Job {job.name} of an earlier evaluation to go"
        return _Step(Reason.PENDING, message, requeue_after=POLL_SECONDS)
    if job is not None and job.failed:
        problem = diagnose_failed_job(job, observed.pods, None)
        told = report.failure if report is not None else None
        if told is not None and told.reason in REASONS:
            problem = Problem(told.reason, told.message, told.hint)
        elif problem.reason == Reason.TRAINER_FAILED:
            problem = Problem(Reason.EVALUATOR_FAILED, problem.message, problem.hint, user=False)
        return _Step(Reason(problem.reason), problem.message, problem)
    if job is not None and job.complete:
        problem = Problem(
            Reason.EVALUATOR_FAILED,
            f"Job {job.name} completed without a report",
            "Delete the Job to evaluate again.",
            user=False,
        )
        return _Step(Reason.EVALUATOR_FAILED, problem.message, problem)
    if ev.spec.suspend:
        return _plan_suspended(ev, job)
    if job is None:
        return _plan_start(ev, ev.spec, observed, storage, settings)
    return _plan_running(ev, job, observed)


def _plan_completed(ev: Evaluation, spec: EvalSpec, job: JobView | None) -> _Step:
    lifecycle: tuple[Manifest, ...] = ()
    ttl = spec.ttl_seconds_after_finished
    if job is not None and job.finished and job.ttl != ttl and not job.deleting:
        manifest = build_lifecycle(ev.meta.namespace, job, {"ttlSecondsAfterFinished": ttl})
        lifecycle = (manifest,)
    waiting = job is not None and not job.finished
    return _Step(
        Reason.COMPLETED,
        "all questions were asked and scored",
        done=True,
        lifecycle=lifecycle,
        requeue_after=POLL_SECONDS if waiting else None,
    )


def _plan_suspended(ev: Evaluation, job: JobView | None) -> _Step:
    message = "spec.suspend is true"
    if job is None or job.suspended:
        return _Step(Reason.SUSPENDED, message)
    return _Step(Reason.SUSPENDED, message, lifecycle=(build_parking(ev.meta.namespace, job),))


def _plan_running(ev: Evaluation, job: JobView, observed: EvalObserved) -> _Step:
    if job.suspended and job.parked:
        return _Step(
            Reason.SCHEDULING,
            f"Job {job.name} goes on",
            lifecycle=(build_lifecycle(ev.meta.namespace, job, {}),),
            requeue_after=POLL_SECONDS,
        )
    if job.suspended:
        return _Step(Reason.QUEUED, f"Job {job.name} is suspended by somebody else")
    warning = diagnose_waiting(observed.pods)
    if warning is not None:
        return _Step(
            Reason(warning.reason),
            f"{warning.message}. {warning.hint}",
            requeue_after=POLL_SECONDS,
        )
    if any(p.running for p in observed.pods):
        p = observed.progress
        said = f"{p.completed} of {p.total} requests" if p else "the evaluator is starting"
        return _Step(Reason.EVALUATING, said, requeue_after=POLL_SECONDS)
    return _Step(Reason.SCHEDULING, "the pod is starting", requeue_after=POLL_SECONDS)


def _plan_start(
    ev: Evaluation,
    spec: EvalSpec,
    observed: EvalObserved,
    storage: StorageTarget,
    settings: Settings,
) -> _Step:
    """Resolve the target to an immutable id and start. The order is written once, into the
    ConfigMap: a promotion in the middle of the run doesn't change who is asked."""
    target = _resolve_fine_tune(TARGET, spec.target.fine_tune, observed.fine_tunes)
    if isinstance(target, str):
        return _Step(Reason.TARGET_NOT_READY, target, requeue_after=WAIT_SECONDS)
    baselines: list[EvalEndpoint] = []
    for baseline in spec.baselines:
        if baseline.type is TargetType.BASE_MODEL or baseline.fine_tune is None:
            base = _base_of(spec.target.fine_tune, observed.fine_tunes)
            baselines.append(
                EvalEndpoint(name=baseline.name, base_url=target.endpoint.base_url, model=base)
            )
            continue
        other = _resolve_fine_tune(baseline.name, baseline.fine_tune, observed.fine_tunes)
        if isinstance(other, str):
            return _Step(Reason.TARGET_NOT_READY, other, requeue_after=WAIT_SECONDS)
        baselines.append(other.endpoint)
    order: EvalJob = resolve_eval_job(ev.meta, spec, target.endpoint, baselines, storage)
    name = eval_job_name(ev.meta.name)
    return _Step(
        Reason.SCHEDULING,
        f"Job {name} was created",
        apply=build_eval_objects(ev.meta, spec, order, storage, settings),
        resolved=ResolvedStatus(
            endpoint=target.endpoint.base_url,
            target_model=target.endpoint.model,
            target_revision=target.revision,
            target_digest=target.digest,
        ),
        events=(Event("Normal", "EvaluationStarted", f"Created Job {name}"),),
        requeue_after=POLL_SECONDS,
    )


def _base_of(target: FineTuneTarget, fine_tunes: Mapping[str, FineTune]) -> str:
    ft = fine_tunes[target.name]
    if ft.spec is None:
        raise LookupError(f"{target.name} was resolved without a spec")
    return ft.spec.base_model.name


def _resolve_fine_tune(
    name: str, target: FineTuneTarget, fine_tunes: Mapping[str, FineTune]
) -> _Resolved | str:
    """The served adapter of a fine-tune, or a sentence on what is missing."""
    ft = fine_tunes.get(target.name)
    if ft is None or ft.spec is None:
        return f"there is no Qwen3FineTune {target.name} in this namespace"
    serving = ft.status.serving
    served = find(ft.status.conditions, ConditionType.SERVED)
    if serving is None or serving.endpoint is None or served is None:
        return f"{target.name} isn't served yet"
    if served.status is not ConditionStatus.TRUE:
        return f"{target.name} doesn't serve: {served.message}"
    if target.revision in (None, serving.revision):
        if serving.model_id is None:
            return f"{target.name} isn't served yet"
        model, revision, digest = serving.model_id, serving.revision, serving.digest
    else:
        known = next((r for r in ft.status.revisions if r.id == target.revision), None)
        if known is None or known.adapter_digest is None:
            return f"{target.name} has no stored revision {target.revision}"
        model = adapter_id(ft.meta.namespace, ft.meta.name, known.adapter_digest)
        if serving.candidate_id != model:
            return f"revision {target.revision} of {target.name} isn't loaded on its pool"
        revision, digest = known.id, known.adapter_digest
    return _Resolved(
        EvalEndpoint(name=name, base_url=serving.endpoint, model=model), revision, digest
    )


def _build_status(ev: Evaluation, observed: EvalObserved, step: _Step, now: datetime) -> EvalStatus:
    conditions = Conditions(ev.status.conditions, ev.meta.generation, now)
    hint = f". {step.problem.hint}" if step.problem and step.problem.hint else ""
    message = f"{step.message}{hint}"
    conditions.set(ConditionType.READY, step.done, step.reason, message)
    conditions.set(ConditionType.STALLED, step.problem is not None, step.reason, message)
    busy = not step.done and step.problem is None and step.reason is not Reason.SUSPENDED
    conditions.set(ConditionType.RECONCILING, busy, step.reason, message)
    succeeded = ConditionStatus.UNKNOWN
    if step.done or step.problem is not None:
        succeeded = ConditionStatus.TRUE if step.done else ConditionStatus.FALSE
    conditions.set(ConditionType.SUCCEEDED, succeeded, step.reason, message)
    update: dict[str, Any] = {
        "observed_generation": ev.meta.generation,
        "conditions": conditions.to_list(),
        "stage": step.reason.value,
        "job_name": eval_job_name(ev.meta.name) if observed.job or step.apply else None,
        "verdict": Verdict.ERROR if step.problem else None,
        "failure": build_failure(step.problem) if step.problem else None,
    }
    if step.resolved is not None:
        update["resolved"] = step.resolved
    if observed.job is not None and observed.job.start_time:
        update["start_time"] = observed.job.start_time
    p = observed.progress
    if p is not None:
        update["progress"] = EvalProgress(
            completed=count(p.completed),
            total=count(p.total),
            suite=p.suite[:128],
            eta_seconds=count_or_none(p.eta_seconds),
        )
    if step.done and observed.report is not None and ev.spec is not None:
        update |= _build_results(ev, ev.spec, observed.report)
        update["report_uri"] = observed.report_uri
    return ev.status.model_copy(update=update)


def _build_results(ev: Evaluation, spec: EvalSpec, report: EvalReport) -> dict[str, Any]:
    """Typed results out of the report: one row per suite, metric and baseline."""
    values: dict[tuple[str, str, str], EvalResult] = {
        (r.suite, r.metric, r.model): r for r in report.results
    }
    rows: list[ResultStatus] = []
    for suite in spec.suites:
        for metric in suite.questions.metrics:
            mine = values.get((suite.name, metric.value, TARGET))
            if mine is None:
                continue
            rows += _build_rows(suite.name, metric.value, mine.value, mine.samples, spec, values)
    first = rows[0] if rows else None
    total = count(sum(r.samples for r in report.results))
    return {
        "verdict": Verdict.COMPLETED,
        "results": rows[:64],
        "score": first.value if first else None,
        "delta": first.delta if first else None,
        "samples": first.samples if first else 0,
        "progress": EvalProgress(completed=total, total=total),
        "completion_time": wire_time(report.finished),
    }


def _build_rows(
    suite: str,
    metric: str,
    value: float,
    samples: int,
    spec: EvalSpec,
    values: Mapping[tuple[str, str, str], EvalResult],
) -> Sequence[ResultStatus]:
    rows: list[ResultStatus] = []
    shown = decimal(value, 4)
    if shown is None:
        return rows
    names: list[str | None] = [b.name for b in spec.baselines]
    for name in names or [None]:
        other = values.get((suite, metric, name)) if name else None
        rows.append(
            ResultStatus(
                suite=suite,
                metric=metric,
                baseline_name=name,
                value=shown,
                baseline=decimal(other.value, 4) if other else None,
                delta=decimal(value - other.value, 4, sign=True) if other else None,
                samples=count(samples),
            )
        )
    return rows


def _events(ev: Evaluation, status: EvalStatus) -> tuple[Event, ...]:
    before = find(ev.status.conditions, ConditionType.SUCCEEDED)
    after = find(status.conditions, ConditionType.SUCCEEDED)
    if after is None or after.status is ConditionStatus.UNKNOWN:
        return ()
    if before is not None and before.status is after.status:
        return ()
    good = after.status is ConditionStatus.TRUE
    message = f"score {status.score}, delta {status.delta}" if good else after.message
    return (Event("Normal" if good else "Warning", after.reason, message),)
