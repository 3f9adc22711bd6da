"""`Routes`: what the agent tells the gateway in the same pod, through a file in RUN_DIR.

A vLLM process starts without adapters, so routes are good only for the process that they were
written for: `boot` names it. A gateway that finds another instance than its own knows that nothing
has been loaded into its process yet, however fresh the file looks, and asks clients to retry.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from qwen3_api.job.base import Document
from qwen3_api.serving.pool import AgentCanary, Alias, ModelId, PoolCanary

ROUTES_FILE = "routes.json"
TOKEN_FILE = "agent.token"  # noqa: S105 (a file name)

TOKEN_HEADER = "x-qwen3-agent-token"  # noqa: S105 (a header name)
"""On the agent's requests: the content of TOKEN_FILE."""
BOOT_HEADER = "x-qwen3-boot"
"""On the gateway's answers to the agent: a random name of this vLLM process."""
CANARIES_PATH = "/-/canaries"
"""The gateway's own route, for the agent alone: `CanaryReport`."""


class CanaryReport(Document):
    """Body of `GET /-/canaries`: gateway to agent."""

    contract: Literal[1] = 1
    canaries: dict[Alias, AgentCanary]


class Routes(Document):
    """The names that this pod answers."""

    contract: Literal[1] = 1
    boot: str
    """The vLLM process (BOOT_HEADER) that has `ids` loaded."""
    serial: int
    """Serial of the index that this was made from."""
    base_model: str
    ids: list[ModelId]
    """Loaded in that process, each smoke-tested by a completion."""
    aliases: dict[Alias, ModelId]
    """Public name to one of `ids`."""
    canaries: dict[Alias, PoolCanary] = {}
    """By those of `aliases` that share their requests with another one of `ids`."""
    thinking: dict[ModelId, bool] = {}
    """The chat template's `enable_thinking` for requests that don't specify it, by those of `ids`
    that have such a default."""
    loading: list[str]
    """Ids and aliases of the index that cannot be answered yet."""


class Unroutable(Enum):
    """Why a model name cannot be answered now."""

    UNKNOWN = auto()
    """No such model in this pool."""
    LOADING = auto()
    """The pool has it, this pod does not yet."""


@dataclass(frozen=True)
class Route:
    """The model that a name means; a canary of the name may answer in its place."""

    model: str
    """Base model or immutable id."""
    rewritten: bool
    """The client used another name (an alias)."""


def resolve_model(name: str, routes: Routes | None, instance: str) -> Route | Unroutable:
    """The model behind a public name, for the engine instance `instance`.

    Base and ids come before aliases, so that nobody's alias can stand in for them.
    """
    if routes is None:
        return Unroutable.LOADING
    if name == routes.base_model:
        return Route(model=name, rewritten=False)
    if routes.boot != instance:
        known = name in routes.ids or name in routes.aliases or name in routes.loading
        return Unroutable.LOADING if known else Unroutable.UNKNOWN
    if name in routes.ids:
        return Route(model=name, rewritten=False)
    if name in routes.aliases:
        return Route(model=routes.aliases[name], rewritten=True)
    return Unroutable.LOADING if name in routes.loading else Unroutable.UNKNOWN
