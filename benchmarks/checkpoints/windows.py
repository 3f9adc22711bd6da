"""The training: `python -m benchmarks.checkpoints.windows FOLDER RESULTS PAIRS WARM_UP`.

Runs where the ML stack is. FOLDER has job.json and base/; each window is written to RESULTS when it
is over, so that a run that is cut short was not in vain. Worker, uploader and checkpoint store are
those of a pod; only the hand that passes checkpoints on is this.
"""

import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path

from benchmarks.checkpoints.figures import Window, draw_arms
from qwen3_api.job.report import SavedCheckpoint
from qwen3_api.job.train import TrainJob
from qwen3_trainer.attempt import Attempt
from qwen3_trainer.checkpoints import CheckpointStore, CheckpointUploader, Origin
from qwen3_trainer.data.dataset import prepare
from qwen3_trainer.environment import Paths, prepare_process, training_environment
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.worker.messages import Message, Saved, Step, TrainPlan

SEED = 3407
UID = "pod-1"


class Windows:
    """Takes the worker's messages, uploads in every other window, and keeps the times."""

    def __init__(self, store: CheckpointStore, results: Path, pairs: int, warm_up: int) -> None:
        """`warm_up` checkpoints are uploaded before the first window."""
        self._store = store
        self._results = results
        self._warm_up = warm_up
        self._arms = iter(draw_arms(pairs, SEED))
        self._uploader = CheckpointUploader(self._save, lambda _: None)
        self._now: Window | None = None
        self._last = 0.0

    def start(self) -> None:
        """Starts the uploader."""
        self._uploader.start()

    def close(self) -> None:
        """Waits for the last upload."""
        self._uploader.close()

    def on_message(self, message: Message) -> None:
        """A step is counted, a checkpoint begins a window."""
        at = time.monotonic()
        if isinstance(message, Step) and message.loss is not None:
            if self._now is not None:
                self._now.steps.append(at - self._last)
            self._last = at
        elif isinstance(message, Saved):
            if self._now is not None:
                with self._results.open("a") as file:
                    file.write(json.dumps(self._now.to_json()) + "\n")
            self._begin(message, saving=at - self._last)
            self._last = time.monotonic()

    def _begin(self, message: Saved, saving: float) -> None:
        folder, self._now = Path(message.folder), None
        if self._warm_up > 0:
            self._warm_up -= 1
            self._uploader.submit(folder, message.step)
            return
        uploads = next(self._arms, None)
        if uploads is not None:
            self._now = Window(uploads, saving_seconds=saving)
        if uploads:
            self._uploader.submit(folder, message.step)
        else:
            shutil.rmtree(folder)

    def _save(self, folder: Path, step: int) -> SavedCheckpoint:
        window, begun = self._now, time.monotonic()
        saved = self._store.save(folder, step)
        if window is not None:
            window.upload_seconds = time.monotonic() - begun
            window.size = sum(path.stat().st_size for path in folder.iterdir())
        return saved


def main(folder: Path, results: Path, pairs: int, warm_up: int) -> None:
    """Trains."""
    logging.basicConfig(level=logging.INFO)
    job = TrainJob.model_validate_json((folder / "job.json").read_bytes())
    work = folder / "work"
    work.mkdir()
    prepare_process(work)
    attempt = Attempt(job, UID, Paths(work, folder / "termination"), Shutdown(), dict(os.environ))
    data = prepare(job, attempt.buckets, work / "data")
    store = CheckpointStore(
        attempt.bucket,
        revision=attempt.revision,
        attempt=UID,
        spec_hash=job.spec_hash,
        origin=Origin(dataset_sha256=data.train.sha256, base_commit="random"),
        keep_last=job.checkpoint.keep_last,
    )
    windows = Windows(store, results, pairs, warm_up)
    plan = TrainPlan(
        job=job,
        base=str(folder / "base"),
        train_rows=str(data.train.path),
        validation_rows=None,
        output=str(work / "output"),
        resume_from=None,
        allow_cpu=job.gpus == 0,
    )
    windows.start()
    attempt.run_worker(
        "train", plan, training_environment(os.environ, job), on_message=windows.on_message
    )
    windows.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
