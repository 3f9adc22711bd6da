"""The periodic LIST: repairs what the watches missed, above all what vanished unseen.

After a gap in a watch kopf lists again and tells of every object that is there, never of one that
is gone. So each kind is listed every `period` seconds, and at once after such a gap; what the cache
holds beyond the list is removed and its owner looked at. Every custom resource gets a routine look
along the way.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from qwen3_operator.controller.cache import Cache, Drift
from qwen3_operator.controller.client import ApiServer
from qwen3_operator.controller.errors import OperatorError, Stalled
from qwen3_operator.controller.intake import Intake
from qwen3_operator.controller.kind import Kind, Kinds, Manifests
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.metrics import RESYNC_ERRORS, RESYNC_REPAIRS

RETRY_SECONDS = 5.0
SLICE = 100
"""Objects that are taken in before watches, probes and the lease get their turn: some 50 ms."""
FIRST_LIST_PATIENCE_SECONDS = 30.0
"""How long a missing right or CRD is retried at start: an API server that has just come up itself
denies everything until it has loaded its roles."""

logger = get_logger(__name__)


class FirstListError(Exception):
    """The cluster can't be read; the message names the request that was refused."""


@dataclass(frozen=True)
class Scope:
    """One collection to list.

    namespace: None means all of them.
    """

    kind: Kind
    namespace: str | None

    def __str__(self) -> str:
        group = f".{self.kind.group}" if self.kind.group else ""
        return f"{self.kind.plural}{group} in {self.namespace or 'all namespaces'}"


def scopes_of(kinds: Kinds, namespaces: Iterable[str]) -> list[Scope]:
    """What to list and watch: every cached kind in each namespace, or in all if none is named."""
    where: list[str | None] = [*namespaces] or [None]
    return [Scope(kind, namespace) for kind in kinds.cached for namespace in where]


class Resync:
    """Lists every scope: once at the start, then each on its own period."""

    def __init__(
        self,
        api: ApiServer,
        cache: Cache,
        intake: Intake,
        namespaces: Iterable[str],
        period: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._cache = cache
        self._intake = intake
        self._period = period
        self._clock = clock
        self._pokes = {scope: asyncio.Event() for scope in scopes_of(cache.kinds, namespaces)}
        self._listed_at: dict[Scope, float] = {}

    @property
    def synced(self) -> bool:
        """Whether every scope has been listed once."""
        return len(self._listed_at) == len(self._pokes)

    def overdue(self) -> str | None:
        """What has not been listed for two periods and a minute, or None."""
        limit = 2 * self._period + 60
        late = [
            f"{scope} for {self._clock() - at:.0f} s"
            for scope, at in self._listed_at.items()
            if self._clock() - at > limit
        ]
        return f"not listed: {', '.join(late)}" if late else None

    def poke(self, kind: Kind, namespace: str | None) -> None:
        """List this scope now: its watch had a gap."""
        event = self._pokes.get(Scope(kind, namespace))
        if event is not None:
            event.set()

    async def list_all(self) -> None:
        """The first list of every scope.

        Raises:
            FirstListError: one of them is still refused after half a minute. Every refusal is
                logged when it happens.
        """
        await asyncio.gather(*(self._list_first(scope) for scope in self._pokes))

    async def run(self) -> None:
        """List every scope again and again; never returns."""
        async with asyncio.TaskGroup() as group:
            for scope in self._pokes:
                group.create_task(self._repeat(scope), name=f"resync {scope}")

    async def _list_first(self, scope: Scope) -> None:
        deadline = self._clock() + FIRST_LIST_PATIENCE_SECONDS
        while True:
            try:
                await self._list(scope)
                return
            except OperatorError as error:
                _report(scope, error)
                # Away or busy passes by itself and is no reason to exit; a refusal is.
                refused = isinstance(error, Stalled) or error.args[0].startswith("KindNotServed")
                if refused and self._clock() >= deadline:
                    raise FirstListError(f"cannot list {scope}: {error}") from error
            await asyncio.sleep(RETRY_SECONDS)

    async def _repeat(self, scope: Scope) -> None:
        delay = self._period * random.uniform(0.5, 1.0)  # noqa: S311  spread, not secret
        while True:
            poke = self._pokes[scope]
            try:
                async with asyncio.timeout(delay):
                    await poke.wait()
            except TimeoutError:
                pass
            poke.clear()
            try:
                await self._list(scope)
                delay = self._period * random.uniform(0.8, 1.0)  # noqa: S311
            except OperatorError as error:
                _report(scope, error)
                delay = RETRY_SECONDS

    async def _take_in(self, scope: Scope, items: Manifests, version: str) -> Drift:
        """Makes the cache agree with a LIST, a slice at a time.

        Watch events may come in between: what they say is newer, and the cache knows.
        """
        changed: Manifests = []
        for start in range(0, len(items), SLICE):
            changed += [obj for obj in items[start : start + SLICE] if self._cache.put(obj)]
            await asyncio.sleep(0)
        vanished = self._cache.prune(scope.kind, scope.namespace, items, version)
        return Drift(changed, vanished)

    async def _list(self, scope: Scope) -> None:
        kind = scope.kind
        items, version = await self._api.list(
            kind, scope.namespace, self._cache.kinds.selector_of(kind)
        )
        drift = await self._take_in(scope, items, version)
        first = scope not in self._listed_at
        self._listed_at[scope] = self._clock()
        for obj in drift.vanished:
            logger.info(
                "object disappeared without a watch event",
                extra={"scope": str(scope), "object": _name(obj)},
            )
            RESYNC_REPAIRS.labels(kind.name, "vanished").inc()
        if not first:
            RESYNC_REPAIRS.labels(kind.name, "changed").inc(len(drift.changed))
        for number, obj in enumerate((*drift.changed, *drift.vanished)):
            self._intake.enqueue(obj)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        if kind in self._cache.kinds.custom and not first:
            for obj in items:
                spread = random.uniform(0, self._period / 2)  # noqa: S311
                self._intake.enqueue_within(obj, spread)


def _name(obj: dict[str, dict[str, str]]) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _report(scope: Scope, error: OperatorError) -> None:
    reason = getattr(error, "reason", type(error).__name__)
    RESYNC_ERRORS.labels(scope.kind.name, reason).inc()
    logger.error("cannot list", extra={"scope": str(scope), "reason": reason, "error": str(error)})
