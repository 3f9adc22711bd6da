"""What the parent does with the messages of a training worker."""

import time
from pathlib import Path
from typing import Protocol

from qwen3_trainer.checkpoints import CheckpointUploader
from qwen3_trainer.guards import Guards
from qwen3_trainer.progress import Pace, ProgressWriter
from qwen3_trainer.worker.messages import Alive, Message, Saved, Started, Step, Tracked, Trained


class Counts(Protocol):
    """Where the steps are counted for the report."""

    step: int
    total_steps: int | None
    longest_row: int | None


class TrainingEvents:
    """Turns messages into progress, feeds the guards, and hands checkpoints to the uploader."""

    def __init__(
        self,
        counts: Counts,
        writer: ProgressWriter,
        uploader: CheckpointUploader,
        guards: Guards,
    ) -> None:
        self._counts = counts
        self._writer = writer
        self._uploader = uploader
        self._guards = guards
        self._pace = Pace()

    def on_message(self, message: Message) -> None:
        """Takes one message; never waits for the bucket.

        Raises FailureError: LossDiverged, and DiskFull when a checkpoint can't be prepared.
        """
        if isinstance(message, Started | Alive | Step | Saved):
            loss = message.loss if isinstance(message, Step) else None
            self._guards.alive(message.step, loss)
            self._counts.step = message.step
        if isinstance(message, Started):
            self._counts.total_steps = message.total_steps
            self._counts.longest_row = message.longest
            self._writer.update(
                phase="Training", step=message.step, total_steps=message.total_steps
            )
        elif isinstance(message, Step):
            self._on_step(message)
        elif isinstance(message, Alive):
            self._writer.update(step=message.step)
        elif isinstance(message, Saved):
            # Of a long run not each step is logged: no checkpoint of a step that wasn't told.
            self._writer.update(step=message.step)
            self._uploader.submit(Path(message.folder), message.step)
        elif isinstance(message, Tracked):
            self._writer.update(tracking_url=message.url)
        elif isinstance(message, Trained):
            self._counts.step = message.steps

    def _on_step(self, message: Step) -> None:
        fields = {
            "step": message.step,
            "epoch": message.epoch,
            "loss": message.loss,
            "eval_loss": message.eval_loss,
            "best_step": message.best_step,
            "best_eval_loss": message.best_eval_loss,
            "learning_rate": message.learning_rate,
            "gpu_memory_mib": message.gpu_memory_mib,
        }
        if message.loss is not None:
            self._pace.observe(time.monotonic(), message.step, message.tokens)
        if self._counts.total_steps is not None:
            fields["eta_seconds"] = self._pace.eta_seconds(self._counts.total_steps)
        fields["tokens_per_second"] = self._pace.tokens_per_second
        # An evaluation has no loss and a logged step no eval loss: what was known stays.
        self._writer.update(**{k: v for k, v in fields.items() if v is not None})
