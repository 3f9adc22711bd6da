"""progress.json: what the run is doing, written at most every `progress_seconds`.

The writer is a thread with one slot: whoever reports never waits, and a slow or absent bucket costs
a log line and nothing else.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from qwen3_api.job.report import Progress
from qwen3_api.pod.failure import FailureError

log = logging.getLogger(__name__)

Write = Callable[[bytes], None]
WINDOW_SECONDS = 60.0
"""Span over which speed is measured."""
HEARTBEAT_SECONDS = 60.0
"""Longest time between two writes: the GPU seconds go on while a model loads."""
CLOSE_SECONDS = 15.0
"""How long the end waits for a write that is under way."""


def now() -> str:
    """RFC 3339, UTC, seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Pace:
    """Speed from observations of (time, step, tokens). Pure but for its memory."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._seen: deque[tuple[float, int, int]] = deque()

    def observe(self, at: float, step: int, tokens: int) -> None:
        """A step was reached at `at` (monotonic seconds) after `tokens` in all."""
        self._seen.append((at, step, tokens))
        while len(self._seen) > 2 and at - self._seen[1][0] >= self._window:
            self._seen.popleft()

    @property
    def tokens_per_second(self) -> float | None:
        """Over the window; None before two observations."""
        span = self._span()
        return None if span is None else round(span[2] / span[0], 1)

    def eta_seconds(self, total_steps: int) -> int | None:
        """Seconds until the last step at this pace; None before two observations."""
        span = self._span()
        if span is None or span[1] == 0:
            return None
        return round((total_steps - self._seen[-1][1]) * span[0] / span[1])

    def _span(self) -> tuple[float, int, int] | None:
        if len(self._seen) < 2:
            return None
        first, last = self._seen[0], self._seen[-1]
        elapsed = last[0] - first[0]
        return (elapsed, last[1] - first[1], last[2] - first[2]) if elapsed > 0 else None


class ProgressWriter:
    """Keeps the newest progress and writes it from a thread of its own."""

    def __init__(
        self,
        first: Progress,
        write: Write,
        seconds: float,
        stamp: Callable[[], dict[str, Any]] = dict,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        """`stamp` tells the fields that change by themselves, at the moment of each write."""
        self._write = write
        self._seconds = seconds
        self._stamp = stamp
        self._heartbeat = heartbeat
        self._current = first
        self._dirty = False
        self._closing = False
        self._condition = threading.Condition()
        self._last_write = time.monotonic()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Starts the thread; the first progress was written by whoever checked the storage."""
        self._thread.start()

    @property
    def current(self) -> Progress:
        """The newest progress."""
        return self._current

    def update(self, **fields: Any) -> None:
        """Changes fields of the progress."""
        with self._condition:
            self._current = self._current.model_copy(update=fields)
            self._dirty = True
            self._condition.notify()

    def close(self) -> None:
        """Writes what is still unwritten and ends the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._dirty or self._closing, self._heartbeat)
                # Only now is it known when the next write is due.
                self._condition.wait_for(lambda: self._closing, self._remaining())
                if self._closing and not self._dirty:
                    return
                stamped = {"updated": now(), **self._stamp()}
                document = self._current.model_copy(update=stamped)
                self._dirty = False
            self._put(document)

    def _remaining(self) -> float:
        return max(0.0, self._last_write + self._seconds - time.monotonic())

    def _put(self, document: Progress) -> None:
        self._last_write = time.monotonic()
        try:
            self._write(document.to_json())
        except FailureError as error:
            if not self._failing:
                log.warning("progress can't be written, training continues: %s", error.message)
            self._failing = True
            return
        except Exception:
            # The heartbeat must survive it, and whoever reports has nothing to do with it.
            log.warning("progress can't be written, training continues", exc_info=True)
            self._failing = True
            return
        if self._failing:
            log.info("progress is written again")
        self._failing = False
