"""The training half of a fine-tune: from its Job and its commit to what to do next. Pure.

The order of the guards is the order of truth: a commit in the bucket outranks the Job, a Job
outranks the wish to have one.
"""

from datetime import datetime

from qwen3_api.job.preflight import Preflight
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune import Mode
from qwen3_operator.finetune.actions import TrainingPlan
from qwen3_operator.finetune.preflight.plan import plan_preflight
from qwen3_operator.finetune.preflight.sizing import fit_run
from qwen3_operator.finetune.training.job_spec import resolve_train_job
from qwen3_operator.finetune.training.manifests import build_train_job
from qwen3_operator.finetune.training.status import begun_in_4_bits
from qwen3_operator.finetune.views import Observed, ReadableFineTune
from qwen3_operator.resources.actions import Deletion, Event, Manifest
from qwen3_operator.resources.diagnosis import (
    diagnose_silence,
)
from qwen3_operator.resources.identity import resources_digest
from qwen3_operator.resources.job import build_lifecycle, build_parking
from qwen3_operator.resources.job_state import JobAssessment, JobState, assess_job
from qwen3_operator.resources.names import job_name
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import JobView
from qwen3_operator.settings import Settings

POLL_SECONDS = 10.0
"""How often a running run is looked at in the bucket: as often as the trainer writes."""
POLL_STARTING = 3.0
STARTING = "the pod is starting"


def plan_training(
    ft: ReadableFineTune,
    observed: Observed,
    storage: StorageTarget,
    settings: Settings,
    now: datetime,
) -> TrainingPlan:
    """What the current revision needs."""
    job = observed.job
    if observed.commit is not None or observed.artifact_problem is not None:
        return _plan_committed(ft, observed)
    found = assess_job(
        job,
        observed.pods,
        ft.meta.uid,
        # A complete Job has done its work, whatever the spec now says about resources.
        made_for=job is None or job.complete or job.resources in ("", resources_digest(ft.spec)),
        recorded=ft.status.failure,
        report=observed.report,
    )
    if job is not None and found.state is JobState.NOT_OWNED:
        return _plan_inherited(job)
    if ft.spec.suspend and not (job is not None and job.finished):
        return _plan_suspended(ft, job)
    if ft.spec.mode is Mode.PLAN and job is not None and not job.deleting:
        return _plan_stopped(job)
    if found.state is JobState.LEAVING:
        what = f"pod {found.leaving}" if found.leaving else "the old Job"
        return TrainingPlan(
            Reason.PENDING, f"waiting for deletion of {what}", requeue_after=POLL_STARTING
        )
    if job is None:
        return _plan_start(ft, observed, storage, settings)
    return _plan_job(ft, job, found, observed, now)


def _plan_job(
    ft: ReadableFineTune, job: JobView, found: JobAssessment, observed: Observed, now: datetime
) -> TrainingPlan:
    """The Job of this revision and this object, and no result yet."""
    if found.state is JobState.OUTDATED:
        return TrainingPlan(
            Reason.SCHEDULING,
            f"Job {job.name} is being recreated with the changed resources and limits of the spec",
            delete=(Deletion.of_job(job),),
            events=(Event("Normal", "Replaced", f"The spec changed: replacing Job {job.name}"),),
            requeue_after=POLL_STARTING,
        )
    if found.state is JobState.FAILED and found.problem is not None:
        problem = found.problem
        return TrainingPlan(Reason(problem.reason), problem.message, problem=problem, admitted=True)
    if found.state is JobState.NO_RESULT:
        problem = FailureStatus.of(
            Reason.COMMIT_MISSING,
            f"Job {job.name} completed but COMMIT.json is not in the bucket",
            "Delete the Job to retrain; contact the platform team if it happens again.",
            user=False,
        )
        return TrainingPlan(Reason.COMMIT_MISSING, problem.message, problem=problem, admitted=True)
    if found.state is JobState.SUSPENDED:
        return _plan_held(ft, job)
    return _plan_running(observed, found.problem, now)


def _plan_inherited(job: JobView) -> TrainingPlan:
    """The Job belongs to an earlier object of the same name: it writes into that one's folder."""
    return TrainingPlan(
        Reason.PENDING,
        f"waiting for deletion of Job {job.name}, owned by a previous object of the same name",
        delete=() if job.deleting else (Deletion.of_job(job),),
        requeue_after=POLL_STARTING,
    )


def _plan_stopped(job: JobView) -> TrainingPlan:
    """mode Plan asks for no GPU: a Job of the revision goes; its checkpoints keep the place."""
    return TrainingPlan(
        Reason.PENDING,
        f"Job {job.name} is being deleted: spec.mode is Plan",
        delete=(Deletion.of_job(job),),
        requeue_after=POLL_STARTING,
    )


def _plan_start(
    ft: ReadableFineTune, observed: Observed, storage: StorageTarget, settings: Settings
) -> TrainingPlan:
    """Preflight first; then the sizes for the card; then the Job."""
    spec, revision = ft.spec, ft.revision
    found = plan_preflight(ft, observed, storage, settings)
    if not isinstance(found, Preflight):
        return found
    name = job_name(ft.meta.name, revision)
    run = fit_run(spec, found, settings, begun=begun_in_4_bits(ft.status, revision))
    if isinstance(run, FailureStatus):
        return TrainingPlan(Reason(run.reason), run.message, problem=run, validated=False)
    if spec.mode is Mode.PLAN:
        return TrainingPlan(Reason.PLANNED, run.message, planned=True)
    start = None if isinstance(observed.start, FailureStatus) else observed.start
    order = resolve_train_job(ft, storage, settings, run.sizing, start, planned_length=run.longest)
    manifest = build_train_job(ft.meta, spec, order, storage, settings)
    return TrainingPlan(
        Reason.SCHEDULING,
        STARTING,
        admitted=spec.resources.queue_name is None,
        apply=(manifest,),
        events=(Event("Normal", "TrainingStarted", f"Created Job {name}"),),
    )


def _plan_committed(ft: ReadableFineTune, observed: Observed) -> TrainingPlan:
    """Done for good. Only now may the Job be forgotten: a TTL on it could have removed the evidence
    of a failure while the operator was away."""
    spec = ft.spec
    job, ttl = observed.job, spec.ttl_seconds_after_finished
    lifecycle: tuple[Manifest, ...] = ()
    if job is not None and job.finished and job.ttl != ttl and not job.deleting:
        lifecycle = (build_lifecycle(ft.meta.namespace, job, {"ttlSecondsAfterFinished": ttl}),)
    problem = observed.artifact_problem
    if problem is not None:
        return TrainingPlan(
            Reason(problem.reason),
            problem.message,
            committed=True,
            problem=problem,
            admitted=True,
            lifecycle=lifecycle,
        )
    return TrainingPlan(
        Reason.COMMITTED,
        "a result is committed",
        committed=True,
        admitted=True,
        lifecycle=lifecycle,
    )


def _plan_suspended(ft: ReadableFineTune, job: JobView | None) -> TrainingPlan:
    """Park the run. Without a queue the Job itself is suspended. Under Kueue `suspend` belongs to
    Kueue, which would start it again; so the Job goes away, and its checkpoints keep the place."""
    spec = ft.spec
    message = "spec.suspend is true; set it to false to resume from the last checkpoint"
    parked = TrainingPlan(Reason.SUSPENDED, message, admitted=False)
    if job is None or job.deleting:
        return parked
    if spec.resources.queue_name:
        return TrainingPlan(
            Reason.SUSPENDED, message, admitted=False, delete=(Deletion.of_job(job),)
        )
    if job.suspended:
        return parked
    return TrainingPlan(
        Reason.SUSPENDED,
        message,
        admitted=False,
        lifecycle=(build_parking(ft.meta.namespace, job),),
        events=(Event("Normal", "Suspended", f"Suspended Job {job.name}"),),
    )


def _plan_held(ft: ReadableFineTune, job: JobView) -> TrainingPlan:
    """The Job is suspended and the user doesn't want that: either we did it and give it up now,
    or a queue did it and we wait."""
    spec = ft.spec
    if job.parked:
        return TrainingPlan(
            Reason.SCHEDULING,
            f"Job {job.name} resumes",
            admitted=True,
            lifecycle=(build_lifecycle(ft.meta.namespace, job, {}),),
            events=(Event("Normal", "Resumed", f"Resumed Job {job.name}"),),
            requeue_after=POLL_STARTING,
        )
    return TrainingPlan(
        Reason.QUEUED,
        f"Job {job.name} is suspended by "
        + (f"queue {spec.resources.queue_name}" if spec.resources.queue_name else "another client"),
        admitted=False,
    )


def _plan_running(observed: Observed, blocked: FailureStatus | None, now: datetime) -> TrainingPlan:
    pods, progress = observed.pods, observed.progress
    live = [p for p in pods if p.live]
    running = live[-1] if live and live[-1].running else None
    warning = blocked or (diagnose_silence(running, progress, now) if running else None)
    if warning is not None:
        return TrainingPlan(
            Reason(warning.reason),
            warning.message,
            admitted=True,
            warning=warning,
            requeue_after=POLL_SECONDS,
        )
    if running is not None:
        step = (
            f"step {progress.step} of {progress.total_steps or '?'}"
            if progress and progress.attempt == running.uid
            else "the trainer is starting"
        )
        return TrainingPlan(Reason.TRAINING, step, admitted=True, requeue_after=POLL_SECONDS)
    ended = [p for p in pods if p.exit_code is not None]
    if ended and not live:
        return TrainingPlan(
            Reason.RETRYING,
            f"pod {ended[-1].name} ended with {ended[-1].ending}; waiting for the next one",
            admitted=True,
            requeue_after=POLL_STARTING,
        )
    return TrainingPlan(Reason.SCHEDULING, STARTING, admitted=True, requeue_after=POLL_STARTING)
