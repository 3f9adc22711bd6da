"""Workers one after the other, by the parent's real code. In the worker's place stands a program
that reads its plan, "needs" memory for the micro-batch in it, and ends as a worker would."""

import json
import os
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ACTIONS, ExitCode, PodFailureAction
from qwen3_api.job.report import Progress, SavedCheckpoint
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.attempt import Attempt
from qwen3_trainer.base_model import BaseModel
from qwen3_trainer.checkpoints import Restored
from qwen3_trainer.data.dataset import PreparedData, Rows
from qwen3_trainer.environment import Paths
from qwen3_trainer.failures import Interrupted
from qwen3_trainer.progress import ProgressWriter
from qwen3_trainer.run import verify
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.training_run import TrainingRun
from qwen3_trainer.worker.messages import TrainPlan
from support.train_jobs import train_job

WORKER = """
import json, os, pathlib, signal, sys
# Before the parent learns of the start: an early signal waits.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
out = os.fdopen(int(sys.argv[3]), "w")
plan = json.loads(pathlib.Path(sys.argv[2]).read_text())

def send(kind, **fields):
    print(json.dumps({"kind": kind, **fields}), file=out, flush=True)

if sys.argv[1] == "verify":
    while pathlib.Path("hang").exists():
        signal.pause()
    send("verified", sample="4 bits" if plan["job"]["adapter"]["quantized"] else "16 bits")
    sys.exit(0)
hyper, output = plan["job"]["hyperparameters"], pathlib.Path(plan["output"])
output.mkdir(exist_ok=True)
with (output.parent / "plans").open("a") as plans:
    plans.write(json.dumps(plan) + chr(10))

def save(step):
    folder = output / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "trainer_state.json").write_text("{}")
    send("saved", step=step, folder=str(folder))

def out_of_memory(step):
    failure = {"reason": "OutOfMemory", "message": "CUDA out of memory", "step": step}
    send("failed", failure=failure, gpu_peak_mib=79000, gpu_total_mib=81920)
    sys.exit(44)

def trained(steps):
    send("trained", adapter=str(output / "adapter"), steps=steps, epochs=1.0, tokens=10,
         final_loss=0.5, train_loss=0.6, eval_loss=None, train_seconds=1.0, truncated_rows=0,
         chat_template_sha256="0" * 64)

resume = plan["resume_from"]
begun = int(resume.rpartition("-")[2]) if resume else 0
send("started", step=begun, total_steps=20, longest=100)
"""
CLIMBING = """
if hyper["micro_batch_size"] > 2:
    save(begun + 5)
    out_of_memory(begun + 6)
trained(20)
"""
NEVER = "out_of_memory(0)"


@pytest.fixture
def shutdown() -> Iterator[Shutdown]:
    """Installed for one test."""
    before = signal.getsignal(signal.SIGTERM)
    made = Shutdown()
    made.install()
    yield made
    signal.signal(signal.SIGTERM, before)


class Run:
    """A training run with a stand-in worker."""

    def __init__(
        self,
        folder: Path,
        program: str,
        shutdown: Shutdown | None = None,
        restored: int | None = None,
        **changes: Any,
    ) -> None:
        package = folder / "fake" / "qwen3_trainer"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "worker.py").write_text(WORKER + textwrap.dedent(program))
        work = folder / "work"
        work.mkdir()
        self.attempt = Attempt(
            train_job(**{"hyperparameters.micro_batch_size": 8, **changes}),
            "pod-1",
            Paths(work, folder / "termination-log"),
            shutdown or Shutdown(),
            {**os.environ, "PYTHONPATH": str(folder / "fake"), "QWEN3_ALLOW_CPU": "1"},
        )
        self.uploaded: list[int] = []
        self.on_upload: Callable[[], None] = lambda: None
        first = Progress(
            attempt="pod-1", phase="Starting", step=0, total_steps=None, started="t", updated="t"
        )
        self.writer = ProgressWriter(first, lambda _: None, 3600)
        self.run = TrainingRun(
            self.attempt,
            self.writer,
            self._save,
            PreparedData(Rows(folder / "rows", 4, "0" * 64, []), None),
            BaseModel(folder / "base", "commit"),
            _restored(work / "output", restored) if restored else None,
            None,
        )

    def _save(self, folder: Path, step: int) -> SavedCheckpoint:
        assert folder.is_dir()
        self.uploaded.append(step)
        self.on_upload()
        return SavedCheckpoint(step=step, prefix="p", time="t")

    @property
    def plans(self) -> list[TrainPlan]:
        """What the workers were told, first to last."""
        lines = (self.attempt.paths.work / "plans").read_text().splitlines()
        return [TrainPlan.model_validate(json.loads(line)) for line in lines]


def _restored(output: Path, step: int) -> Restored:
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    return Restored(step, folder, SavedCheckpoint(step=step, prefix="p", time="t"))


def test_the_ladder_goes_on_from_the_newest_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path, CLIMBING)
    trained = run.run.train()

    assert trained.steps == 20
    sizes = [
        (p.job.hyperparameters.micro_batch_size, p.job.hyperparameters.gradient_accumulation_steps)
        for p in run.plans
    ]
    assert sizes == [(8, 2), (4, 4), (2, 8)]
    resumed = [p.resume_from and Path(p.resume_from).name for p in run.plans]
    assert resumed == [None, "checkpoint-5", "checkpoint-10"]
    assert run.uploaded[-1] == 10
    progress = run.writer.current
    assert progress.adaptations == [
        "step 6: out of memory at 77.1 of the card's 80.0 GiB: micro-batch 8 → 4, "
        "accumulation 2 → 4",
        "step 11: out of memory at 77.1 of the card's 80.0 GiB: micro-batch 4 → 2, "
        "accumulation 4 → 8",
    ]
    assert progress.sizing == run.attempt.sizing
    assert run.attempt.sizing.micro_batch_size == 2
    assert run.attempt.step == 20


def test_without_a_checkpoint_of_its_own_it_goes_on_from_the_earlier_attempt_s(
    tmp_path: Path,
) -> None:
    run = Run(
        tmp_path, "out_of_memory(9) if hyper['micro_batch_size'] == 8 else trained(20)", restored=7
    )
    run.run.train()
    resumed = [p.resume_from and Path(p.resume_from).name for p in run.plans]
    assert resumed == ["checkpoint-7", "checkpoint-7"]


def test_the_lowest_rung_gives_up_in_numbers(tmp_path: Path) -> None:
    guards = {"allow_quantization": True}
    run = Run(tmp_path, NEVER, guards=guards)
    with pytest.raises(FailureError) as caught:
        run.run.train()
    error = caught.value
    assert error.exit_code == ExitCode.OUT_OF_MEMORY
    assert len(run.plans) == 6  # as asked, 4, 2, 1, checkpointing, 4 bits
    assert run.plans[-1].job.adapter.quantized
    assert error.message.startswith(
        "out of memory with micro-batch 1, accumulation 16, gradient checkpointing on, 4-bit "
        "weights, which held 77.1 of the card's 80.0 GiB,"
    )
    assert "micro-batch 2 → 1" in error.message
    assert error.hint == (
        "Lower dataset.maxSequenceLength from 160 to 50 (the longest row has 100 tokens)."
    )


def test_what_came_down_to_4_bits_is_verified_in_4_bits(tmp_path: Path) -> None:
    down = "trained(20) if plan['job']['adapter']['quantized'] else out_of_memory(0)"
    run = Run(tmp_path, down, guards={"allow_quantization": True})
    trained = run.run.train()
    assert run.attempt.sizing.quantized
    assert not run.attempt.job.adapter.quantized

    assert verify(run.attempt, trained, run.run.data, run.run.base) == "4 bits"


def test_a_verification_that_hangs_is_a_stall(tmp_path: Path) -> None:
    run = Run(tmp_path, "trained(20)", guards={"stall_timeout_seconds": 1})
    trained = run.run.train()
    (tmp_path / "work" / "hang").touch()

    with pytest.raises(FailureError) as caught:
        verify(run.attempt, trained, run.run.data, run.run.base)

    assert caught.value.exit_code == ExitCode.STALLED
    assert caught.value.message == "the verification has not ended after 1 s"


def test_without_leave_nothing_is_tried(tmp_path: Path) -> None:
    run = Run(tmp_path, NEVER, guards={"adapt_to_memory": False})
    with pytest.raises(FailureError) as caught:
        run.run.train()
    assert caught.value.reason == Reason.OUT_OF_MEMORY
    assert len(run.plans) == 1
    assert "microBatchSize from 8 to 4" in caught.value.hint
    assert run.writer.current.adaptations == []


def test_a_killed_worker_is_not_adapted(tmp_path: Path) -> None:
    run = Run(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(FailureError, match="no out-of-memory kill") as caught:
        run.run.train()
    assert ACTIONS[caught.value.exit_code] is PodFailureAction.COUNT, "the next pod continues"
    assert len(run.plans) == 1


SAVES_WHEN_TOLD = """
save(3)
while not signal.sigtimedwait([signal.SIGTERM], 0.05):
    send("alive", step=3)
save(4)
send("stopped", step=4)
"""


def test_at_the_end_of_the_budget_the_checkpoint_is_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, SAVES_WHEN_TOLD, gpus=1, guards={"max_gpu_seconds": 1000})
    run.on_upload = lambda: setattr(run.attempt.meter, "earlier", 960.0)
    with pytest.raises(FailureError) as caught:
        run.run.train()
    assert caught.value.reason == Reason.BUDGET_EXHAUSTED
    assert caught.value.step == run.writer.current.step == 4
    assert run.uploaded[-1] == 4
    assert "of 1000 GPU seconds are used" in caplog.text


def test_sigterm_is_an_interruption_and_no_budget(tmp_path: Path, shutdown: Shutdown) -> None:
    run = Run(tmp_path, SAVES_WHEN_TOLD, shutdown, gpus=1, guards={"max_gpu_seconds": 1000})
    signals = [signal.SIGTERM]

    def tell_once() -> None:  # a second one could come when the worker has ended
        if signals:
            os.kill(os.getpid(), signals.pop())

    run.on_upload = tell_once
    with pytest.raises(Interrupted) as caught:
        run.run.train()
    assert caught.value.step == 4
    assert run.uploaded[-1] == 4


def test_a_stall_ends_the_worker_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    program = "save(5)\nwhile True: signal.pause()"
    run = Run(tmp_path, program, guards={"stall_timeout_seconds": 1})
    with pytest.raises(FailureError) as caught:
        run.run.train()
    assert caught.value.reason == Reason.STALL_DETECTED
    assert caught.value.step == 5
    assert run.uploaded == [5]


def test_a_loss_that_is_lost_ends_the_worker(tmp_path: Path) -> None:
    program = """
    for step in range(200):
        send("step", step=step, epoch=0.1, loss=0.5 if step < 50 else 9.0, tokens=5)
    trained(200)
    """
    run = Run(tmp_path, program)
    with pytest.raises(FailureError) as caught:
        run.run.train()
    assert caught.value.reason == Reason.LOSS_DIVERGED
