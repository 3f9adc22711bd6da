"""What the parent does with the messages of a training worker."""

import time
from pathlib import Path
from typing import Protocol

from qwen3_trainer.checkpoints import CheckpointUploader
from qwen3_trainer.progress import Pace, ProgressWriter
from qwen3_trainer.worker.messages import Message, Saved, Started, Step, Trained


class Counts(Protocol):
    """Where the steps are counted for the report."""

    step: int
    total_steps: int | None


class TrainingEvents:
    """Turns messages into progress, and hands checkpoints to the uploader."""

    def __init__(
        self, counts: Counts, writer: ProgressWriter, uploader: CheckpointUploader
    ) -> None:
        self._counts = counts
        self._writer = writer
        self._uploader = uploader
        self._pace = Pace()

    def on_message(self, message: Message) -> None:
        """Takes one message; never waits for the bucket."""
        if isinstance(message, Started):
            self._counts.step, self._counts.total_steps = message.step, message.total_steps
            self._writer.update(
                phase="Training", step=message.step, total_steps=message.total_steps
            )
        elif isinstance(message, Step):
            self._on_step(message)
        elif isinstance(message, Saved):
            self._counts.step = message.step
            self._uploader.submit(Path(message.folder), message.step)
        elif isinstance(message, Trained):
            self._counts.step = message.steps

    def _on_step(self, message: Step) -> None:
        self._counts.step = message.step
        fields = {
            "step": message.step,
            "epoch": message.epoch,
            "loss": message.loss,
            "eval_loss": message.eval_loss,
            "learning_rate": message.learning_rate,
        }
        if message.loss is not None:
            self._pace.observe(time.monotonic(), message.step, message.tokens)
        if self._counts.total_steps is not None:
            fields["eta_seconds"] = self._pace.eta_seconds(self._counts.total_steps)
        fields["tokens_per_second"] = self._pace.tokens_per_second
        # An evaluation has no loss and a logged step no eval loss: what was known stays.
        self._writer.update(**{k: v for k, v in fields.items() if v is not None})
