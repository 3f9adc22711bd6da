"""One evaluation: gather, plan, apply, status, events."""

from dataclasses import replace
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalProgressDocument, EvalReport
from qwen3_operator.cluster.kinds import EVALUATION, FINE_TUNE, JOB, POD
from qwen3_operator.desired.names import (
    LABEL_EVAL,
    LIFECYCLE_MANAGER,
    eval_job_name,
    resolve_storage,
)
from qwen3_operator.failpoints import failpoint
from qwen3_operator.observed import Evaluation, parse_evaluation, parse_job, parse_pod
from qwen3_operator.plan.evaluation import EvalObserved, plan_evaluation
from qwen3_operator.reconcile.context import Context, reference
from qwen3_operator.runtime.keys import Key
from qwen3_operator.runtime.reconciler import Result
from qwen3_operator.store.client import StorageProblem


async def reconcile_evaluation(ctx: Context, key: Key) -> Result:
    """Make one evaluation so.

    Raises:
        Transient, Stalled, NotLeader: the queue tries again.
    """
    body = ctx.cache.get(EVALUATION, key.namespace, key.name)
    if body is None:
        return Result()
    ev = parse_evaluation(body)
    plan = plan_evaluation(ev, await _gather(ctx, ev), ctx.settings, ctx.now())
    for manifest in plan.apply:
        await ctx.client.apply(dict(manifest))
    for manifest in plan.lifecycle:
        await ctx.client.apply(dict(manifest), field_manager=LIFECYCLE_MANAGER)
    failpoint("before-eval-status")
    if plan.status is not None and plan.status.to_wire() != ev.status.to_wire():
        await ctx.client.apply_status(reference(body) | {"status": plan.status.to_wire()})
    await ctx.emit(reference(body), plan.events)
    return Result(plan.requeue_after)


def named_fine_tunes(spec: Any) -> set[str]:
    """Names of the fine-tunes that an evaluation asks."""
    names = {spec.target.fine_tune.name}
    return names | {b.fine_tune.name for b in spec.baselines if b.fine_tune is not None}


async def _gather(ctx: Context, ev: Evaluation) -> EvalObserved:
    meta = ev.meta
    job = ctx.cache.get(JOB, meta.namespace, eval_job_name(meta.name))
    pods = [parse_pod(b) for b in ctx.cache.by_owner(POD, meta.namespace, LABEL_EVAL, meta.name)]
    observed = EvalObserved(
        fine_tunes={
            name: ctx.parse(body)
            for name in (named_fine_tunes(ev.spec) if ev.spec else ())
            if (body := ctx.cache.get(FINE_TUNE, meta.namespace, name)) is not None
        },
        job=parse_job(job) if job else None,
        pods=tuple(sorted(pods, key=lambda p: (p.created, p.name))),
    )
    storage = resolve_storage(ev.spec.output.s3, ctx.settings) if ev.spec else None
    if storage is None:
        return observed
    folder = storage.location(layout.eval_prefix(storage.prefix, meta.namespace, meta.uid))
    try:
        report = await ctx.artifacts.read_document(folder.join(layout.REPORT), EvalReport)
        progress = None
        if report is None and observed.job is not None:
            progress = await ctx.artifacts.read_document(
                folder.join(layout.PROGRESS), EvalProgressDocument
            )
    except StorageProblem as error:
        return replace(observed, storage_problem=error.problem)
    return replace(
        observed,
        report=report,
        progress=progress,
        report_uri=folder.join(layout.REPORT).uri,
    )
