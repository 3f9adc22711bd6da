"""From an object to the keys it concerns, and from a key to its reconcile."""

from collections.abc import Mapping
from typing import Any

from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_operator.cluster.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVALUATION,
    FINE_TUNE,
    POD,
    kind_of,
)
from qwen3_operator.desired.names import (
    LABEL_EVAL,
    LABEL_FINE_TUNE,
    LABEL_POOL,
    LABEL_SCHEDULE,
    pool_name,
)
from qwen3_operator.observed import parse_evaluation
from qwen3_operator.plan.guest import wants_guest
from qwen3_operator.reconcile.context import Context, asks_adapter
from qwen3_operator.reconcile.evaluation import named_fine_tunes, reconcile_evaluation
from qwen3_operator.reconcile.finetune import reconcile_finetune
from qwen3_operator.reconcile.pool import PoolReconciler
from qwen3_operator.runtime import keys
from qwen3_operator.runtime.keys import Key
from qwen3_operator.runtime.reconciler import Result

Object = dict[str, Any]


class Reconcilers:
    """What the runtime calls."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._pools = PoolReconciler(ctx)

    async def reconcile(self, key: Key) -> Result:
        """Reconcile one key."""
        if key.kind == keys.FINE_TUNE:
            return await reconcile_finetune(self._ctx, key)
        if key.kind == keys.POOL:
            return await self._pools.reconcile(key)
        return await reconcile_evaluation(self._ctx, key)

    def keys_for(self, obj: Object) -> list[Key]:
        """Keys that must look again because this object came, changed or went."""
        kind, meta = kind_of(obj), obj["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        labels = meta.get("labels") or {}
        if kind is FINE_TUNE:
            return self._of_fine_tune(obj, namespace, name)
        if kind is EVALUATION:
            return self._of_evaluation(obj, namespace, name, labels)
        if kind is CONFIG_MAP and LABEL_POOL not in labels:
            # The order of a Job: written once, read by its pod.
            return []
        found: list[Key] = []
        if LABEL_FINE_TUNE in labels:
            found.append(Key(keys.FINE_TUNE, namespace, labels[LABEL_FINE_TUNE]))
        if LABEL_EVAL in labels:
            found.append(Key(keys.EVAL, namespace, labels[LABEL_EVAL]))
        if LABEL_POOL in labels:
            pool = labels[LABEL_POOL]
            found.append(Key(keys.POOL, namespace, pool))
            if kind in (POD, DEPLOYMENT):
                found += [
                    Key(keys.FINE_TUNE, namespace, m.meta.name)
                    for m in self._ctx.members(namespace, pool)
                ]
                found += [
                    Key(keys.EVAL, namespace, ev.meta.name)
                    for ev in self._ctx.guest_evaluations(namespace, pool)
                    if wants_guest(ev) is not None
                ]
        return found

    def _of_evaluation(
        self, obj: Object, namespace: str, name: str, labels: Mapping[str, str]
    ) -> list[Key]:
        """The evaluation; that whose schedule it is a run of; the pool that holds its adapter for
        it; of a fine-tune's own also that, and the pool that holds the candidate."""
        found = [Key(keys.EVAL, namespace, name)]
        pool = self._ctx.guest_pool(parse_evaluation(obj)) if asks_adapter(obj) else None
        if pool is not None:
            found.append(Key(keys.POOL, namespace, pool))
        if LABEL_SCHEDULE in labels:
            found.append(Key(keys.EVAL, namespace, labels[LABEL_SCHEDULE]))
        owner = labels.get(LABEL_FINE_TUNE)
        body = self._ctx.cache.get(FINE_TUNE, namespace, owner) if owner else None
        if owner is not None and body is not None:
            found.append(Key(keys.FINE_TUNE, namespace, owner))
            ft = self._ctx.parse(body)
            if ft.spec is not None and ft.spec.serving.mode is ServingMode.SHARED_BASE:
                found.append(Key(keys.POOL, namespace, pool_name(ft.spec, self._ctx.settings)))
        return found

    def _of_fine_tune(self, obj: Object, namespace: str, name: str) -> list[Key]:
        """The fine-tune, its pool, rivals for its public name, and evaluations that ask it."""
        ctx, ft = self._ctx, self._ctx.parse(obj)
        found = [Key(keys.FINE_TUNE, namespace, name)]
        if ctx.cache.get(FINE_TUNE, namespace, name) is None:
            ctx.forget(ft.meta.uid)
        if ft.spec is not None and ft.spec.serving.mode is ServingMode.SHARED_BASE:
            found.append(Key(keys.POOL, namespace, pool_name(ft.spec, ctx.settings)))
            if ft.meta.deleting or ctx.cache.get(FINE_TUNE, namespace, name) is None:
                found += [
                    Key(keys.FINE_TUNE, namespace, other.meta.name)
                    for other in ctx.finetunes(namespace)
                    if other.meta.uid != ft.meta.uid
                ]
        serving = ft.status.serving
        if serving is not None and serving.endpoint is not None:
            # The pool that it has served on: a spec that left it, or can't be read, doesn't say.
            pool = ctx.pool_at(namespace, serving.endpoint)
            found += [Key(keys.POOL, namespace, pool)] if pool is not None else []
        for body in ctx.cache.list(EVALUATION, namespace):
            ev = parse_evaluation(body)
            if ev.spec is not None and name in named_fine_tunes(ev.spec):
                found.append(Key(keys.EVAL, namespace, ev.meta.name))
        return found
