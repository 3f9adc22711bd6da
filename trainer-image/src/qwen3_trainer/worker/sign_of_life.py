"""Tells the parent that work goes on between two logged steps."""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import Alive

SECONDS = 5.0
"""Shortest time between two signs."""


class SignOfLife(TrainerCallback):  # type: ignore[misc]  # transformers is Any here
    """Sends Alive after steps and evaluated batches, not more often than every `SECONDS`.

    The parent's stall guard lives on it: of a long run only each thousandth part is logged, and an
    evaluation logs nothing until its end.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last = time.monotonic()

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """An optimiser step was made."""
        self._sign(state)

    def on_prediction_step(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A batch was evaluated."""
        self._sign(state)

    def _sign(self, state: TrainerState) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS:
            self._last = now
            self._channel.send(Alive(step=state.global_step))
