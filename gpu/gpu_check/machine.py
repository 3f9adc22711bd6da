"""One machine's S3 server, base model and way to run an attempt."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpu_check import rows
from gpu_check.orders import BASE_PREFIX, LONG_KEY, PAIRS_KEY, TRAIN_KEY, example_spec
from gpu_check.watch import GpuMemory, ProgressWatch
from qwen3_api.job.base import S3Location
from qwen3_api.job.train import TrainJob
from qwen3_local.s3 import ensure_bucket
from qwen3_trainer.environment import ENV_ALLOW_CPU, prepare_process, training_environment
from support.trainer_runs import Attempt, Store, start_attempt

ATTEMPT_SECONDS = 900.0
"""Longest attempt before the check gives up."""
Meanwhile = Callable[[Attempt, ProgressWatch], None]
_OWN = re.compile("QWEN3_|AWS_")


@dataclass(frozen=True)
class Size:
    """How much the scenarios train."""

    base: str
    """Key of `base_model.SHAPES`."""
    rows: int
    words: tuple[int, int]
    example_rows: int
    example_words: tuple[int, int]
    steps: int
    every_steps: int
    preference_steps: int
    """Of `dpo`: enough to prefer the chosen answers."""


GPU_SIZE = Size("0.6B", 320, (250, 750), 128, (400, 2800), 120, 20, 30)
CPU_SIZE = Size("tiny", 32, (20, 40), 16, (20, 40), 8, 2, 16)


def gpu_size(base: str) -> Size:
    """What is trained on a GPU: fewer rows of the example on 8B, which is 14 times the work."""
    return replace(GPU_SIZE, base=base, example_rows=64 if base == "8B" else GPU_SIZE.example_rows)


LONG_WORDS = (6000, 6100)
"""Of the rows that are to fill the memory: more than 4,096 tokens."""
LONG_ROWS = 64


@dataclass
class Observed:
    """An attempt that has ended, and what was seen of it."""

    attempt: Attempt
    exit_code: int
    ended: float
    """Monotonic seconds, like `attempt.started`."""
    progress: ProgressWatch
    memory: GpuMemory

    @property
    def bounds(self) -> tuple[float, float]:
        """Start and end, monotonic seconds."""
        return self.attempt.started, self.ended

    @property
    def seconds(self) -> float:
        """From start to end."""
        return self.ended - self.attempt.started


@dataclass(frozen=True)
class Machine:
    """Where attempts run."""

    folder: Path
    store: Store
    size: Size
    on_cpu: bool

    @property
    def gpus(self) -> int:
        """GPUs here; on a CPU, processes that stand for them."""
        if self.on_cpu:
            return 2
        command = ["nvidia-smi", "--list-gpus"]
        listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return len(listed.splitlines())

    @property
    def bucket(self) -> S3Location:
        """The platform's bucket."""
        return self.store.location

    def prepare(self) -> None:
        """Uploads the base model and the data."""
        self._upload_base()
        size = self.size
        self.store.put(TRAIN_KEY, rows.messages_rows(size.rows, size.words, seed=1))
        self.store.put(LONG_KEY, rows.messages_rows(LONG_ROWS, LONG_WORDS, seed=2))
        self.store.put(PAIRS_KEY, rows.preference_rows(size.rows, size.words, seed=5))
        dataset = example_spec()["dataset"]
        for role, count, seed in (("train", size.example_rows, 3), ("validation", 8, 4)):
            bucket, _, key = dataset[role]["s3"]["uri"].removeprefix("s3://").partition("/")
            ensure_bucket(self.store.server, bucket)
            body = rows.compressed(rows.messages_rows(count, size.example_words, seed))
            self.store.client.put_object(Bucket=bucket, Key=key, Body=body)

    def row_bounds(self, job: TrainJob) -> list[dict[str, Any]]:
        """What `row_bounds` prints, in the environment of the trainer's worker.

        Raises AssertionError when it fails; its log is kept.
        """
        folder = self.folder / job.name
        folder.mkdir()
        _make_base(self.size.base, folder / "base")
        (folder / "job.json").write_bytes(job.to_json())
        environ = self._environment()
        prepare_process(folder / "home", environ)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "gpu_check.row_bounds"),
                *(str(folder / "job.json"), str(folder / "base")),
            ],
            env=training_environment(environ, job),
            capture_output=True,
            text=True,
            check=False,
        )
        (folder / "log").write_text(done.stderr)
        shutil.rmtree(folder / "base")
        if done.returncode != 0:
            raise AssertionError(f"row_bounds ended with {done.returncode}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def _environment(self) -> dict[str, str]:
        """Of a pod on this machine, without what this process was told itself."""
        environ = {k: v for k, v in os.environ.items() if not _OWN.match(k)}
        return environ | ({ENV_ALLOW_CPU: "1"} if self.on_cpu else {})

    def _upload_base(self) -> None:
        started, folder = time.monotonic(), self.folder / "base"
        made = _make_base(self.size.base, folder)
        written = time.monotonic()
        self.store.upload_folder(folder, BASE_PREFIX)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e9
        print(
            f"base {self.size.base}: {made.strip()}, {size:.2f} GB, made in "
            f"{written - started:.0f} s, uploaded in {time.monotonic() - written:.0f} s",
            flush=True,
        )
        shutil.rmtree(folder)

    def start(
        self, job: TrainJob, uid: str, *, without_gpu: bool = False, memory: int | None = None
    ) -> Attempt:
        """Starts an attempt as its pod would. `memory` limits its address space, in bytes."""
        environ = self._environment()
        if without_gpu:
            environ["CUDA_VISIBLE_DEVICES"] = ""
            environ.pop(ENV_ALLOW_CPU, None)
        attempt = start_attempt(
            job,
            uid,
            self.folder / f"{job.name}-{uid}",
            self.store,
            environ=environ,
        )
        if memory is not None:
            resource.prlimit(attempt.process.pid, resource.RLIMIT_AS, (memory, memory))
        return attempt

    def observe(self, attempt: Attempt, meanwhile: Meanwhile = lambda *_: None) -> Observed:
        """Waits for the end of an attempt, after doing something to it."""
        try:
            with GpuMemory() as memory, ProgressWatch(attempt) as watch:
                meanwhile(attempt, watch)
                exit_code = attempt.wait(ATTEMPT_SECONDS)
                ended = time.monotonic()
        finally:
            if attempt.process.poll() is None:
                attempt.process.kill()
                attempt.process.wait()
            # The base model is in there: 16 GB for 8B.
            shutil.rmtree(attempt.folder / "work", ignore_errors=True)
        return Observed(attempt, exit_code, ended, watch, memory)


def _make_base(size: str, folder: Path) -> str:
    """Writes it; what the process says about it."""
    command = [sys.executable, "-m", "gpu_check.base_model", size, str(folder)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
