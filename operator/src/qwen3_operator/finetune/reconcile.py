"""One fine-tune: gather (gather.py), plan, apply, status, events."""

from datetime import datetime
from typing import Any

from qwen3_api.job import layout
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.artifacts.client import StorageProblem
from qwen3_operator.context import Context, reference
from qwen3_operator.controller.errors import Conflict, Stalled, Transient
from qwen3_operator.controller.failpoints import failpoint
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.kind import Kind
from qwen3_operator.controller.logs import get_logger, log_fields
from qwen3_operator.controller.reconciler import Result
from qwen3_operator.finetune.actions import FineTunePlan
from qwen3_operator.finetune.gather import gather_finetune, gather_pods
from qwen3_operator.finetune.outage import plan_without_store
from qwen3_operator.finetune.plan import (
    RECHECK_SECONDS,
    plan_finetune,
    tell_changes,
    with_refusal,
    with_waiting_deletion,
)
from qwen3_operator.finetune.training.manifests import is_training_job
from qwen3_operator.finetune.views import FineTune, ReadableFineTune, UnreadableFineTune
from qwen3_operator.resources.actions import Deletion, Event
from qwen3_operator.resources.keys import POOL
from qwen3_operator.resources.kinds import EVALUATION, FINE_TUNE, JOB
from qwen3_operator.resources.labels import FINALIZER, LIFECYCLE_MANAGER

logger = get_logger(__name__)
KINDS: dict[str, Kind] = {"Job": JOB, "Qwen3Eval": EVALUATION}
ARTIFACTS_KEPT = Event(
    "Warning",
    "ArtifactsKept",
    "The artifacts stay in the bucket: it is no longer in the operator's settings. Delete the "
    "folder manually.",
)


async def reconcile_finetune(ctx: Context, key: Key) -> Result:
    """Make one fine-tune so.

    Raises:
        Transient, NotLeader: the queue tries again.
    """
    body = ctx.cache.get(FINE_TUNE, key.namespace, key.name)
    if body is None:
        return Result()
    ft = ctx.finetune(key.namespace, key.name)
    if ft is None:
        return Result()
    if isinstance(ft, UnreadableFineTune) and ft.cause is not None:
        raise ft.cause
    with log_fields(revision=ft.revision if isinstance(ft, ReadableFineTune) else ""):
        try:
            observed = await gather_finetune(ctx, ft)
        except Transient:
            since = ctx.mark_unanswered(ft.meta.uid)
            if isinstance(ft, ReadableFineTune) and not ft.meta.deleting:
                await _report_outage(ctx, ft, body, since)
            raise
        ctx.mark_answered(ft.meta.uid)
        plan = plan_finetune(ft, observed, ctx.settings, ctx.now())
        if observed.commit is not None:
            failpoint("after-commit")
        return await _carry_out(ctx, ft, body, plan)


async def _report_outage(
    ctx: Context, ft: ReadableFineTune, body: dict[str, Any], since: datetime
) -> None:
    """The store is unavailable: nothing can be decided, but no status may outlive the truth."""
    view, serving = None, ft.status.serving
    if serving is not None:
        view = await ctx.gather_pool(ft.meta.namespace, ft.pool, serving.desired_replicas)
    runs = any(p.running for p in gather_pods(ctx, ft, ft.revision))
    status = plan_without_store(ft, view, ctx.now(), runs=runs, since=since)
    if status is not None:
        await _write_and_emit(ctx, ft, body, status)


async def _write_and_emit(
    ctx: Context, ft: FineTune, body: dict[str, Any], status: FineTuneStatus
) -> None:
    """The status, and an event for each of its changes."""
    await _write_status(ctx, ft, body, status)
    await ctx.emit(reference(body), tell_changes(ft, status))


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
        if any(is_training_job(m) for m in plan.apply):
            failpoint("after-job-created")
        for manifest in plan.lifecycle:
            await ctx.client.apply(dict(manifest), field_manager=LIFECYCLE_MANAGER)
    except Stalled as refused:
        if status is None:
            raise
        logger.warning("the API server rejected a child object", extra={"error": str(refused)})
        status = with_refusal(ft, status, str(refused), ctx.now())
        # What the plan would tell didn't happen. The cause may go by itself, like the child of an
        # earlier namesake that garbage collection hasn't reached yet.
        events = tell_changes(ft, status)
        requeue_after = refused.recheck or RECHECK_SECONDS
    await _promote(ctx, ft, plan)
    if plan.delete_artifacts and not await _delete_artifacts(ctx, ft, body):
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
    storage = ft.storage
    if plan.promote is None or storage is None:
        return
    alias = plan.promote.alias
    failpoint("between-load-and-flip")
    pointer = storage.location(layout.alias_key(storage.prefix, ft.meta.namespace, alias.alias))
    if not await ctx.artifacts.swap_alias(pointer, alias, plan.promote.etag):
        raise Transient("PromotionLost", f"{alias.alias} was changed concurrently")
    logger.info("public name written", extra={"alias": alias.alias, "model_id": alias.id})


async def _delete_artifacts(ctx: Context, ft: FineTune, body: dict[str, Any]) -> bool:
    """Empty the folder; False when the settings don't name its bucket any more.

    Raises:
        StorageProblem, Transient: the store refuses or doesn't answer, which status reports; or the
            object was edited after the plan was made.
    """
    storage = ft.storage
    if storage is None:
        return False
    # Removal is final, and the watch may lag behind an edit to Retain.
    now = await ctx.client.get(FINE_TUNE, ft.meta.namespace, ft.meta.name)
    known = (ft.meta.uid, ft.meta.generation)
    if now is None or (now["metadata"]["uid"], now["metadata"]["generation"]) != known:
        raise Conflict("SpecChanged", f"{ft.meta.name} was changed or replaced concurrently")
    folder = layout.finetune_prefix(storage.prefix, ft.meta.namespace, ft.meta.uid)
    try:
        count = await ctx.artifacts.remove(storage.location(folder))
    except (StorageProblem, Transient) as error:
        refusal = error.problem if isinstance(error, StorageProblem) else None
        await _write_and_emit(ctx, ft, body, with_waiting_deletion(ft, refusal, ctx.now()))
        raise
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
