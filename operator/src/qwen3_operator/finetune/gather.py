"""Everything that a decision about one fine-tune looks at, read once."""

import asyncio
from dataclasses import replace

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.preflight import Preflight
from qwen3_api.job.report import Commit, Progress, TrainReport
from qwen3_api.job.train import StartAdapter
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.artifacts.client import StorageProblem
from qwen3_operator.context import Context
from qwen3_operator.controller.errors import Waiting
from qwen3_operator.controller.keys import Key
from qwen3_operator.evaluation.views import Evaluation
from qwen3_operator.finetune.promotion.gates import expected_evaluation
from qwen3_operator.finetune.promotion.outcome import owned_alias
from qwen3_operator.finetune.views import (
    FineTune,
    Observed,
    ReadableFineTune,
    UnreadableFineTune,
    revision_folder,
)
from qwen3_operator.resources.identity import wanted_exports
from qwen3_operator.resources.keys import FINE_TUNE as FINE_TUNES
from qwen3_operator.resources.kinds import EVALUATION, JOB, POD
from qwen3_operator.resources.labels import (
    COMPONENT_EXPORT,
    COMPONENT_PREFLIGHT,
    COMPONENT_TRAINER,
    LABEL_COMPONENT,
    LABEL_FINE_TUNE,
    LABEL_REVISION,
)
from qwen3_operator.resources.names import export_name, job_name, preflight_name
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import (
    JobView,
    PodView,
    controller_uid,
    parse_job,
    parse_pod,
    parse_time,
    wire_time,
)
from qwen3_operator.serving.views import PoolView


async def gather_finetune(ctx: Context, ft: FineTune) -> Observed:
    """Everything a decision about this fine-tune looks at."""
    jobs = [
        parse_job(j)
        for j in ctx.cache.by_owner(JOB, ft.meta.namespace, LABEL_FINE_TUNE, ft.meta.name)
    ]
    if isinstance(ft, UnreadableFineTune):
        pods = gather_pods(ctx, ft, None) if ft.meta.deleting else ()
        pool = None if ft.meta.deleting else await _gather_recorded_pool(ctx, ft)
        return Observed(other_jobs=tuple(jobs), pods=pods, pool=pool)
    revision = ft.revision
    name, preflight = job_name(ft.meta.name, revision), preflight_name(ft.meta.name, revision)
    export = export_name(ft.meta.name, revision)
    observed = Observed(
        job=next((j for j in jobs if j.name == name), None),
        preflight_job=next((j for j in jobs if j.name == preflight), None),
        export_job=next((j for j in jobs if j.name == export), None),
        other_jobs=tuple(j for j in jobs if j.name not in (name, preflight, export)),
        pods=gather_pods(ctx, ft, None if ft.meta.deleting else revision),
        preflight_pods=gather_pods(ctx, ft, revision, COMPONENT_PREFLIGHT),
        export_pods=gather_pods(ctx, ft, revision, COMPONENT_EXPORT),
        alias_owner=ctx.alias_owner(ft) if ft.is_served else None,
    )
    storage = ft.storage
    if ft.meta.deleting:
        return observed
    if storage is None:
        # The pool can't be found by its name either: the bucket is a part of that.
        return replace(observed, pool=await _gather_recorded_pool(ctx, ft))
    try:
        observed = await _gather_artifacts(ctx, ft, observed, storage)
        if observed.commit is None:
            observed = replace(observed, start=await _gather_start(ctx, ft))
        return await _gather_serving(ctx, ft, observed, storage)
    except StorageProblem as error:
        observed = replace(observed, storage_problem=error.problem)
    return replace(observed, pool=await _gather_pool(ctx, ft)) if ft.is_served else observed


async def _gather_pool(ctx: Context, ft: ReadableFineTune) -> PoolView:
    """The pool, as the cluster and the sidecars report it."""
    replicas = max(
        (m.spec.serving.replicas for m in ctx.members(ft.meta.namespace, ft.pool)),
        default=ft.spec.serving.replicas,
    )
    return await ctx.gather_pool(ft.meta.namespace, ft.pool, replicas)


async def _gather_recorded_pool(ctx: Context, ft: FineTune) -> PoolView | None:
    """The pool that the status records; None if it records none. A deleted one has no pods."""
    serving = ft.status.serving
    if serving is None or serving.endpoint is None:
        return None
    pool = ctx.pool_at(ft.meta.namespace, serving.endpoint)
    if pool is None:
        return PoolView(name="", exists=False, desired_replicas=serving.desired_replicas)
    return await ctx.gather_pool(ft.meta.namespace, pool, serving.desired_replicas)


def gather_pods(
    ctx: Context, ft: FineTune, revision: str | None, component: str = COMPONENT_TRAINER
) -> tuple[PodView, ...]:
    """Pods of a revision's training, preflight or export; of all revisions and all three when it
    is None."""
    bodies = ctx.cache.by_owner(POD, ft.meta.namespace, LABEL_FINE_TUNE, ft.meta.name)
    views = []
    for body in bodies:
        labels = body["metadata"]["labels"]
        mine = labels.get(LABEL_REVISION) == revision and labels.get(LABEL_COMPONENT) == component
        if revision is None or mine:
            views.append(parse_pod(body))
    return tuple(sorted(views, key=lambda p: (p.created, p.name)))


async def _gather_artifacts(
    ctx: Context, ft: ReadableFineTune, observed: Observed, storage: StorageTarget
) -> Observed:
    folder = revision_folder(ft.meta, ft.revision, storage)
    commit = await ctx.artifacts.read_commit(folder)
    if isinstance(commit, FailureStatus):
        return replace(observed, artifact_problem=commit)
    if commit is not None:
        observed = replace(observed, commit=commit)
        try:
            problem = await verify(ctx, ft, folder, commit, _key(ft))
            observed = replace(observed, verified=problem is None, artifact_problem=problem)
        except Waiting:
            pass  # neither verified nor damaged yet
        return await _gather_exports(ctx, ft, commit, observed, folder)
    observed = await _gather_preflight(ctx, ft, observed, folder)
    progress: Progress | None = None
    report: TrainReport | None = None
    if observed.job is not None and observed.pods:
        newest = _newest_with_news(observed.job, observed.pods)
        attempt = folder.join(layout.ATTEMPTS, newest.uid)
        progress = await ctx.artifacts.read_progress(attempt)
        if observed.job.failed:
            report = await ctx.artifacts.read_report(attempt)
    elif observed.job is not None and observed.job.failed:
        report = await _gather_last_report(ctx, ft, observed.job, folder)
    return replace(observed, progress=progress, report=report)


async def _gather_last_report(
    ctx: Context, ft: FineTune, job: JobView, folder: S3Location
) -> TrainReport | None:
    """The report of the attempt that status knows, when no pod is left to name it: only if that
    attempt began under this Job, since an earlier one of the revision failed by itself."""
    training = ft.status.training
    if training is None or training.job_name != job.name or training.attempt is None:
        return None
    report = await ctx.artifacts.read_report(folder.join(layout.ATTEMPTS, training.attempt))
    began = wire_time(report.started) if report is not None else None
    if began is None or job.created is None or parse_time(began) < job.created:
        return None
    return report


async def _gather_preflight(
    ctx: Context, ft: ReadableFineTune, observed: Observed, folder: S3Location
) -> Observed:
    """What is needed until the training Job exists, and what status hasn't told yet."""
    known = ft.status.preflight
    told = known is not None and known.revision == ft.revision
    # A refusal may have been told, and the data mended since.
    if observed.job is not None and told and known is not None and known.estimate is not None:
        return observed
    # Without its Job nothing is there, unless status knows it; and a pod that finds an earlier
    # pass ends with that.
    if observed.job is None and observed.preflight_job is None and not told:
        return observed
    found = await ctx.artifacts.read_document(folder.join(layout.PREFLIGHT), Preflight)
    if found is not None and found.spec_hash != ft.digest:
        found = None
    return replace(observed, preflight=found)


async def _gather_exports(
    ctx: Context, ft: ReadableFineTune, commit: Commit, observed: Observed, folder: S3Location
) -> Observed:
    """The artifacts that are asked for; and while one is missing, the size of the model."""
    if not observed.verified:
        return observed
    wanted = wanted_exports(ft.spec)
    found = await asyncio.gather(*(ctx.artifacts.read_export(folder, commit, n) for n in wanted))
    problem = next((f for f in found if isinstance(f, FailureStatus)), None)
    exports = tuple(f for f in found if f is not None and not isinstance(f, FailureStatus))
    observed = replace(observed, exports=exports, export_problem=problem)
    if len(exports) == len(wanted) or observed.export_job is not None:
        return observed
    preflight = await ctx.artifacts.read_document(folder.join(layout.PREFLIGHT), Preflight)
    return replace(observed, preflight=preflight)


async def _gather_start(ctx: Context, ft: ReadableFineTune) -> StartAdapter | FailureStatus | None:
    """The adapter that spec.adapter.from names, by its own commit."""
    spec, wanted = ft.spec, ft.spec.adapter.start
    if wanted is None:
        return None
    name = wanted.fine_tune_ref.name
    other = ctx.finetune(ft.meta.namespace, name)
    if not isinstance(other, ReadableFineTune):
        return missing_start(name, wanted.revision, "no such fine-tune in this namespace")
    storage = other.storage
    if storage is None:
        return missing_start(name, wanted.revision, "its bucket is not configured")
    if other.spec.base_model.name != spec.base_model.name:
        return missing_start(
            name, wanted.revision, f"its base model is {other.spec.base_model.name}"
        )
    commit = await ctx.artifacts.read_commit(revision_folder(other.meta, wanted.revision, storage))
    if not isinstance(commit, Commit):
        return missing_start(name, wanted.revision, "the revision has no committed adapter")
    if commit.rank != spec.adapter.rank:
        return missing_start(name, wanted.revision, f"its rank is {commit.rank}")
    return StartAdapter(
        location=storage.location(commit.prefix), files=commit.files, digest=commit.digest
    )


def missing_start(name: str, revision: str, why: str) -> FailureStatus:
    """adapter.from can't be followed."""
    return FailureStatus.of(
        Reason.START_ADAPTER_NOT_FOUND,
        f"spec.adapter.from: fine-tune {name}, revision {revision}: {why}",
        "Use a fine-tune of this namespace with the same base model and rank, and one of its "
        "status.revisions with an adapterDigest.",
    )


def _newest_with_news(job: JobView, pods: tuple[PodView, ...]) -> PodView:
    """The pod whose documents matter: the newest that ran; the newest at all if none did."""
    ran = [p for p in pods if p.running or p.exit_code is not None]
    return (ran or list(pods))[-1]


async def _gather_serving(
    ctx: Context, ft: ReadableFineTune, observed: Observed, storage: StorageTarget
) -> Observed:
    if not ft.is_served:
        return observed
    pointer = storage.location(layout.alias_key(storage.prefix, ft.meta.namespace, ft.alias))
    found, view = await asyncio.gather(ctx.artifacts.read_alias(pointer), _gather_pool(ctx, ft))
    current = owned_alias(found, ft.meta.uid)
    deciding, others = gather_evaluations(ctx, ft, current.revision if current else None)
    return replace(
        observed,
        alias=found,
        pool=view,
        rollback=await _gather_rollback(ctx, ft, storage),
        evaluation=deciding,
        other_evaluations=others,
    )


async def _gather_rollback(
    ctx: Context, ft: ReadableFineTune, storage: StorageTarget
) -> Commit | FailureStatus | None:
    """The verified commit that promotion.rollbackTo asks for."""
    wanted = ft.spec.promotion.rollback_to
    if wanted is None:
        return None
    commit = await read_verified(ctx, ft, wanted, storage, _key(ft))
    if commit is not None:
        return commit
    known = [r.id for r in ft.status.revisions if r.adapter_digest]
    return FailureStatus.of(
        Reason.ROLLBACK_UNKNOWN,
        f"spec.promotion.rollbackTo: revision {wanted} has no valid adapter in the bucket",
        f"Use one of: {', '.join(known) or 'none is stored'}; or remove rollbackTo.",
    )


async def read_verified(
    ctx: Context, ft: FineTune, revision: str, storage: StorageTarget, asker: Key
) -> Commit | None:
    """The commit of a revision whose files are all as it says; None without one.

    Raises:
        Waiting: they are being read for the first time.
    """
    folder = revision_folder(ft.meta, revision, storage)
    commit = await ctx.artifacts.read_commit(folder)
    if commit is None or isinstance(commit, FailureStatus):
        return None
    return commit if await verify(ctx, ft, folder, commit, asker) is None else None


async def verify(
    ctx: Context, ft: FineTune, folder: S3Location, commit: Commit, asker: Key
) -> FailureStatus | None:
    """What is wrong with the files of a commit. Nothing, while they are read and status says that
    these very files were verified, by the operator before this one: until they are read again
    nothing that serves is touched.

    Raises:
        Waiting: they are being read, and status tells nothing of them.
    """
    try:
        return await ctx.artifacts.verify(folder, commit, asker)
    except Waiting:
        known = next((r for r in ft.status.revisions if r.id == commit.revision), None)
        if known is None or known.adapter_digest != commit.digest:
            raise
        return None


def _key(ft: FineTune) -> Key:
    return Key(FINE_TUNES, ft.meta.namespace, ft.meta.name)


def gather_evaluations(
    ctx: Context, ft: ReadableFineTune, incumbent: str | None
) -> tuple[Evaluation | None, tuple[Evaluation, ...]]:
    """The evaluation that decides about the present revision, and the fine-tune's others.

    Only its own count: a namesake that somebody else made says nothing about this fine-tune.
    """
    name = expected_evaluation(ft, incumbent)
    bodies = ctx.cache.by_owner(EVALUATION, ft.meta.namespace, LABEL_FINE_TUNE, ft.meta.name)
    names = [b["metadata"]["name"] for b in bodies if controller_uid(b) == ft.meta.uid]
    found = (ctx.index.evaluation(ft.meta.namespace, n) for n in names)
    own = [ev for ev in found if ev is not None]
    deciding = next((e for e in own if e.meta.name == name and not e.meta.deleting), None)
    return deciding, tuple(e for e in own if e.meta.name != name)
