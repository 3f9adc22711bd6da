"""When each watch last gave a sign of life.

A watch that is silent looks just like a cluster in which nothing happens. The API server sends a
bookmark about once a minute, so silence for longer than two of kopf's inactivity timeouts means
that the watcher itself is gone: kopf keeps running when one of its tasks has ended (kopf#1276).
"""

import time
from collections.abc import Callable

from qwen3_operator.controller.kind import Kind, Kinds
from qwen3_operator.controller.resync import Scope, scopes_of

INACTIVITY_SECONDS = 70.0
"""kopf's default, named here because the health check depends on it: bookmarks come every 60 s."""


class WatchActivity:
    """Signs of life by scope. `on_gap` is told when kopf had to list a scope again."""

    def __init__(
        self,
        kinds: Kinds,
        on_gap: Callable[[Kind, str | None], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kinds = kinds
        self._on_gap = on_gap
        self._clock = clock
        self._alive_at: dict[Scope, float] = {}
        self._listed: set[Scope] = set()

    def expect(self, namespaces: tuple[str, ...]) -> None:
        """From now on every scope has to be watched."""
        now = self._clock()
        self._alive_at = dict.fromkeys(scopes_of(self._kinds, namespaces), now)

    def alive(self, path: str) -> None:
        """Data came on the watch of this collection (a URL path)."""
        scope = scope_of_path(self._kinds, path)
        if scope in self._alive_at:
            self._alive_at[scope] = self._clock()

    def listed(self, path: str) -> None:
        """kopf listed this collection; more than once means that its watch had a gap."""
        scope = scope_of_path(self._kinds, path)
        if scope is None or scope not in self._alive_at:
            return
        self.alive(path)
        if scope in self._listed:
            self._on_gap(scope.kind, scope.namespace)
        self._listed.add(scope)

    def silent(self) -> str | None:
        """The watches without a sign of life for too long, or None."""
        now = self._clock()
        late = [
            f"{scope} for {now - at:.0f} s"
            for scope, at in self._alive_at.items()
            if now - at > 2 * INACTIVITY_SECONDS
        ]
        return f"stalled watches: {', '.join(late)}" if late else None


def scope_of_path(kinds: Kinds, path: str) -> Scope | None:
    """The scope of a collection's path, ".../namespaces/<ns>/<plural>" or ".../<plural>"."""
    parts = path.strip("/").split("/")
    kind = kinds.by_plural(parts[-1])
    if kind is None:
        return None
    namespaced = len(parts) >= 3 and parts[-3] == "namespaces"
    return Scope(kind, parts[-2] if namespaced else None)
