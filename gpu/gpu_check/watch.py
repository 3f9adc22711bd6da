"""What is seen of an attempt from outside while it runs: phases, steps, memory of the GPU."""

import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.report import Progress
from support.trainer_runs import BUCKET, Attempt

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Seen:
    """progress.json at a moment (monotonic seconds)."""

    at: float
    phase: str
    step: int


class ProgressWatch:
    """Reads progress.json of an attempt until closed, and keeps every change.

    Leaving it raises what went wrong while reading, a progress.json against the contract included.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._client = attempt.store.client
        self._key = f"{attempt.prefix}/{layout.PROGRESS}"
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None
        self.seen: list[Seen] = []
        self.has_checkpoint = False

    def __enter__(self) -> "ProgressWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        if self._error is not None:
            raise AssertionError(f"progress.json: {self._error}") from self._error

    def _run(self) -> None:
        try:
            while not self._closed.wait(POLL_SECONDS):
                self._look()
        except (ValidationError, BotoCoreError, ClientError) as error:
            self._error = error

    def _look(self) -> None:
        try:
            body = self._client.get_object(Bucket=BUCKET, Key=self._key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return
        progress = Progress.model_validate_json(body)
        self.has_checkpoint = progress.checkpoint is not None
        last = self.seen[-1] if self.seen else None
        if last is None or (last.phase, last.step) != (progress.phase, progress.step):
            self.seen.append(Seen(time.monotonic(), progress.phase, progress.step))

    def phase_bounds(self, phase: str) -> tuple[float, float] | None:
        """When a phase was first seen, and when the next one was."""
        started = next((s.at for s in self.seen if s.phase == phase), None)
        if started is None:
            return None
        ended = next((s.at for s in self.seen if s.at > started and s.phase != phase), None)
        return started, ended or self.seen[-1].at

    def steps_per_second(self, from_step: int) -> float | None:
        """Pace of the optimiser from a step on; None if fewer than two later steps were seen."""
        steps = [s for s in self.seen if s.phase == "Training" and s.step >= from_step]
        if len(steps) < 2 or steps[-1].step == steps[0].step:
            return None
        return (steps[-1].step - steps[0].step) / (steps[-1].at - steps[0].at)


@dataclass
class GpuMemory:
    """Samples of a GPU's used memory, five a second, by nvidia-smi; none without it.

    PyTorch keeps what it has allocated once, so a peak of more than 0.2 s is not missed.
    """

    samples: list[tuple[float, int]] = field(default_factory=list)
    """(monotonic seconds, MiB)."""
    _process: "subprocess.Popen[str] | None" = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> "GpuMemory":
        if shutil.which("nvidia-smi") is None:
            return self
        device = (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0]
        self._process = subprocess.Popen(
            [
                *("nvidia-smi", f"--id={device}", "--query-gpu=memory.used"),
                *("--format=csv,noheader,nounits", "--loop-ms=200"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._thread is not None:
            self._process.terminate()
            self._process.wait()
            self._thread.join()

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None  # noqa: S101, PT018
        for line in self._process.stdout:
            if line.strip().isdigit():
                self.samples.append((time.monotonic(), int(line)))

    def peak_gib(self, bounds: tuple[float, float] | None) -> float | None:
        """Highest sample within bounds, in GiB; None if there is none."""
        if bounds is None:
            return None
        inside = [mib for at, mib in self.samples if bounds[0] <= at <= bounds[1]]
        return max(inside) / 1024 if inside else None
