"""Which key is worked on next. Values and a given `now`: no clock, no waiting, no tasks.

    add ──▶ ready (urgent | normal) ──take──▶ running ──finish──▶ idle, ready or delayed
    add_at ──▶ delayed ──its time comes──▶ ready

- A key is in one of these places only, so it is never worked on twice at a time and a burst of
  events about it costs one reconcile.
- What is added while it runs becomes ready when it finishes: the run may have read the world before
  the event.
- Taking a key drops its delay: the reconcile that now runs decides when to look again.
"""

import heapq
from collections import OrderedDict
from dataclasses import dataclass

from qwen3_operator.controller.keys import Key

URGENT_IN_A_ROW = 8
"""After so many urgent keys one normal key gets its turn, so that a stream of new objects can't
stop the others."""


@dataclass(frozen=True)
class Taken:
    """A key to be worked on.

    waited: seconds since it became ready.
    """

    key: Key
    waited: float
    urgent: bool


class Schedule:
    """The state of the work queue; every time is in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._ready: dict[bool, OrderedDict[Key, float]] = {
            True: OrderedDict(),
            False: OrderedDict(),
        }
        self._due: dict[Key, float] = {}
        # May hold stale entries: `_due` says which time counts.
        self._heap: list[tuple[float, Key]] = []
        # Running keys; the value is what was asked for meanwhile: None, or the urgency.
        self._running: dict[Key, bool | None] = {}
        self._urgent_in_a_row = 0

    @property
    def ready(self) -> int:
        """Number of keys that wait for a worker."""
        return len(self._ready[True]) + len(self._ready[False])

    @property
    def delayed(self) -> int:
        """Number of keys that wait for their time."""
        return len(self._due)

    @property
    def running(self) -> frozenset[Key]:
        """Keys that are worked on."""
        return frozenset(self._running)

    def add(self, key: Key, now: float, *, urgent: bool = False) -> None:
        """Make a key ready. Urgency only ever rises while it waits."""
        if key in self._running:
            self._running[key] = bool(self._running[key]) or urgent
            return
        self._due.pop(key, None)
        since = self._ready[False].get(key, now)
        if key in self._ready[True]:
            return
        if urgent:
            self._ready[False].pop(key, None)
        self._ready[urgent].setdefault(key, since)

    def add_at(self, key: Key, when: float) -> None:
        """Make a key ready at a time; the earlier of two times counts, and ready stays ready."""
        if key in self._running or key in self._ready[True] or key in self._ready[False]:
            return
        if when < self._due.get(key, float("inf")):
            self._due[key] = when
            heapq.heappush(self._heap, (when, key))

    def take(self, now: float) -> Taken | None:
        """The next key, which then runs until `finish`; None when nothing is ready."""
        self._promote(now)
        urgent = self._is_urgents_turn()
        queue = self._ready[urgent]
        if not queue:
            return None
        key, since = queue.popitem(last=False)
        self._urgent_in_a_row = self._urgent_in_a_row + 1 if urgent else 0
        self._running[key] = None
        return Taken(key, max(0.0, now - since), urgent)

    def finish(self, key: Key, now: float, again_at: float | None = None) -> None:
        """The work is done; look again at `again_at`, or at once if it was added meanwhile."""
        asked = self._running.pop(key)
        if asked is not None:
            self.add(key, now, urgent=asked)
        elif again_at is not None:
            self.add_at(key, again_at)

    def next_due(self) -> float | None:
        """When the next delayed key becomes ready."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _promote(self, now: float) -> None:
        while (due := self.next_due()) is not None and due <= now:
            _, key = heapq.heappop(self._heap)
            del self._due[key]
            self._ready[False].setdefault(key, due)

    def _is_urgents_turn(self) -> bool:
        if not self._ready[False]:
            return True
        return bool(self._ready[True]) and self._urgent_in_a_row < URGENT_IN_A_ROW
