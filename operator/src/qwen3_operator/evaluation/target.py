"""Who exactly is asked: target and baselines of an evaluation as endpoints and immutable ids. Pure.

A revision is askable while every ready pod of its pool holds it, whether it has the public name,
waits for it (a candidate of a fine-tune that has never served) or had it before.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from qwen3_api.job.evaluate import EvalEndpoint
from qwen3_api.job.report import adapter_id
from qwen3_api.v1alpha1.conditions import ConditionType
from qwen3_api.v1alpha1.evaluation import EvalSpec, FineTuneTarget, ResolvedStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_operator.evaluation.manifests import key_env, resolve_endpoint
from qwen3_operator.finetune.views import FineTune, ReadableFineTune
from qwen3_operator.resources.conditions import find
from qwen3_operator.resources.names import pool_endpoint
from qwen3_operator.serving.adapter import Guest
from qwen3_operator.serving.views import PoolView, holds
from qwen3_operator.settings import Settings

TARGET = "target"


@dataclass(frozen=True)
class Asked:
    """Everybody who is asked, found."""

    target: EvalEndpoint
    baselines: list[EvalEndpoint]
    status: ResolvedStatus


@dataclass(frozen=True)
class _Model:
    endpoint: EvalEndpoint
    revision: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class World:
    """Where fine-tunes are looked up, by name."""

    fine_tunes: Mapping[str, FineTune]
    pools: Mapping[str, PoolView]
    """The pools of those that are asked by revision."""
    settings: Settings
    guest: Guest | None = None
    """The adapter of a target of type Adapter, once its pool holds it."""


def resolve_asked(spec: EvalSpec, world: World) -> Asked | str:
    """Target and baselines, or a sentence on what is missing."""
    target = _resolve_target(spec, world)
    if isinstance(target, str):
        return target
    baselines: list[EvalEndpoint] = []
    for number, baseline in enumerate(spec.baselines):
        if baseline.endpoint is not None:
            env = key_env("BASELINE", number)
            baselines.append(resolve_endpoint(baseline.name, baseline.endpoint, env))
        elif baseline.fine_tune is not None:
            found = _resolve_fine_tune(baseline.name, baseline.fine_tune, world)
            if isinstance(found, str):
                return found
            baselines.append(found.endpoint)
        else:
            url, base = target.endpoint.base_url, _base_of(spec, world)
            baselines.append(EvalEndpoint(name=baseline.name, base_url=url, model=base))
    return Asked(
        target.endpoint,
        baselines,
        ResolvedStatus(
            endpoint=target.endpoint.base_url,
            target_model=target.endpoint.model,
            target_revision=target.revision,
            target_digest=target.digest,
        ),
    )


def _resolve_target(spec: EvalSpec, world: World) -> _Model | str:
    if spec.target.endpoint is not None:
        return _Model(resolve_endpoint(TARGET, spec.target.endpoint, key_env("TARGET")))
    if spec.target.adapter is not None:
        return _resolve_guest(world)
    if spec.target.fine_tune is None:
        raise LookupError("a target of type FineTune without fineTune passed API validation")
    return _resolve_fine_tune(TARGET, spec.target.fine_tune, world)


def _resolve_guest(world: World) -> _Model | str:
    guest = world.guest
    if guest is None:
        raise LookupError("a target of type Adapter must be loaded before the evaluation")
    adapter = guest.adapter
    url = pool_endpoint(guest.namespace, guest.pool, world.settings)
    return _Model(
        EvalEndpoint(name=TARGET, base_url=url, model=adapter.id), guest.revision, adapter.digest
    )


def _base_of(spec: EvalSpec, world: World) -> str:
    """Name of the target's base model, on its pool."""
    if world.guest is not None:
        return world.guest.base_model.name
    target = spec.target.fine_tune
    ft = world.fine_tunes.get(target.name) if target is not None else None
    if not isinstance(ft, ReadableFineTune):
        raise LookupError("a baseline of type BaseModel without a fine-tune as its target")
    return ft.spec.base_model.name


def _resolve_fine_tune(name: str, target: FineTuneTarget, world: World) -> _Model | str:
    """An adapter of a fine-tune, or a sentence on what is missing."""
    ft = world.fine_tunes.get(target.name)
    if not isinstance(ft, ReadableFineTune):
        return f"no Qwen3FineTune {target.name} in this namespace"
    mode = ft.spec.serving.mode
    if mode is not ServingMode.SHARED_BASE:
        return f"{target.name} isn't served: its spec.serving.mode is {mode.value}"
    if target.revision is None:
        return _resolve_served(name, ft)
    return _resolve_revision(name, ft, target.revision, world)


def _resolve_served(name: str, ft: FineTune) -> _Model | str:
    """What answers under the public name now."""
    serving, served = ft.status.serving, find(ft.status.conditions, ConditionType.SERVED)
    if served is not None and served.status is ConditionStatus.FALSE:
        return f"{ft.meta.name} isn't served: {served.message}"
    if (
        served is None
        or served.status is not ConditionStatus.TRUE
        or serving is None
        or serving.endpoint is None
        or serving.model_id is None
    ):
        return f"{ft.meta.name} isn't served yet"
    return _Model(
        EvalEndpoint(name=name, base_url=serving.endpoint, model=serving.model_id),
        serving.revision,
        serving.digest,
    )


def _resolve_revision(name: str, ft: FineTune, revision: str, world: World) -> _Model | str:
    """A revision that the pool holds. Its public name doesn't matter: that of a candidate still
    means the incumbent, or nothing at all."""
    who = f"revision {revision} of {ft.meta.name}"
    digest = _digest_of(ft, revision)
    if digest is None:
        return f"{ft.meta.name} has no stored revision {revision}"
    pool = world.pools.get(ft.meta.name)
    model = adapter_id(ft.meta.namespace, ft.meta.name, digest)
    waiting = explain_loading(who, pool, model, digest)
    if pool is None or waiting is not None:
        return waiting or ""
    url = pool_endpoint(ft.meta.namespace, pool.name, world.settings)
    return _Model(EvalEndpoint(name=name, base_url=url, model=model), revision, digest)


def explain_loading(who: str, pool: PoolView | None, model: str, digest: str) -> str | None:
    """What is missing until every ready pod holds an adapter; None when nothing is."""
    ready = [p for p in pool.pods if p.ready] if pool is not None else []
    if pool is None or not ready:
        trouble = pool.trouble.message if pool is not None and pool.trouble is not None else ""
        return f"{who} can't be queried: no pod of its pool is ready" + (trouble and f": {trouble}")
    loaded = sum(holds(p, model, digest) for p in ready)
    if loaded < len(ready):
        return f"{who} is loaded on {loaded} of {len(ready)} ready pods of its pool"
    return None


def _digest_of(ft: FineTune, revision: str) -> str | None:
    """Digest of a revision's adapter. The list of revisions may have dropped the one that serves
    longest."""
    serving = ft.status.serving
    if serving is not None and serving.revision == revision:
        return serving.digest
    return next((r.adapter_digest for r in ft.status.revisions if r.id == revision), None)
