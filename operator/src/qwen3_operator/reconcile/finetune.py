"""One fine-tune: gather, plan, apply, status, events."""

import asyncio
from dataclasses import replace
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.report import Progress, TrainReport
from qwen3_api.v1alpha1.finetune import FineTuneSpec, FineTuneStatus, ServingMode, alias_of
from qwen3_operator.cluster.kinds import FINE_TUNE, JOB, POD, Kind
from qwen3_operator.desired.names import (
    FINALIZER,
    LABEL_FINE_TUNE,
    LABEL_REVISION,
    LIFECYCLE_MANAGER,
    StorageTarget,
    job_name,
    pool_name,
    resolve_storage,
    revision_id,
    spec_hash,
)
from qwen3_operator.errors import Conflict, Stalled, Transient
from qwen3_operator.failpoints import failpoint
from qwen3_operator.logs import get_logger, log_fields
from qwen3_operator.observed import (
    FineTune,
    JobView,
    Observed,
    PodView,
    Problem,
    parse_job,
    parse_pod,
)
from qwen3_operator.plan.finetune import (
    RECHECK_SECONDS,
    plan_finetune,
    tell_changes,
    with_refusal,
)
from qwen3_operator.plan.outage import plan_without_store
from qwen3_operator.plan.plan import Deletion, Event, FineTunePlan
from qwen3_operator.reconcile.context import Context, reference
from qwen3_operator.runtime.keys import POOL, Key
from qwen3_operator.runtime.reconciler import Result
from qwen3_operator.store.client import StorageProblem

logger = get_logger(__name__)
KINDS: dict[str, Kind] = {"Job": JOB}
ARTIFACTS_KEPT = Event(
    "Warning",
    "ArtifactsKept",
    "The artifacts stay: the spec can't be read, or the operator has lost its settings for the "
    "bucket. Remove the folder by hand.",
)


async def reconcile_finetune(ctx: Context, key: Key) -> Result:
    """Make one fine-tune so.

    Raises:
        Transient, NotLeader: the queue tries again.
    """
    body = ctx.cache.get(FINE_TUNE, key.namespace, key.name)
    if body is None:
        return Result()
    ft = ctx.parse(body)
    revision = revision_id(spec_hash(ft.spec)) if ft.spec else ""
    with log_fields(revision=revision):
        try:
            observed = await gather_finetune(ctx, ft)
        except Transient:
            await _take_back_ready(ctx, ft, body)
            raise
        plan = plan_finetune(ft, observed, ctx.settings, ctx.now())
        if observed.commit is not None:
            failpoint("after-commit")
        return await _carry_out(ctx, ft, body, plan)


async def _take_back_ready(ctx: Context, ft: FineTune, body: dict[str, Any]) -> None:
    """The store is away: nothing can be decided, but Ready=True must not outlive the truth."""
    if ft.spec is None or ft.meta.deleting or ft.status.serving is None:
        return
    pool = pool_name(ft.spec, ctx.settings)
    view = await ctx.gather_pool(ft.meta.namespace, pool, ft.status.serving.desired_replicas)
    await _write_status(ctx, ft, body, plan_without_store(ft, view, ctx.now()))


# --- gather ---------------------------------------------------------------------------------------


async def gather_finetune(ctx: Context, ft: FineTune) -> Observed:
    """Everything a decision about this fine-tune looks at."""
    jobs = [
        parse_job(j)
        for j in ctx.cache.by_owner(JOB, ft.meta.namespace, LABEL_FINE_TUNE, ft.meta.name)
    ]
    if ft.spec is None:
        pods = _gather_pods(ctx, ft, None) if ft.meta.deleting else ()
        return Observed(other_jobs=tuple(jobs), pods=pods)
    revision = revision_id(spec_hash(ft.spec))
    name = job_name(ft.meta.name, revision)
    job = next((j for j in jobs if j.name == name), None)
    observed = Observed(
        job=job,
        other_jobs=tuple(j for j in jobs if j.name != name),
        pods=_gather_pods(ctx, ft, None if ft.meta.deleting else revision),
        alias_owner=ctx.alias_owner(ft)
        if ft.spec.serving.mode is ServingMode.SHARED_BASE
        else None,
    )
    storage = resolve_storage(ft.spec.artifacts.s3, ctx.settings)
    if storage is None or ft.meta.deleting:
        return observed
    try:
        observed = await _gather_artifacts(ctx, ft, revision, observed, storage)
        return await _gather_serving(ctx, ft, ft.spec, observed, storage)
    except StorageProblem as error:
        return replace(observed, storage_problem=error.problem)


def _gather_pods(ctx: Context, ft: FineTune, revision: str | None) -> tuple[PodView, ...]:
    bodies = ctx.cache.by_owner(POD, ft.meta.namespace, LABEL_FINE_TUNE, ft.meta.name)
    views = [
        parse_pod(b)
        for b in bodies
        if revision is None or b["metadata"]["labels"].get(LABEL_REVISION) == revision
    ]
    return tuple(sorted(views, key=lambda p: (p.created, p.name)))


async def _gather_artifacts(
    ctx: Context, ft: FineTune, revision: str, observed: Observed, storage: StorageTarget
) -> Observed:
    folder = storage.location(
        layout.revision_prefix(storage.prefix, ft.meta.namespace, ft.meta.uid, revision)
    )
    commit = await ctx.artifacts.read_commit(folder)
    if isinstance(commit, Problem):
        return replace(observed, artifact_problem=commit)
    if commit is not None:
        problem = await ctx.artifacts.verify(folder, commit)
        return replace(observed, commit=commit, verified=problem is None, artifact_problem=problem)
    progress: Progress | None = None
    report: TrainReport | None = None
    if observed.job is not None and observed.pods:
        newest = _newest_with_news(observed.job, observed.pods)
        attempt = folder.join(layout.ATTEMPTS, newest.uid)
        progress = await ctx.artifacts.read_progress(attempt)
        if observed.job.failed:
            report = await ctx.artifacts.read_report(attempt)
    return replace(observed, progress=progress, report=report)


def _newest_with_news(job: JobView, pods: tuple[PodView, ...]) -> PodView:
    """The pod whose documents matter: the newest that ran; the newest at all if none did."""
    ran = [p for p in pods if p.running or p.exit_code is not None]
    return (ran or list(pods))[-1]


async def _gather_serving(
    ctx: Context, ft: FineTune, spec: FineTuneSpec, observed: Observed, storage: StorageTarget
) -> Observed:
    if spec.serving.mode is not ServingMode.SHARED_BASE:
        return observed
    pool = pool_name(spec, ctx.settings)
    alias = alias_of(ft.meta.namespace, ft.meta.name, spec)
    pointer = storage.location(layout.alias_key(storage.prefix, ft.meta.namespace, alias))
    replicas = max(
        [m.spec.serving.replicas for m in ctx.members(ft.meta.namespace, pool) if m.spec],
        default=spec.serving.replicas,
    )
    found, view = await asyncio.gather(
        ctx.artifacts.read_alias(pointer), ctx.gather_pool(ft.meta.namespace, pool, replicas)
    )
    return replace(observed, alias=found, pool=view)


# --- apply ----------------------------------------------------------------------------------------


async def _carry_out(
    ctx: Context, ft: FineTune, body: dict[str, Any], plan: FineTunePlan
) -> Result:
    """In this order, so that a crash between any two steps is found again by the next gather."""
    status, events, requeue_after = plan.status, plan.events, plan.requeue_after
    if plan.finalizer is True:
        body = await _set_finalizer(ctx, body, present=True)
    for deletion in plan.delete:
        await _delete(ctx, ft, deletion)
    try:
        for manifest in plan.apply:
            await ctx.client.apply(dict(manifest))
        if plan.apply:
            failpoint("after-job-created")
        for manifest in plan.lifecycle:
            await ctx.client.apply(dict(manifest), field_manager=LIFECYCLE_MANAGER)
    except Stalled as refused:
        if status is None:
            raise
        logger.warning("a child was refused", extra={"error": str(refused)})
        status = with_refusal(ft, status, str(refused), ctx.now())
        # What the plan would tell didn't happen. The cause may go by itself, like the child of an
        # earlier namesake that garbage collection hasn't reached yet.
        events = tell_changes(ft, status)
        requeue_after = refused.recheck or RECHECK_SECONDS
    await _promote(ctx, ft, plan)
    if plan.delete_artifacts and not await _delete_artifacts(ctx, ft):
        events = (ARTIFACTS_KEPT,)
    failpoint("before-status")
    await _write_status(ctx, ft, body, status)
    await ctx.emit(reference(body), events)
    if plan.finalizer is False:
        await _set_finalizer(ctx, body, present=False)
    if plan.wake_pool is not None:
        ctx.wake(Key(POOL, ft.meta.namespace, plan.wake_pool))
    return Result(requeue_after)


async def _set_finalizer(ctx: Context, body: dict[str, Any], *, present: bool) -> dict[str, Any]:
    meta = body["metadata"]
    current = ctx.cache.get(FINE_TUNE, meta["namespace"], meta["name"]) or body
    others = [f for f in current["metadata"].get("finalizers", ()) if f != FINALIZER]
    updated = await ctx.client.patch_finalizers(
        FINE_TUNE,
        meta["namespace"],
        meta["name"],
        [*others, FINALIZER] if present else others,
        current["metadata"]["resourceVersion"],
    )
    return updated or body


async def _delete(ctx: Context, ft: FineTune, deletion: Deletion) -> None:
    try:
        await ctx.client.delete(
            KINDS[deletion.kind], ft.meta.namespace, deletion.name, uid=deletion.uid
        )
    except Conflict:
        # A namesake with another uid: what was to be deleted is gone.
        logger.info("already replaced", extra={"child": deletion.name})


async def _promote(ctx: Context, ft: FineTune, plan: FineTunePlan) -> None:
    """Move the public name by compare-and-swap. Losing is fine: the next gather sees the winner."""
    if plan.promote is None or ft.spec is None:
        return
    storage = resolve_storage(ft.spec.artifacts.s3, ctx.settings)
    if storage is None:
        return
    alias = plan.promote.alias
    failpoint("between-load-and-flip")
    pointer = storage.location(layout.alias_key(storage.prefix, ft.meta.namespace, alias.alias))
    if not await ctx.artifacts.swap_alias(pointer, alias, plan.promote.etag):
        raise Transient("PromotionLost", f"{alias.alias} was moved by somebody else")
    logger.info("promoted", extra={"alias": alias.alias, "model_id": alias.id})


async def _delete_artifacts(ctx: Context, ft: FineTune) -> bool:
    """Empty the folder; False when nobody knows any more where it is."""
    storage = resolve_storage(ft.spec.artifacts.s3, ctx.settings) if ft.spec else None
    if storage is None:
        return False
    folder = layout.finetune_prefix(storage.prefix, ft.meta.namespace, ft.meta.uid)
    count = await ctx.artifacts.remove(storage.location(folder))
    logger.info("artifacts deleted", extra={"objects": count})
    return True


async def _write_status(
    ctx: Context, ft: FineTune, body: dict[str, Any], status: FineTuneStatus | None
) -> None:
    """One write, and only when something changed."""
    if status is None:
        return
    wire = status.to_wire()
    if wire == ft.status.to_wire():
        return
    await ctx.client.apply_status(reference(body) | {"status": wire})
