"""One evaluation: gather, plan, apply, status, events."""

from collections.abc import Mapping
from dataclasses import replace

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalProgressDocument, EvalReport, TrackingReport
from qwen3_api.v1alpha1.evaluation import EvalSpec
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.artifacts.client import StorageProblem
from qwen3_operator.context import Context, reference
from qwen3_operator.controller.errors import Conflict
from qwen3_operator.controller.failpoints import failpoint
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.reconciler import Result
from qwen3_operator.evaluation.adapter import GuestView
from qwen3_operator.evaluation.plan import EvalObserved, plan_evaluation, told_before
from qwen3_operator.evaluation.tracking import awaits_tracking
from qwen3_operator.evaluation.views import (
    Evaluation,
    ReadableEvaluation,
    ScheduledRun,
    UnreadableEvaluation,
    fine_tune_targets,
    named_fine_tunes,
    parse_run,
)
from qwen3_operator.finetune.views import FineTune, ReadableFineTune
from qwen3_operator.resources.keys import POOL
from qwen3_operator.resources.kinds import EVALUATION, JOB, POD
from qwen3_operator.resources.labels import LABEL_EVAL, LABEL_SCHEDULE, LIFECYCLE_MANAGER
from qwen3_operator.resources.names import eval_job_name
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import (
    JobView,
    Meta,
    controller_uid,
    parse_job,
    parse_pod,
)
from qwen3_operator.serving.adapters import gather_guest
from qwen3_operator.serving.views import PoolView

logger = get_logger(__name__)


async def reconcile_evaluation(ctx: Context, key: Key) -> Result:
    """Make one evaluation so.

    Raises:
        Transient, Stalled, NotLeader: the queue tries again.
    """
    body = ctx.cache.get(EVALUATION, key.namespace, key.name)
    if body is None:
        return Result()
    ev = ctx.index.evaluation(key.namespace, key.name)
    if ev is None:
        return Result()
    if isinstance(ev, UnreadableEvaluation) and ev.cause is not None:
        raise ev.cause
    plan = plan_evaluation(ev, await _gather(ctx, ev), ctx.settings, ctx.now())
    for manifest in plan.apply:
        await ctx.client.apply(dict(manifest))
    for manifest in plan.lifecycle:
        await ctx.client.apply(dict(manifest), field_manager=LIFECYCLE_MANAGER)
    failpoint("before-eval-status")
    if plan.status is not None and plan.status.to_wire() != ev.status.to_wire():
        await ctx.client.apply_status(reference(body) | {"status": plan.status.to_wire()})
    for deletion in plan.delete:
        try:
            await ctx.client.delete(EVALUATION, key.namespace, deletion.name, uid=deletion.uid)
        except Conflict:
            logger.info("already replaced", extra={"child": deletion.name})
    await ctx.emit(reference(body), plan.events)
    return Result(plan.requeue_after)


def _gather_runs(ctx: Context, ev: Evaluation) -> tuple[ScheduledRun, ...]:
    """The runs of its schedule. What somebody else labelled so is none."""
    bodies = ctx.cache.by_owner(EVALUATION, ev.meta.namespace, LABEL_SCHEDULE, ev.meta.name)
    own = [b for b in bodies if controller_uid(b) == ev.meta.uid]
    runs = [parse_run(b, ctx.settings) for b in own if "deletionTimestamp" not in b["metadata"]]
    return tuple(run for run in runs if run is not None)


async def _gather(ctx: Context, ev: Evaluation) -> EvalObserved:
    if isinstance(ev, UnreadableEvaluation):
        return _gather_job(ctx, ev.meta)
    if ev.spec.schedule is not None:
        return EvalObserved(fine_tunes={}, runs=_gather_runs(ctx, ev))
    observed = replace(
        _gather_job(ctx, ev.meta),
        fine_tunes={
            name: ft
            for name in named_fine_tunes(ev.spec)
            if (ft := ctx.finetune(ev.meta.namespace, name)) is not None
        },
    )
    return await _gather_documents(ctx, ev, observed, ev.storage) if ev.storage else observed


def _gather_job(ctx: Context, meta: Meta) -> EvalObserved:
    """Its Job and pods."""
    job = ctx.cache.get(JOB, meta.namespace, eval_job_name(meta.name))
    pods = [parse_pod(b) for b in ctx.cache.by_owner(POD, meta.namespace, LABEL_EVAL, meta.name)]
    return EvalObserved(
        fine_tunes={},
        job=parse_job(job) if job else None,
        pods=tuple(sorted(pods, key=lambda p: (p.created, p.name))),
    )


async def _gather_documents(
    ctx: Context, ev: ReadableEvaluation, observed: EvalObserved, storage: StorageTarget
) -> EvalObserved:
    """What the evaluator wrote, and what has to be there before its Job starts."""
    meta = ev.meta
    folder = storage.location(layout.eval_prefix(storage.prefix, meta.namespace, meta.uid))
    observed = replace(observed, report_uri=folder.join(layout.REPORT_HTML).uri)
    try:
        report = await ctx.artifacts.read_document(folder.join(layout.REPORT), EvalReport)
        progress = None
        if (report or observed.job) is not None and ev.status.verdict is None:
            # Beside the report too, once: a quick run is over before anybody looks.
            progress = await ctx.artifacts.read_document(
                folder.join(layout.PROGRESS), EvalProgressDocument
            )
        guest = None
        if report is None and told_before(ev, observed.job) is None:
            guest = await _gather_guest(ctx, ev, observed.job)
        tracking = None
        if report is not None and awaits_tracking(ev.spec, ev.status.conditions):
            tracking = await ctx.artifacts.read_document(
                folder.join(layout.TRACKING), TrackingReport
            )
    except StorageProblem as error:
        return replace(observed, storage_problem=error.problem)
    observed = replace(observed, report=report, progress=progress, guest=guest, tracking=tracking)
    if report is None and observed.job is None and not ev.spec.suspend:
        return replace(observed, pools=await _gather_pools(ctx, ev.spec, observed.fine_tunes))
    return observed


async def _gather_guest(
    ctx: Context, ev: ReadableEvaluation, job: JobView | None
) -> GuestView | None:
    """The adapter that has to be loaded before the Job may start, or go on."""
    target = ev.spec.target.adapter
    if target is None or ev.spec.suspend:
        return None
    if job is not None and not (job.suspended and job.parked):
        return None
    found = await gather_guest(ctx, ev, target)
    if isinstance(found, FailureStatus):
        return GuestView(found)
    pool = await ctx.gather_pool(ev.meta.namespace, found.pool, 0)
    key = layout.pool_index_key(found.storage.prefix, ev.meta.namespace, found.pool)
    index, _ = await ctx.artifacts.read_index(found.storage.location(key))
    if index is None or all(a.id != found.adapter.id for a in index.adapters):
        ctx.wake(Key(POOL, ev.meta.namespace, found.pool))
    return GuestView(found, pool, index)


async def _gather_pools(
    ctx: Context, spec: EvalSpec, fine_tunes: Mapping[str, FineTune]
) -> dict[str, PoolView]:
    """The pools of the fine-tunes that are asked by revision: what they hold is for the sidecars to
    say, since a candidate has no public name yet."""
    pools: dict[str, PoolView] = {}
    for name in sorted({t.name for t in fine_tune_targets(spec) if t.revision is not None}):
        ft = fine_tunes.get(name)
        if isinstance(ft, ReadableFineTune):
            replicas = ft.spec.serving.replicas
            pools[name] = await ctx.gather_pool(ft.meta.namespace, ft.pool, replicas)
    return pools
