"""One serving pool: gather its members, plan, write the index, apply its objects or remove them."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.report import Commit, adapter_id
from qwen3_api.v1alpha1.training import BaseModelSpec
from qwen3_operator.context import Context
from qwen3_operator.controller.errors import OperatorError, Transient, Waiting
from qwen3_operator.controller.failpoints import failpoint
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.kind import Kind
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.reconciler import Result, incident_of
from qwen3_operator.finetune.gather import gather_evaluations, read_verified
from qwen3_operator.finetune.promotion.canary import rejection_of, step_of
from qwen3_operator.finetune.promotion.gates import is_unloaded, plan_admission
from qwen3_operator.finetune.views import FineTune, ReadableFineTune
from qwen3_operator.resources.base_model import resolve_job_model, resolve_model
from qwen3_operator.resources.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SERVICE,
)
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.serving.actions import PoolPlan
from qwen3_operator.serving.adapters import find_sides, gather_guests
from qwen3_operator.serving.manifests import PoolSpec
from qwen3_operator.serving.plan import Member, drain_left, needs_pods, plan_pool
from qwen3_operator.serving.views import PoolPod

logger = get_logger(__name__)
KINDS: dict[str, Kind] = {
    k.name: k for k in (DEPLOYMENT, SERVICE, POD_DISRUPTION_BUDGET, NETWORK_POLICY, CONFIG_MAP)
}
WATCHED = (DEPLOYMENT, SERVICE, CONFIG_MAP)


class PoolReconciler:
    """Reconciles pools; remembers what it applied, so that a pool at rest costs no writes."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._applied: dict[tuple[str, str], str] = {}

    async def reconcile(self, key: Key) -> Result:
        """Make one pool so.

        Raises:
            Transient, Stalled (StorageProblem), NotLeader: the queue tries again.
        """
        ctx = self._ctx
        candidates = ctx.members(key.namespace, key.name)
        evaluations = ctx.guest_evaluations(key.namespace, key.name)
        sides = find_sides(ctx, evaluations)
        spec, storage = self._resolve(key, candidates, sides)
        if (candidates or sides) and spec is None:
            # The settings lost the model or the store: told in each member's status. What serves
            # goes on serving.
            return Result()
        # A bucket that can't be read ends the reconcile here: an index of those members that happen
        # to be known would unload the others. The status of each member reports why.
        members, kept = await self._gather_members(key, candidates, storage)
        index, etag = (
            await ctx.artifacts.read_index(_index_location(key, storage))
            if storage
            else (None, None)
        )
        guests = await gather_guests(ctx, evaluations, index, key)
        exists = any(ctx.cache.get(kind, key.namespace, key.name) for kind in WATCHED)
        held = ctx.held_aliases(key.namespace, key.name)
        pods: tuple[PoolPod, ...] = ()
        if needs_pods(members):
            pods = (await ctx.gather_pool(key.namespace, key.name, 0)).pods
        plan = plan_pool(
            spec,
            members,
            index,
            exists,
            key.name,
            ctx.settings,
            ctx.now(),
            held,
            pods,
            guests,
            kept,
        )
        if plan.index is not None and storage is not None:
            failpoint("before-index")
            location = _index_location(key, storage)
            if not await ctx.artifacts.write_index(location, plan.index, etag):
                raise Transient("IndexLost", f"{location.uri} was changed concurrently")
            logger.info(
                "index written",
                extra={"serial": plan.index.serial, "aliases": dict(plan.index.aliases)},
            )
        await self._apply(key, plan)
        for deletion in plan.delete:
            await ctx.client.delete(KINDS[deletion.kind], key.namespace, deletion.name)
        return Result(plan.requeue_after)

    def _resolve(
        self,
        key: Key,
        members: list[ReadableFineTune],
        guests: Sequence[tuple[BaseModelSpec, StorageTarget | None]],
    ) -> tuple[PoolSpec | None, StorageTarget | None]:
        """What members and guests agree on; that they do is what makes them so (`pool_name`)."""
        settings = self._ctx.settings
        sides = [(ft.spec.base_model, ft.storage) for ft in members]
        for base, storage in (*sides, *guests):
            if storage is None or resolve_model(base, settings) is None:
                continue
            token = base.token_secret_ref
            return (
                PoolSpec(
                    namespace=key.namespace,
                    name=key.name,
                    base_model=base.name,
                    source=resolve_job_model(base, storage, settings),
                    storage=storage,
                    replicas=max((ft.spec.serving.replicas for ft in members), default=1),
                    hf_token_secret=token.name if token else None,
                ),
                storage,
            )
        return None, None

    async def _gather_members(
        self, key: Key, candidates: Sequence[ReadableFineTune], storage: StorageTarget | None
    ) -> tuple[list[Member], list[str]]:
        """The members, and the names of those that can't be gathered for an unexpected reason.

        Their own reconcile meets the same failure and reports it; here it must not stop the
        others, hence the broad net.
        """
        members: list[Member] = []
        kept: list[str] = []
        for ft in candidates if storage is not None else ():
            try:
                member = await self._gather_member(ft, storage, key)
            except OperatorError:
                raise
            except Exception as error:
                incident = incident_of(key, error)
                logger.exception(
                    "member skipped", extra={"member": ft.meta.name, "incident": incident}
                )
                kept.append(ft.meta.name)
            else:
                members += [member] if member is not None else []
        return members, kept

    async def _gather_member(
        self, ft: ReadableFineTune, storage: StorageTarget | None, key: Key
    ) -> Member | None:
        if storage is None or self._ctx.alias_owner(ft) is not None:
            return None
        if ft.spec.adapter.rank > self._ctx.settings.serving.max_lora_rank:
            return None
        meta = ft.meta
        alias = ft.alias
        pointer = storage.location(layout.alias_key(storage.prefix, meta.namespace, alias))
        found = await self._ctx.artifacts.read_alias(pointer)
        current = found.current if found else None
        if current is not None and current.owner_uid != meta.uid:
            current = None
        revision = ft.revision
        wanted = {revision}
        rollback = ft.spec.promotion.rollback_to
        if rollback is not None:
            wanted.add(rollback)
        if current is not None:
            wanted |= {r for r in (current.revision, current.previous_revision) if r}
        serving: set[str | None] = {current.revision} if current else set()
        keep = ft.spec.promotion.keep_previous_seconds
        if current and drain_left(current, keep, self._ctx.settings, self._ctx.now()) > 0:
            serving.add(current.previous_revision)
        commits = [
            await self._read_commit(ft, r, storage, key, needed=r in serving)
            for r in sorted(wanted)
        ]
        good = {c.revision: c for c in commits if c is not None}
        incumbent = current.revision if current else None
        deciding, _ = gather_evaluations(self._ctx, ft, incumbent)
        admission = plan_admission(ft, incumbent, deciding)
        rollout = ft.spec.serving.rollout
        rejection = rejection_of(current, revision, rollout.auto_rollback)
        refused = is_unloaded(admission, ft.spec, rejection)
        steps, canary = rollout.canary_steps, current.canary if current else None
        return Member(
            name=meta.name,
            uid=meta.uid,
            alias=alias,
            replicas=ft.spec.serving.replicas,
            revision=revision,
            current=current,
            commits={adapter_id(meta.namespace, meta.name, c.digest): c for c in good.values()},
            candidate=None if refused else good.get(revision),
            canary_weight=step_of(canary, steps).weight_percent if canary and steps else None,
            rollback=good.get(rollback) if rollback else None,
            keep_previous_seconds=keep,
        )

    async def _read_commit(
        self, ft: FineTune, revision: str, storage: StorageTarget, key: Key, *, needed: bool
    ) -> Commit | None:
        """A verified commit. One that is being read is none yet, so the pool's other members don't
        wait for it; what serves mustn't be missing, so then the pool stays as it is."""
        try:
            return await read_verified(self._ctx, ft, revision, storage, key)
        except Waiting:
            if needed:
                raise
            return None

    async def _apply(self, key: Key, plan: PoolPlan) -> None:
        """Apply when the wish changed, or when somebody changed what was applied."""
        where = (key.namespace, key.name)
        if not plan.apply:
            self._applied.pop(where, None)
            return
        if self._applied.get(where) == self._fingerprint(key, plan):
            return
        for manifest in plan.apply:
            await self._ctx.client.apply(dict(manifest))
        self._applied[where] = self._fingerprint(key, plan)

    def _fingerprint(self, key: Key, plan: PoolPlan) -> str:
        """The manifests, and the generation of the live Deployment: an edit by hand raises it."""
        live: dict[str, Any] = {}
        for kind in WATCHED:
            body = self._ctx.cache.get(kind, key.namespace, key.name)
            live[kind.name] = body["metadata"].get("generation", 0) if body else None
        text = json.dumps([plan.apply, live], sort_keys=True, default=dict)
        return hashlib.sha256(text.encode()).hexdigest()


def _index_location(key: Key, storage: StorageTarget) -> Any:
    return storage.location(layout.pool_index_key(storage.prefix, key.namespace, key.name))
