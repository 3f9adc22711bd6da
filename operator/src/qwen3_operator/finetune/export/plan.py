"""The export of a revision: what is missing, the Job that makes it, and what status says. Pure.

It begins when the result is committed and verified, beside whatever serving and evaluation do.
Artifacts stand for good: an edit of the list makes what is new in it.
"""

from dataclasses import dataclass, replace

from qwen3_api.job.export import Export
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.export import ExportStatus
from qwen3_api.v1alpha1.finetune import FineTuneSpec, Mode
from qwen3_operator.finetune.export.manifests import build_export_job
from qwen3_operator.finetune.training.job_spec import resolve_export_job
from qwen3_operator.finetune.training.status import status_uri
from qwen3_operator.finetune.views import FineTune, Observed
from qwen3_operator.resources.actions import Deletion, Event, Manifest
from qwen3_operator.resources.diagnosis import diagnose_failed_job, diagnose_waiting, recall_failure
from qwen3_operator.resources.identity import export_digest, wanted_exports
from qwen3_operator.resources.job import build_lifecycle
from qwen3_operator.resources.numbers import count
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import JobView, Problem
from qwen3_operator.settings import Settings
from qwen3_sizing.memory import weight_bytes

POLL_SECONDS = 10.0
"""Only a second look: the end of the pod wakes the fine-tune."""
MEMORY_HINT = "Ask the platform team to raise export.memory; the adapter is stored and serves."
ROOM_HINT = (
    "An export needs room for the model twice, on a node's ephemeral storage: ask the platform "
    "team for such a node, or wait for one."
)


@dataclass(frozen=True)
class ExportPlan:
    """How the export stands and what moves it on."""

    reason: Reason
    message: str
    done: bool = False
    problem: Problem | None = None
    """Set when nothing more happens by itself."""
    warning: Problem | None = None
    """Set when the pod can't start for now."""
    apply: tuple[Manifest, ...] = ()
    lifecycle: tuple[Manifest, ...] = ()
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


def plan_export(
    ft: FineTune,
    spec: FineTuneSpec,
    observed: Observed,
    storage: StorageTarget,
    settings: Settings,
) -> ExportPlan | None:
    """What the export of the current revision needs; None when none is asked for."""
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
            lifecycle=_forget(ft, spec, job),
        )
    if job is not None and not _is_of(job, ft, spec):
        going = () if job.deleting else (Deletion.of_job(job),)
        return _exporting(f"Job {job.name} is made again for {', '.join(missing)}", delete=going)
    if job is None or job.deleting:
        live = [p.name for p in observed.export_pods if p.live]
        if job is not None or live:
            return _exporting("waiting for the old export to go")
        return _start(ft, spec, observed, missing, storage, settings)
    return _follow(ft, job, observed, missing)


def _is_of(job: JobView, ft: FineTune, spec: FineTuneSpec) -> bool:
    return job.owner_uid == ft.meta.uid and job.export == export_digest(spec)


def _forget(ft: FineTune, spec: FineTuneSpec, job: JobView | None) -> tuple[Manifest, ...]:
    """Only a Job whose work is done may go by itself."""
    ttl = spec.ttl_seconds_after_finished
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
    ft: FineTune,
    spec: FineTuneSpec,
    observed: Observed,
    missing: list[str],
    storage: StorageTarget,
    settings: Settings,
) -> ExportPlan:
    assert observed.commit is not None  # noqa: S101  (the caller looked)
    order = resolve_export_job(ft.meta, spec, observed.commit, storage, settings)
    shape = observed.preflight.shape if observed.preflight else None
    size = weight_bytes(shape, quantized=False) if shape else None
    job = build_export_job(ft.meta, spec, order, size, storage, settings)
    name = job["metadata"]["name"]
    return ExportPlan(
        Reason.EXPORTING,
        f"Job {name} makes {', '.join(missing)}",
        apply=(job,),
        events=(Event("Normal", "ExportStarted", f"Created Job {name}: {', '.join(missing)}"),),
        requeue_after=POLL_SECONDS,
    )


def _follow(ft: FineTune, job: JobView, observed: Observed, missing: list[str]) -> ExportPlan:
    if job.failed:
        told = recall_failure(ft.status.failure, job, observed.export_pods)
        if told is not None:
            return ExportPlan(Reason(told.reason), told.message, problem=told)
        problem = diagnose_failed_job(job, observed.export_pods, None)
        if problem.reason == Reason.OUT_OF_MEMORY:
            problem = replace(problem, hint=MEMORY_HINT, user=False)
        problem = replace(
            problem, hint=f"{problem.hint} Delete Job {job.name} then: it runs again.".strip()
        )
        return ExportPlan(Reason(problem.reason), problem.message, problem=problem)
    if job.complete:
        problem = Problem(
            Reason.COMMIT_MISSING,
            f"Job {job.name} completed but {', '.join(missing)} has no EXPORT.json in the bucket",
            "Delete the Job to run it again; tell the platform team if it repeats.",
            user=False,
        )
        return ExportPlan(Reason.COMMIT_MISSING, problem.message, problem=problem)
    warning = diagnose_waiting(observed.export_pods)
    if warning is None:
        return _exporting(f"Job {job.name} makes {', '.join(missing)}")
    if warning.reason == Reason.UNSCHEDULABLE:
        warning = replace(warning, hint=ROOM_HINT)
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
