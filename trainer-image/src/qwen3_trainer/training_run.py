"""The training step: workers one after the other until one ends well, each smaller than the last.

A worker whose GPU ran out of memory is followed by the next rung of `ladder`, in the same pod: the
GPU is kept, and it goes on from the newest checkpoint.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qwen3_api.job import layout
from qwen3_api.job.report import SavedCheckpoint, Sizing
from qwen3_api.pod.failure import FailureError
from qwen3_trainer import ladder
from qwen3_trainer.attempt import Attempt
from qwen3_trainer.base_model import BaseModel
from qwen3_trainer.checkpoints import CheckpointUploader, Restored
from qwen3_trainer.data.dataset import PreparedData
from qwen3_trainer.environment import TRACKING_FOLDER, cpu_is_allowed, training_environment
from qwen3_trainer.extras import extra
from qwen3_trainer.failures import GpuMemoryError, Interrupted, memory_hint
from qwen3_trainer.guards import Guards
from qwen3_trainer.progress import ProgressWriter
from qwen3_trainer.training_events import TrainingEvents
from qwen3_trainer.wandb_runs import upload_offline_runs
from qwen3_trainer.worker.messages import Trained, TrainPlan

log = logging.getLogger(__name__)

MAX_ADAPTATIONS = 16
"""Lines that progress.json takes."""


@dataclass
class TrainingRun:
    """What the workers of one attempt share."""

    attempt: Attempt
    writer: ProgressWriter
    save: Callable[[Path, int], SavedCheckpoint]
    """Takes a local checkpoint to the bucket (`CheckpointStore.save`)."""
    data: PreparedData
    base: BaseModel
    restored: Restored | None
    start: Path | None
    """Folder of the adapter to start from."""

    @property
    def output(self) -> Path:
        """Folder of the workers: checkpoints, the adapter and caches."""
        return self.attempt.paths.work / "output"

    def train(self) -> Trained:
        """Trains in workers. The last checkpoint is in the bucket when this returns or raises.

        Raises FailureError: OutOfMemory from the lowest rung, StallDetected, BudgetExhausted,
        LossDiverged, DiskFull, and what a worker fails with. Raises Interrupted.
        """
        uploader = CheckpointUploader(self.save, self._on_saved)
        uploader.start()
        try:
            while True:
                try:
                    return self._one_worker(uploader)
                except GpuMemoryError as error:
                    self._step_down(error)
        finally:
            with self.attempt.shutdown.finishing():
                uploader.close()
                extra("the upload of the offline W&B run", self._upload_tracking, None)

    def _upload_tracking(self) -> None:
        attempt = self.attempt
        prefix = layout.wandb_prefix(attempt.revision, attempt.pod_uid)
        upload_offline_runs(attempt.bucket, prefix, attempt.paths.work / TRACKING_FOLDER)

    def _on_saved(self, saved: SavedCheckpoint) -> None:
        self.writer.update(checkpoint=saved)

    def _one_worker(self, uploader: CheckpointUploader) -> Trained:
        attempt = self.attempt
        guards = Guards(attempt.job, attempt.budget, time.monotonic)
        events = TrainingEvents(attempt, self.writer, uploader, guards)
        try:
            last = attempt.run_worker(
                "train",
                self._plan(uploader.newest),
                training_environment(attempt.environ, attempt.job),
                on_message=events.on_message,
                watch=guards,
                processes=max(1, attempt.job.gpus),
            )
        except Interrupted as interrupted:
            if not guards.stopping:
                raise
            raise guards.exhausted(interrupted.step) from None
        assert isinstance(last, Trained)  # noqa: S101  (the train command's last message)
        return last

    def _plan(self, newest: Path | None) -> TrainPlan:
        resume, best = newest, None
        if self.restored is not None:
            resume, best = newest or self.restored.folder, self.restored.best
        return TrainPlan(
            job=ladder.with_sizing(self.attempt.job, self.attempt.sizing),
            base=str(self.base.path),
            train_rows=str(self.data.train.path),
            validation_rows=str(self.data.validation.path) if self.data.validation else None,
            output=str(self.output),
            resume_from=str(resume) if resume else None,
            best_checkpoint=str(best) if best else None,
            allow_cpu=cpu_is_allowed(self.attempt.environ),
            start_adapter=str(self.start) if self.start else None,
        )

    def _step_down(self, error: GpuMemoryError) -> None:
        """Takes the next rung. Raises FailureError: OutOfMemory, when there is none."""
        attempt, guards = self.attempt, self.attempt.job.guards
        rung = ladder.next_rung(attempt.sizing, allow_quantization=guards.allow_quantization)
        if rung is None or not guards.adapt_to_memory:
            raise self._give_up(error) from error
        attempt.shutdown.check()
        step = attempt.step if error.step is None else error.step
        line = adaptation(step, error.use, rung)
        log.warning("%s (%s)", line, error.message)
        attempt.sizing = rung.sizing
        attempt.adaptations.append(line)
        self.writer.update(
            phase="LoadingModel",
            sizing=attempt.sizing,
            adaptations=attempt.adaptations[-MAX_ADAPTATIONS:],
        )

    def _give_up(self, error: GpuMemoryError) -> FailureError:
        attempt = self.attempt
        return FailureError(
            error.reason,
            exhausted_message(error, attempt.sizing, attempt.adaptations),
            memory_hint(ladder.with_sizing(attempt.job, attempt.sizing), attempt.longest_row),
            error.step,
        )


def adaptation(step: int, use: ladder.MemoryUse | None, rung: ladder.Rung) -> str:
    """The line in progress.json about a rung."""
    held = f" at {use}" if use else ""
    return f"step {step}: out of memory{held}: {rung.change}"


def exhausted_message(error: GpuMemoryError, sizing: Sizing, tried: list[str]) -> str:
    """What failed last, how much it held, what was tried before, and the error's own words."""
    held = f", which held {error.use}," if error.use else ""
    before = f"; before that: {'; '.join(tried)}" if tried else ""
    return f"out of memory with {ladder.describe(sizing)}{held}{before}. {error.message}"
