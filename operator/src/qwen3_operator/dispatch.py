"""From an object to the keys it concerns, and from a key to its reconcile."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

from qwen3_operator.artifacts.client import ObjectStore
from qwen3_operator.artifacts.documents import Artifacts
from qwen3_operator.context import Context
from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.client import Client
from qwen3_operator.controller.errors import OperatorError
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.reconciler import Result
from qwen3_operator.evaluation.reconcile import reconcile_evaluation
from qwen3_operator.evaluation.views import parse_evaluation
from qwen3_operator.finetune.reconcile import reconcile_finetune
from qwen3_operator.finetune.views import ReadableFineTune, parse_finetune
from qwen3_operator.incident import report_incident
from qwen3_operator.resources import keys
from qwen3_operator.resources.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVALUATION,
    FINE_TUNE,
    POD,
    kind_of,
)
from qwen3_operator.resources.labels import LABEL_EVAL, LABEL_FINE_TUNE, LABEL_POOL, LABEL_SCHEDULE
from qwen3_operator.serving.reconcile import PoolReconciler
from qwen3_operator.serving.sidecars import Agents
from qwen3_operator.settings import Settings

Object = dict[str, Any]


class Reconcilers:
    """What the runtime calls."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._pools = PoolReconciler(ctx)

    async def reconcile(self, key: Key) -> Result:
        """Reconcile one key.

        Raises:
            Exception: what the reconcile raised. One that nobody expected is in the status of its
                object by then, and the queue retries it later and later.
        """
        try:
            return await self._reconcile(key)
        except (OperatorError, TimeoutError):
            raise
        except Exception as error:
            await report_incident(self._ctx, key, error)
            raise

    async def _reconcile(self, key: Key) -> Result:
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
                ]
        return found

    def _of_evaluation(
        self, obj: Object, namespace: str, name: str, labels: Mapping[str, str]
    ) -> list[Key]:
        """The evaluation; that whose schedule it is a run of; the pool that holds its adapter for
        it; of a fine-tune's own also that, and the pool that holds the candidate."""
        found = [Key(keys.EVAL, namespace, name)]
        ctx = self._ctx
        ev = ctx.index.evaluation(namespace, name) or parse_evaluation(obj, ctx.settings)
        pool = ctx.guest_pool(ev)
        if pool is not None:
            found.append(Key(keys.POOL, namespace, pool))
        if LABEL_SCHEDULE in labels:
            found.append(Key(keys.EVAL, namespace, labels[LABEL_SCHEDULE]))
        owner = labels.get(LABEL_FINE_TUNE)
        ft = ctx.finetune(namespace, owner) if owner else None
        if ft is not None:
            found.append(Key(keys.FINE_TUNE, namespace, ft.meta.name))
            if isinstance(ft, ReadableFineTune) and ft.is_served:
                found.append(Key(keys.POOL, namespace, ft.pool))
        return found

    def _of_fine_tune(self, obj: Object, namespace: str, name: str) -> list[Key]:
        """The fine-tune, its pool, rivals for its public name, and evaluations that ask it."""
        ctx, present = self._ctx, self._ctx.finetune(namespace, name)
        ft = present or parse_finetune(obj, ctx.settings)
        found = [Key(keys.FINE_TUNE, namespace, name)]
        if present is None:
            ctx.forget(ft.meta.uid)
        if isinstance(ft, ReadableFineTune) and ft.is_served:
            found.append(Key(keys.POOL, namespace, ft.pool))
            if ft.meta.deleting or present is None:
                found += [
                    Key(keys.FINE_TUNE, namespace, other.meta.name)
                    for other in ctx.index.claimants(namespace, ft.alias)
                    if other.meta.uid != ft.meta.uid
                ]
        serving = ft.status.serving
        if serving is not None and serving.endpoint is not None:
            # The pool that it has served on: a spec that left it, or can't be read, doesn't say.
            pool = ctx.pool_at(namespace, serving.endpoint)
            found += [Key(keys.POOL, namespace, pool)] if pool is not None else []
        found += [
            Key(keys.EVAL, namespace, ev.meta.name)
            for ev in ctx.index.evaluations_of(namespace, name)
        ]
        return found


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def build(
    client: Client,
    cache: Cache,
    settings: Settings,
    *,
    wake: Callable[[Key], None],
    now: Callable[[], datetime] = _utc_now,
) -> AsyncIterator[Reconcilers]:
    """The reconciles with everything they talk to, open for as long as the context is."""
    async with Agents(time.monotonic) as agents:
        # Those who ask it are keys.
        artifacts = Artifacts(ObjectStore(settings), lambda asker: wake(cast(Key, asker)))
        try:
            yield Reconcilers(
                Context(
                    client=client,
                    cache=cache,
                    artifacts=artifacts,
                    agents=agents,
                    settings=settings,
                    now=now,
                    wake=wake,
                )
            )
        finally:
            await artifacts.close()
