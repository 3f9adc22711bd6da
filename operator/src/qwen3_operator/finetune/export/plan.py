"""The export of a revision: what is missing, the Job that makes it, and what status says. Pure.

It begins when the result is committed and verified, beside whatever serving and evaluation do.
Artifacts stand for good: an edit of the list makes what is new in it.
"""

from qwen3_api.job.export import Export
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.export import ExportStatus
from qwen3_api.v1alpha1.failure import FailureClass, FailureStatus
from qwen3_api.v1alpha1.finetune import Mode
from qwen3_operator.finetune.actions import ExportPlan
from qwen3_operator.finetune.export.manifests import build_export_job
from qwen3_operator.finetune.training.job_spec import resolve_export_job
from qwen3_operator.finetune.training.status import status_uri
from qwen3_operator.finetune.views import Observed, ReadableFineTune
from qwen3_operator.resources.actions import Deletion, Event, Manifest
from qwen3_operator.resources.identity import export_digest, wanted_exports
from qwen3_operator.resources.job import build_lifecycle
from qwen3_operator.resources.job_state import JobAssessment, JobState, assess_job
from qwen3_operator.resources.numbers import count
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import JobView
from qwen3_operator.settings import Settings
from qwen3_sizing.memory import weight_bytes

POLL_SECONDS = 10.0
"""Only a second look: the end of the pod wakes the fine-tune."""
MEMORY_HINT = "Ask the platform team to raise export.memory; the adapter is stored."
ROOM_HINT = (
    "An export needs ephemeral storage for two copies of the model: ask the platform team for a "
    "node with enough storage, or wait for one."
)


def plan_export(
    ft: ReadableFineTune, observed: Observed, storage: StorageTarget, settings: Settings
) -> ExportPlan | None:
    """What the export of the current revision needs; None when none is asked for."""
    spec = ft.spec
    wanted = wanted_exports(spec)
    job = observed.export_job
    if not wanted or spec.mode is Mode.PLAN:
        return _plan_dropped(job)
    if observed.export_problem is not None:
        problem = observed.export_problem
        return ExportPlan(Reason(problem.reason), problem.message, problem=problem)
    if observed.commit is None or not observed.verified:
        return ExportPlan(Reason.PENDING, "waiting for a verified result")
    missing = [name for name in wanted if name not in {e.artifact for e in observed.exports}]
    if not missing:
        return ExportPlan(
            Reason.EXPORTED,
            f"{', '.join(wanted)} in the bucket",
            done=True,
            lifecycle=_forget(ft, job),
        )
    state = assess_job(
        job,
        observed.export_pods,
        ft.meta.uid,
        made_for=job is None or job.export == export_digest(spec),
        recorded=ft.status.failure,
    )
    if state.state is JobState.LEAVING:
        return _exporting("waiting for deletion of the old export Job")
    if job is None:
        return _start(ft, observed, missing, storage, settings)
    if state.state in (JobState.NOT_OWNED, JobState.OUTDATED):
        going = () if job.deleting else (Deletion.of_job(job),)
        return _exporting(
            f"Job {job.name} is being recreated for {', '.join(missing)}", delete=going
        )
    return _follow(job, state, missing)


def _forget(ft: ReadableFineTune, job: JobView | None) -> tuple[Manifest, ...]:
    """Only a Job whose work is done may go by itself."""
    ttl = ft.spec.ttl_seconds_after_finished
    if job is None or not job.finished or job.deleting or job.ttl == ttl:
        return ()
    return (build_lifecycle(ft.meta.namespace, job, {"ttlSecondsAfterFinished": ttl}),)


def _plan_dropped(job: JobView | None) -> ExportPlan | None:
    """The wish was taken back. What is written stays."""
    if job is None or job.finished or job.deleting:
        return None
    return ExportPlan(Reason.NOT_REQUESTED, "", done=True, delete=(Deletion.of_job(job),))


def _exporting(message: str, *, delete: tuple[Deletion, ...] = ()) -> ExportPlan:
    return ExportPlan(Reason.EXPORTING, message, delete=delete, requeue_after=POLL_SECONDS)


def _start(
    ft: ReadableFineTune,
    observed: Observed,
    missing: list[str],
    storage: StorageTarget,
    settings: Settings,
) -> ExportPlan:
    spec = ft.spec
    assert observed.commit is not None  # noqa: S101  (the caller looked)
    order = resolve_export_job(ft, observed.commit, storage, settings)
    shape = observed.preflight.shape if observed.preflight else None
    size = weight_bytes(shape, quantized=False) if shape else None
    job = build_export_job(ft.meta, spec, order, size, storage, settings)
    name = job["metadata"]["name"]
    return ExportPlan(
        Reason.EXPORTING,
        f"Job {name} is exporting {', '.join(missing)}",
        apply=(job,),
        events=(Event("Normal", "ExportStarted", f"Created Job {name}: {', '.join(missing)}"),),
        requeue_after=POLL_SECONDS,
    )


def _follow(job: JobView, state: JobAssessment, missing: list[str]) -> ExportPlan:
    """Its Job runs, or came to its end without an artifact."""
    if state.state is JobState.FAILED and state.problem is not None:
        problem = state.problem
        if state.recalled:
            return ExportPlan(Reason(problem.reason), problem.message, problem=problem)
        if problem.reason == Reason.OUT_OF_MEMORY:
            problem = problem.with_changes(hint=MEMORY_HINT, failure_class=FailureClass.SYSTEM)
        hint = f"{problem.hint} Then delete Job {job.name} to run it again.".strip()
        problem = problem.with_changes(hint=hint)
        return ExportPlan(Reason(problem.reason), problem.message, problem=problem)
    if state.state is JobState.NO_RESULT:
        problem = FailureStatus.of(
            Reason.COMMIT_MISSING,
            f"Job {job.name} completed but {', '.join(missing)} has no EXPORT.json in the bucket",
            "Delete the Job to run it again; contact the platform team if it happens again.",
            user=False,
        )
        return ExportPlan(Reason.COMMIT_MISSING, problem.message, problem=problem)
    warning = state.problem
    if warning is None:
        return _exporting(f"Job {job.name} is exporting {', '.join(missing)}")
    if warning.reason == Reason.UNSCHEDULABLE:
        warning = warning.with_changes(hint=ROOM_HINT)
    return ExportPlan(
        Reason(warning.reason),
        warning.message,
        warning=warning,
        requeue_after=POLL_SECONDS,
    )


def build_export_status(
    before: list[ExportStatus], exports: tuple[Export, ...], storage: StorageTarget | None
) -> list[ExportStatus]:
    """What of a revision is in the bucket; what was told stays told, since it is never removed."""
    told = {status.name: status for status in before}
    for export in exports:
        uri = status_uri(storage, export.prefix)
        if uri is not None:
            told[export.artifact] = ExportStatus(
                name=export.artifact,
                uri=uri,
                digest=export.digest,
                size_bytes=count(export.size),
            )
    return sorted(told.values(), key=lambda status: status.name)
