"""SIGTERM, by the phase that it meets.

| phase                      | SIGTERM means                                                      |
|----------------------------|--------------------------------------------------------------------|
| loading, verifying         | raise Interrupted at once: nothing is lost                          |
| training (`forwarding`)    | pass it on: the worker checkpoints at its next step and ends        |
| committing (`finishing`)   | noted only: the rest takes seconds, and half of it helps nobody     |

A second SIGTERM does what the first one did, except that Interrupted is raised once.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from qwen3_trainer.failures import Interrupted


class Shutdown:
    """The state behind the handler; all of it runs in the main thread."""

    def __init__(self) -> None:
        self.requested = False
        self._raised = False
        self._finishing = False
        self._stop_worker: Callable[[], None] | None = None

    def install(self) -> None:
        """Takes SIGTERM over."""
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _signum: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self._finishing:
            return
        if self._stop_worker is not None:
            self._stop_worker()
            return
        if not self._raised:
            self._raised = True
            raise Interrupted

    def check(self) -> None:
        """Raises Interrupted if SIGTERM came while a worker was busy with it."""
        if self.requested and not self._raised:
            self._raised = True
            raise Interrupted

    @contextmanager
    def forwarding(self, stop_worker: Callable[[], None]) -> Iterator[None]:
        """SIGTERM goes to the worker; one that came before the border goes on to it too.

        `stop_worker` must not reach another process that got the worker's id.
        """
        self._stop_worker = stop_worker
        if self.requested:
            stop_worker()
        try:
            yield
        finally:
            self._stop_worker = None

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """SIGTERM is only noted."""
        before, self._finishing = self._finishing, True
        try:
            yield
        finally:
            self._finishing = before
