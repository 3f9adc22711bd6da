"""SIGTERM, by the phase that it meets.

| phase                      | SIGTERM means                                                      |
|----------------------------|--------------------------------------------------------------------|
| loading, verifying         | raise Interrupted at once: nothing is lost                          |
| training (`forwarding`)    | pass it on: the worker checkpoints at its next step and ends        |
| committing (`finishing`)   | noted only: the rest takes seconds, and half of it helps nobody     |

A second SIGTERM does what the first one did, except that Interrupted is raised once.
"""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from qwen3_trainer.failures import Interrupted


class Shutdown:
    """The state behind the handler; all of it runs in the main thread."""

    def __init__(self) -> None:
        self.requested = False
        self._raised = False
        self._finishing = False
        self._worker: subprocess.Popen[str] | None = None

    def install(self) -> None:
        """Takes SIGTERM over."""
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _signum: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self._finishing:
            return
        if self._worker is not None:
            # Popen checks that the process was not reaped, so the id cannot be another's.
            self._worker.send_signal(signal.SIGTERM)
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
    def forwarding(self, worker: "subprocess.Popen[str]") -> Iterator[None]:
        """SIGTERM goes to the worker; one that came before the border goes on to it too."""
        self._worker = worker
        if self.requested:
            worker.send_signal(signal.SIGTERM)
        try:
            yield
        finally:
            self._worker = None

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """SIGTERM is only noted."""
        before, self._finishing = self._finishing, True
        try:
            yield
        finally:
            self._finishing = before
