"""What a pod should do next: pure functions from the index and what was observed.

An adapter *answers* if vLLM lists it now, loaded from its verified folder, and it has completed a
token since that vLLM process started.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass

from qwen3_api.serving.config import ServerConfig
from qwen3_api.serving.pool import PoolIndex
from qwen3_server.routes import Routes


@dataclass(frozen=True)
class Readiness:
    """May the Service send requests to this pod?"""

    ready: bool
    reasons: tuple[str, ...]
    """What is missing; empty if ready."""


def index_problem(index: PoolIndex, config: ServerConfig) -> str | None:
    """Why this index is not for this pod, or contradicts itself."""
    for field in ("namespace", "pool", "base_model"):
        found, own = getattr(index, field), getattr(config, field)
        if found != own:
            return f"the index is for {field} {found!r}, this pod is for {own!r}"
    ids = [adapter.id for adapter in index.adapters]
    if len(set(ids)) != len(ids):
        return "the index names an id twice"
    for alias, target in index.aliases.items():
        if target not in ids:
            return f"the index points {alias!r} to {target!r}, which it does not list"
    for alias, canary in index.canaries.items():
        if alias not in index.aliases:
            return f"the index has a canary for {alias!r}, which is no name of it"
        if canary.id not in ids:
            return f"the index has the canary {canary.id!r}, which it does not list"
    return None


def plan_routes(
    index: PoolIndex, answering: Set[str], previous: Routes | None, instance: str
) -> Routes:
    """The names to answer now.

    An alias goes to its new adapter once that answers, and until then stays where it was as long as
    the old adapter answers. An alias that is the base model's name or an id is left out.

    A canary takes part once it answers, beside the adapter that the index means: against an older
    one it would be compared with the wrong incumbent.
    """
    before = previous.aliases if previous is not None and previous.boot == instance else {}
    listed = {adapter.id for adapter in index.adapters}
    wanted = {a: t for a, t in index.aliases.items() if a != index.base_model and a not in listed}
    aliases: dict[str, str] = {}
    for alias, target in wanted.items():
        choices = [model for model in (target, before.get(alias)) if model in answering]
        if choices:
            aliases[alias] = str(choices[0])
    ids = (listed & answering) | set(aliases.values())
    loading = (listed | set(wanted)) - ids - set(aliases)
    canaries = {
        alias: canary
        for alias, canary in sorted(index.canaries.items())
        if canary.id in listed & answering
        and alias in aliases
        and aliases[alias] == wanted[alias] != canary.id
    }
    before_thinking = (
        previous.thinking if previous is not None and previous.boot == instance else {}
    )
    thinking = {
        adapter.id: adapter.enable_thinking
        for adapter in index.adapters
        if adapter.enable_thinking is not None
    }
    return Routes(
        boot=instance,
        serial=index.serial,
        base_model=index.base_model,
        ids=sorted(ids),
        aliases=dict(sorted(aliases.items())),
        canaries=canaries,
        # An id that left the index keeps what it had for as long as it answers.
        thinking={
            model: default
            for model, default in sorted({**before_thinking, **thinking}.items())
            if model in ids and (model in thinking or model not in listed)
        },
        loading=sorted(loading),
    )


def plan_unloads(
    index: PoolIndex, loaded: Set[str], routes: Routes, due: Mapping[str, float], at: float
) -> dict[str, float]:
    """Loaded adapters that nobody may ask for any more, with the time at which to unload each.

    Args:
        index: The desired set.
        loaded: Ids that vLLM lists.
        routes: What the gateway was told; what it still routes stays.
        due: What the last call returned.
        at: The time (monotonic, in seconds) to unload one that leaves only now.
    """
    keep = {adapter.id for adapter in index.adapters} | set(routes.ids)
    return {model: due.get(model, at) for model in sorted(loaded - keep)}


def assess_readiness(
    index: PoolIndex | None,
    healthy: bool,
    answering: Set[str],
    routes: Routes | None,
    instance: str,
) -> Readiness:
    """Ready: vLLM is healthy, every required adapter answers, every alias is where it belongs."""
    if index is None:
        return Readiness(False, ("no index was read yet",))
    reasons = [] if healthy else ["vLLM is not healthy"]
    reasons += [
        f"{adapter.id} is not loaded"
        for adapter in index.adapters
        if adapter.required and adapter.id not in answering
    ]
    if routes is None or routes.boot != instance or routes.serial != index.serial:
        reasons.append("the routes are not written yet")
    else:
        # An alias that plan_routes left out for good (it hides a model) blocks nobody else.
        reasons += [
            f"{alias} does not point to {target} yet"
            for alias, target in index.aliases.items()
            if routes.aliases.get(alias, target) != target or alias in routes.loading
        ]
    return Readiness(not reasons, tuple(reasons))
