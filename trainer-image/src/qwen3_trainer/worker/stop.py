"""SIGTERM in a worker: a flag that the training loop reads at its step boundaries."""

import signal
from types import FrameType


class StopFlag:
    """Whether the worker received SIGTERM. A second one changes nothing."""

    def __init__(self) -> None:
        self.requested = False

    def install(self) -> None:
        """Takes SIGTERM over."""
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _signum: int, _frame: FrameType | None) -> None:
        self.requested = True
