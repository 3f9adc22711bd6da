"""What every reconcile needs: clients, caches, settings, the clock, a way to wake other keys."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_operator.artifacts.documents import Artifacts
from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.client import Client
from qwen3_operator.controller.keys import Key
from qwen3_operator.evaluation.views import (
    Evaluation,
    ReadableEvaluation,
    UnreadableEvaluation,
)
from qwen3_operator.finetune.views import (
    FineTune,
    ReadableFineTune,
)
from qwen3_operator.resource_index import ResourceIndex
from qwen3_operator.resources.actions import Event
from qwen3_operator.resources.conditions import find
from qwen3_operator.resources.diagnosis import diagnose_waiting
from qwen3_operator.resources.kinds import DEPLOYMENT, POD, kind_of
from qwen3_operator.resources.labels import LABEL_POOL
from qwen3_operator.resources.names import pool_endpoint
from qwen3_operator.resources.views import PodView, parse_pod
from qwen3_operator.serving.sidecars import Agents
from qwen3_operator.serving.views import PoolPod, PoolView
from qwen3_operator.settings import Settings

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """Collaborators of the reconciles."""

    client: Client
    cache: Cache
    artifacts: Artifacts
    agents: Agents
    settings: Settings
    now: Callable[[], datetime]
    wake: Callable[[Key], None]
    index: ResourceIndex = field(init=False)
    _unanswered: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", ResourceIndex(self.cache, self.settings))

    def finetune(self, namespace: str, name: str) -> FineTune | None:
        """A fine-tune by its name."""
        return self.index.finetune(namespace, name)

    def guest_pool(self, ev: Evaluation) -> str | None:
        """Name of the pool that holds an evaluation's adapter for it; None for other targets, and
        while nobody knows its base model."""
        if isinstance(ev, UnreadableEvaluation) or ev.spec.target.adapter is None:
            return None
        wanted = ev.spec.target.adapter.fine_tune
        if ev.pool is not None or wanted is None:
            return ev.pool
        ft = self.finetune(ev.meta.namespace, wanted.name)
        return ft.pool if isinstance(ft, ReadableFineTune) else None

    def guest_evaluations(self, namespace: str, pool: str) -> list[ReadableEvaluation]:
        """Evaluations whose adapter has to be loaded by this pool now."""
        waiting = self.index.awaiting_adapter(namespace)
        return [ev for ev in waiting if self.guest_pool(ev) == pool]

    def forget(self, uid: str) -> None:
        """A fine-tune was deleted."""
        self._unanswered.pop(uid, None)

    def mark_unanswered(self, uid: str) -> datetime:
        """The store didn't answer a read for this fine-tune; returns when that started."""
        return self._unanswered.setdefault(uid, self.now())

    def mark_answered(self, uid: str) -> None:
        """The store answered, if only with a refusal."""
        self._unanswered.pop(uid, None)

    def members(self, namespace: str, pool: str) -> list[ReadableFineTune]:
        """Fine-tunes that want to be served by this pool."""
        return self.index.members(namespace, pool)

    def pool_at(self, namespace: str, endpoint: str) -> str | None:
        """Name of the pool with this endpoint, if it is there."""
        pool = endpoint.removeprefix("http://").partition(".")[0]
        if pool_endpoint(namespace, pool, self.settings) != endpoint:
            return None
        return pool if self.cache.get(DEPLOYMENT, namespace, pool) is not None else None

    def held_aliases(self, namespace: str, pool: str) -> list[str]:
        """Public names on this pool of fine-tunes that are no pool's members for now: their spec
        can't be read, or the settings have lost its bucket, a part of the pool's name. What they
        serve stays in service. Found by their last status, the only thing that is left."""
        endpoint = pool_endpoint(namespace, pool, self.settings)
        return [
            ft.status.serving.model_name
            for ft in self.index.lost(namespace, endpoint)
            if ft.status.serving is not None
            and ft.status.serving.model_name is not None
            and any(r.adapter_digest for r in ft.status.revisions)
        ]

    def alias_owner(self, ft: ReadableFineTune) -> str | None:
        """Another fine-tune with the better claim on the same public name, or None.

        Who was told to have it keeps it: an elder that asks for it later must not take it from
        under its users. Among the rest the older object wins, by creation time and then by name.
        Both sides come to the same verdict without talking to each other.
        """
        claimants = self.index.claimants(ft.meta.namespace, ft.alias)
        best = min((c for c in claimants if c.meta.uid != ft.meta.uid), key=_claim, default=None)
        return best.meta.name if best is not None and _claim(best) < _claim(ft) else None

    async def gather_pool(self, namespace: str, pool: str, replicas: int) -> PoolView:
        """The pods of a pool, and what their sidecars say now."""
        deployment = self.cache.get(DEPLOYMENT, namespace, pool)
        bodies = [
            body
            for body in self.cache.by_owner(POD, namespace, LABEL_POOL, pool)
            if "deletionTimestamp" not in body["metadata"]
        ]
        answers = await asyncio.gather(*(self._ask(body) for body in bodies))
        views = [parse_pod(body) for body in bodies]
        return PoolView(
            name=pool,
            exists=deployment is not None,
            desired_replicas=replicas,
            pods=tuple(
                PoolPod(body["metadata"]["name"], is_ready(body), answer)
                for body, answer in zip(bodies, answers, strict=True)
            ),
            trouble=diagnose_waiting(_stuck(bodies, views)),
        )

    async def _ask(self, body: Object) -> Any:
        ip = body.get("status", {}).get("podIP")
        return await self.agents.ask(ip) if ip else None

    async def emit(self, about: Object, events: tuple[Event, ...]) -> None:
        """Post events about a resource."""
        for event in events:
            await self.client.create_event(
                dict(about), type_=event.type, reason=event.reason, message=event.message
            )


def _claim(ft: ReadableFineTune) -> tuple[bool, datetime, str]:
    """Sorts the claims on a public name, the best first."""
    validated = find(ft.status.conditions, ConditionType.VALIDATED)
    serving = ft.status.serving
    has_it = (
        serving is not None
        and serving.model_name == ft.alias
        and validated is not None
        # What answers keeps it, whatever is wrong now: its data, or the store.
        and (validated.status is ConditionStatus.TRUE or serving.revision is not None)
        and validated.reason != Reason.ALIAS_TAKEN
    )
    return (not has_it, ft.meta.created, ft.meta.name)


def is_ready(body: Object) -> bool:
    """The pod's Ready condition."""
    conditions = body.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _stuck(bodies: list[Any], views: list[PodView]) -> list[PodView]:
    """Pods that aren't ready, whose waiting reasons are worth telling."""
    return [view for body, view in zip(bodies, views, strict=True) if not is_ready(body)]


def reference(body: Object) -> dict[str, Any]:
    """apiVersion, kind and the identifying metadata: what an apply of a subresource needs."""
    kind = kind_of(body)
    meta = body["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
    }
