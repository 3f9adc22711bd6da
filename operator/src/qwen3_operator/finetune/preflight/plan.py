"""The preflight of a revision: start it, wait for it, understand what it says. Pure."""

from qwen3_api.job.preflight import Preflight
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureClass, FailureStatus
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.finetune_status import EstimateStatus, PreflightStatus, TokenBucket
from qwen3_operator.finetune.actions import TrainingPlan
from qwen3_operator.finetune.gpu import resolve_price
from qwen3_operator.finetune.preflight.manifests import build_preflight_job
from qwen3_operator.finetune.preflight.sizing import FittedRun, fit_run
from qwen3_operator.finetune.training.job_spec import resolve_preflight_job
from qwen3_operator.finetune.training.status import (
    build_sizing_status,
    format_duration,
)
from qwen3_operator.finetune.views import Observed, ReadableFineTune
from qwen3_operator.resources.actions import Deletion
from qwen3_operator.resources.diagnosis import (
    REASONS,
)
from qwen3_operator.resources.identity import checks_digest
from qwen3_operator.resources.job_state import JobAssessment, JobState, assess_job
from qwen3_operator.resources.numbers import count, count_or_none, decimal
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import JobView, parse_time, wire_time
from qwen3_operator.settings import Settings

POLL_SECONDS = 5.0
"""Only a second look: the end of the pod wakes the fine-tune."""
RUNNING = "checking data, base model and storage"
MEMORY_HINT = "Ask the platform team to raise preflight.memory."


def plan_preflight(
    ft: ReadableFineTune, observed: Observed, storage: StorageTarget, settings: Settings
) -> TrainingPlan | Preflight:
    """What the preflight needs; or what it found, when it passed.

    A preflight.json that tells a failure counts only beside its Job: whoever has mended the data
    deletes the Job, and the preflight runs again.
    """
    found, job = observed.preflight, observed.preflight_job
    if found is not None and found.failure is None:
        return found
    state = assess_job(
        job,
        observed.preflight_pods,
        ft.meta.uid,
        made_for=job is None or job.checks in ("", checks_digest(ft.spec)),
        recorded=ft.status.failure,
    )
    if state.state is JobState.LEAVING:
        return _waiting("waiting for deletion of the old preflight Job")
    if job is None:
        return _start(ft, observed, storage, settings)
    if state.state is JobState.NOT_OWNED:
        return _waiting(
            "waiting for deletion of a preflight Job owned by a previous object of the same name",
            Deletion.of_job(job),
        )
    if state.state is JobState.OUTDATED:
        return _waiting("the preflight restarts: dataset.checks changed", Deletion.of_job(job))
    if found is not None and found.failure is not None and not _is_older(found, job):
        return _refused(job, found)
    return _follow(job, state)


def _follow(job: JobView, state: JobAssessment) -> TrainingPlan:
    """Its Job runs, or came to its end without a preflight.json."""
    if state.state is JobState.FAILED and state.problem is not None:
        problem = state.problem if state.recalled else _for_memory(state.problem)
        return TrainingPlan(
            Reason(problem.reason), problem.message, problem=problem, validated=False
        )
    if state.state is JobState.NO_RESULT:
        problem = FailureStatus.of(
            Reason.COMMIT_MISSING,
            f"Job {job.name} completed but preflight.json is not in the bucket",
            "Delete the Job to run it again; contact the platform team if it happens again.",
            user=False,
        )
        return TrainingPlan(Reason.COMMIT_MISSING, problem.message, problem=problem, validated=None)
    if state.problem is not None:
        return TrainingPlan(
            Reason(state.problem.reason),
            state.problem.message,
            validated=None,
            warning=state.problem,
            requeue_after=POLL_SECONDS * 2,
        )
    return _waiting(RUNNING)


def _for_memory(problem: FailureStatus) -> FailureStatus:
    """The memory of a preflight is the platform's setting, not the run's."""
    if problem.reason != Reason.OUT_OF_MEMORY:
        return problem
    return problem.with_changes(hint=MEMORY_HINT, failure_class=FailureClass.SYSTEM)


def _is_older(found: Preflight, job: JobView) -> bool:
    """What an earlier Job left; the pod of this one removes it first thing."""
    finished = wire_time(found.finished)
    return bool(finished and job.created and parse_time(finished) < job.created)


def _waiting(message: str, *delete: Deletion) -> TrainingPlan:
    return TrainingPlan(
        Reason.PREFLIGHT, message, validated=None, delete=delete, requeue_after=POLL_SECONDS
    )


def _start(
    ft: ReadableFineTune, observed: Observed, storage: StorageTarget, settings: Settings
) -> TrainingPlan:
    spec = ft.spec
    start = None if isinstance(observed.start, FailureStatus) else observed.start
    order = resolve_preflight_job(ft, storage, settings, start)
    return TrainingPlan(
        Reason.PREFLIGHT,
        RUNNING,
        validated=None,
        apply=(build_preflight_job(ft.meta, spec, order, storage, settings),),
        requeue_after=POLL_SECONDS,
    )


def _refused(job: JobView, found: Preflight) -> TrainingPlan:
    failure = found.failure
    assert failure is not None  # noqa: S101  (the caller looked)
    known = failure.reason in REASONS
    problem = FailureStatus.of(
        failure.reason if known else Reason.TRAINER_FAILED,
        failure.message,
        f"{failure.hint} If only the data changed, then delete Job {job.name} to run it again.",
        user=failure.reason != Reason.OUT_OF_MEMORY,
        retriable=True,
    )
    return TrainingPlan(Reason(problem.reason), problem.message, problem=problem, validated=False)


def build_preflight_status(
    before: PreflightStatus | None,
    revision: str,
    spec: FineTuneSpec,
    found: Preflight | None,
    uri: str | None,
    settings: Settings,
    *,
    begun: bool | None = None,
) -> PreflightStatus | None:
    """status.preflight: what was found, the plan and the estimate. Kept while nothing new is.

    A preflight that ended early tells what it had until then: no number for what it didn't reach.
    """
    if found is None:
        return before if before is not None and before.revision == revision else None
    lengths = found.lengths
    read, whole = found.thinking is not None or found.rows > 0, found.dataset_sha256 is not None
    run = fit_run(spec, found, settings, begun=begun) if found.failure is None else None
    fitted = run if isinstance(run, FittedRun) else None
    return PreflightStatus(
        revision=revision,
        rows=count(found.rows) if read else None,
        validation_rows=count(found.validation_rows) if found.leaked_rows is not None else None,
        counted_rows=count(lengths.counted_rows) if lengths else None,
        tokens=count(found.tokens) if lengths else None,
        p50_tokens=count_or_none(lengths.p50) if lengths else None,
        p95_tokens=count_or_none(lengths.p95) if lengths else None,
        max_tokens=count_or_none(lengths.maximum) if lengths else None,
        truncated_percent=decimal(found.truncated_percent, 2) if lengths else None,
        duplicate_rows=count(found.duplicate_rows) if whole else None,
        leaked_rows=count_or_none(found.leaked_rows),
        thinking=found.thinking,
        reasoning_rows=count(found.reasoning_rows) if read else None,
        stripped_rows=count(found.stripped_rows) if read else None,
        warnings=list(found.warnings),
        token_buckets=[
            TokenBucket(tokens=count(bound), rows=count(rows)) for bound, rows in lengths.buckets
        ]
        if lengths
        else [],
        template_hash=found.chat_template_sha256,
        uri=uri,
        estimate=_estimate(spec, fitted, settings) if fitted else None,
        sizing=(
            build_sizing_status(fitted.sizing, gpu=fitted.gpu, why=fitted.message)
            if fitted
            else None
        ),
    )


def _estimate(spec: FineTuneSpec, run: FittedRun, settings: Settings) -> EstimateStatus:
    seconds, price = run.estimate.seconds, resolve_price(spec, settings)
    gpu_seconds = None if seconds is None else count(seconds * spec.resources.gpus)
    return EstimateStatus(
        steps=count(run.estimate.steps),
        tokens=count(run.estimate.tokens),
        memory_mib=count_or_none(run.memory_mib),
        seconds=None if seconds is None else count(seconds),
        gpu_seconds=gpu_seconds,
        gpu_hours=None if gpu_seconds is None else decimal(gpu_seconds / 3600, 2),
        duration=None if seconds is None else format_duration(count(seconds)),
        cost=price.of(gpu_seconds) if price and gpu_seconds is not None else None,
    )
