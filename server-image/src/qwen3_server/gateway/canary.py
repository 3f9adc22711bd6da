"""The canaries of this vLLM process: which side answers a request, and how both sides go.

`Canaries.follow` takes the agent's routes. A split lives as long as they name the same canary for
the alias: the id, the weight, and the adapter that it is compared with. Another one begins with new
tallies; a request that started under the old split ends in the old tallies, which nobody reads.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from qwen3_api.serving.pool import AgentCanary, ModelId, PoolCanary
from qwen3_server.gateway.traffic import Tally
from qwen3_server.routes import CanaryReport, Routes

_SYSTEM_DRAW = random.SystemRandom().random
"""Not random.random: vLLM seeds that one, in every pod alike."""


@dataclass(frozen=True)
class Side:
    """One of the two adapters of an alias."""

    model: ModelId
    tally: Tally = field(default_factory=Tally, compare=False)


@dataclass(frozen=True)
class Split:
    """An alias with a canary. Equal to another if it splits the same way."""

    stable: Side
    canary: Side
    weight_percent: int

    @classmethod
    def start(cls, stable: ModelId, canary: PoolCanary) -> "Split":
        """With tallies at zero."""
        return cls(Side(stable), Side(canary.id), canary.weight_percent)

    def to_status(self) -> AgentCanary:
        """As the operator sees it."""
        return AgentCanary(
            id=self.canary.model,
            weight_percent=self.weight_percent,
            canary=self.canary.tally.to_traffic(),
            stable=self.stable.tally.to_traffic(),
        )


class Canaries:
    """The splits that the gateway applies now."""

    def __init__(self, instance: str, draw: Callable[[], float] = _SYSTEM_DRAW) -> None:
        """`draw` gives a number in [0, 1) for each request of an alias that has a canary."""
        self._instance = instance
        self._draw = draw
        self._followed: Routes | None = None
        self._splits: dict[str, Split] = {}

    def follow(self, routes: Routes | None) -> None:
        """Take over the routes; free while they are the same object."""
        if routes is self._followed:
            return
        self._followed = routes
        wanted: dict[str, Split] = {}
        if routes is not None and routes.boot == self._instance:
            wanted = {
                alias: Split.start(routes.aliases[alias], canary)
                for alias, canary in routes.canaries.items()
                if alias in routes.aliases and canary.id in routes.ids
            }
        before = self._splits
        self._splits = {
            alias: before[alias] if before.get(alias) == split else split
            for alias, split in wanted.items()
        }

    def choose(self, alias: str) -> Side | None:
        """Who answers this request of the alias; None if it has no canary."""
        split = self._splits.get(alias)
        if split is None:
            return None
        return split.canary if self._draw() * 100 < split.weight_percent else split.stable

    def report(self) -> CanaryReport:
        """How they go."""
        return CanaryReport(
            canaries={alias: split.to_status() for alias, split in self._splits.items()}
        )
