"""What is checked. Each scenario returns its lines of the table or raises AssertionError."""
# ruff: noqa: S101  (asserts are what this module is for, as in tests)

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gpu_check.commit_check import check_commit
from gpu_check.machine import Machine, Observed
from gpu_check.orders import LONG_KEY, PAIRS_KEY, TRAIN_KEY, example_spec, resolve, spec_of
from gpu_check.watch import ProgressWatch
from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import Commit
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.conditions import Reason
from support.trainer_runs import Attempt

WAIT_SECONDS = 600.0
LOSS_TOLERANCE = 0.01
"""Between a resumed and an uninterrupted run: kernels of a GPU may add in any order."""
LADDER_ROWS = 24
"""Of 4,096 tokens of the 0.6B shape: about 115 GiB without checkpointing, half of it fits 80."""
LEAST_LEAK = 1e-5
"""Of the loss: by what other rows change it at least if they are seen."""
ALONE_TOLERANCE = 1e-3
"""Between a row alone and behind others: 16 bits, other shapes, other kernels."""
TWO = 2
CPU_MEMORY = 6 << 30
"""Address space of the attempt that is to run out of memory on a machine without a GPU."""


@dataclass(frozen=True)
class Line:
    """A line of the table; None where a number makes no sense."""

    name: str
    exit_code: int
    seconds: float
    note: str
    train_seconds: float | None = None
    steps: int | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None
    """Over the whole training, compilation and warm-up included."""
    steady: float | None = None
    """Tokens per second of the second half of the steps."""
    peak_train: float | None = None
    """GiB of the GPU in use while training: PyTorch's reserve and the CUDA context."""
    peak_all: float | None = None
    """GiB, over the whole attempt."""
    mean_loss: float | None = None
    final_loss: float | None = None


def lora(machine: Machine) -> list[Line]:
    """16 bits, rank 16, all linear layers, from start to commit."""
    observed = machine.observe(machine.start(_lora_job(machine, "lora"), "pod-1"))
    return [_committed("lora r16", observed)]


def qlora(machine: Machine) -> list[Line]:
    """examples/03-qlora-h100 as it stands: 4 bits, rank 32, gzipped rows, a validation set."""
    observed = machine.observe(machine.start(_example_job(machine), "pod-1"))
    line = _committed("qlora r32", observed)
    commit = observed.attempt.commit()
    assert commit.metrics.eval_loss is not None, "no eval loss despite a validation set"
    return [line]


def resume(machine: Machine) -> list[Line]:
    """SIGTERM in mid-training leaves a checkpoint, the next attempt goes on from it."""
    job = _lora_job(machine, "resume")
    told: list[float] = []

    def terminate(attempt: Attempt, watch: ProgressWatch) -> None:
        attempt.wait_until(lambda _: watch.has_checkpoint, WAIT_SECONDS)
        attempt.terminate()
        told.append(time.monotonic())

    first = machine.observe(machine.start(job, "pod-1"), terminate)
    stopped = first.ended - told[0]
    step = _check_interrupted(first)
    second = machine.observe(machine.start(job, "pod-2"))
    line = _committed("resumed", second, resumed_from=step)
    same = _compare_with_uninterrupted(machine, second.attempt.commit())
    line = replace(line, note=line.note + same)
    note = f"stopped at step {step}, {stopped:.1f} s after SIGTERM, checkpoint in the bucket"
    return [Line("interrupted", first.exit_code, first.seconds, note, steps=step), line]


def oom(machine: Machine) -> list[Line]:
    """64 rows of 4,096 tokens at once, without gradient checkpointing, and no leave to adapt."""
    job = _too_large(machine, "oom", 64, failurePolicy={"onOutOfMemory": "Fail"})
    attempt = machine.start(job, "pod-1", memory=CPU_MEMORY if machine.on_cpu else None)
    observed = machine.observe(attempt)
    hint = _check_failed(observed, ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
    for words in ("gradientCheckpointing", "from 64 to 32", "from 4096 to 2048", "QLoRA"):
        assert words in hint, f"the hint lacks {words!r}: {hint}"
    return [_failed("out of memory", observed, hint)]


def ladder(machine: Machine) -> list[Line]:
    """A micro-batch that doesn't fit: the same attempt goes on with a smaller one and commits."""
    rows = 64 if machine.on_cpu else LADDER_ROWS
    job = _too_large(machine, "ladder", rows)
    attempt = machine.start(job, "pod-1", memory=CPU_MEMORY if machine.on_cpu else None)
    observed = machine.observe(attempt)
    line = _committed("adapted", observed, rises=True)
    progress = attempt.progress()
    sizing = progress.sizing
    assert progress.adaptations, "it fitted: nothing was shown"
    assert sizing is not None, "no sizing in progress.json"
    assert sizing.micro_batch_size < rows, f"micro-batch {sizing.micro_batch_size}"
    effective = sizing.micro_batch_size * sizing.gradient_accumulation_steps
    assert effective == rows, f"the effective batch became {effective}"
    return [replace(line, note=f"{line.note}; {'; '.join(progress.adaptations)}")]


def dpo(machine: Machine) -> list[Line]:
    """Preference pairs; the reference is the base without the adapter."""
    spec = spec_of(
        machine.bucket.bucket,
        PAIRS_KEY,
        method={"type": "DPO", "dpo": {"beta": "0.1"}},
        adapter={"rank": 16},
        hyperparameters={
            "maxSteps": machine.size.preference_steps,
            "learningRate": "1e-4",
            "effectiveBatchSize": 8,
            "microBatchSize": 4,
        },
    )
    spec["dataset"]["format"] = "Preference"
    observed = machine.observe(machine.start(resolve("dpo", spec, machine.bucket), "pod-1"))
    line = _committed("dpo r16", observed)
    assert line.final_loss is not None, "no loss"
    assert line.final_loss < math.log(2), f"a loss of {line.final_loss} prefers nothing"
    return [line]


def bounds(machine: Machine) -> list[Line]:
    """Rows one behind the other, without padding: none sees another."""
    started = time.monotonic()
    measured = machine.row_bounds(_lora_job(machine, "bounds"))
    notes = []
    for losses in measured:
        before, after, alone = (losses[name] for name in ("before", "after", "alone"))
        leak = abs(losses["merged"] - losses["merged_after"])
        seen = abs(before - after)
        assert leak > LEAST_LEAK * before, f"a leak would not be noticed: {losses}"
        assert seen < leak / 100, f"a row sees others: {losses}"
        assert math.isclose(before, alone, rel_tol=ALONE_TOLERANCE), f"not as alone: {losses}"
        notes.append(
            f"attention {losses['kernel']}: other rows change the loss by {seen:.1e}, "
            f"by {leak:.1e} if they are seen"
        )
    return [Line("row bounds", 0, time.monotonic() - started, "; ".join(notes))]


def ddp(machine: Machine) -> list[Line]:
    """Two GPUs of one pod, half the micro-batch each, against `lora` on one of them."""
    if machine.gpus < TWO:
        return [Line("two GPUs", 0, 0.0, f"not run: this machine has {machine.gpus} GPU")]
    before = [] if _commit_of_lora(machine) else lora(machine)
    alone = _commit_of_lora(machine)
    assert alone is not None, "lora committed nothing"
    job = _lora_job(machine, "ddp", gpus=TWO, microBatchSize=4)
    observed = machine.observe(machine.start(job, "pod-1"))
    line = _committed("two GPUs", observed)
    together = observed.attempt.commit().metrics
    assert together.tokens == alone.metrics.tokens, f"{together.tokens} tokens"
    losses = (together.train_loss, alone.metrics.train_loss)
    assert math.isclose(*losses, rel_tol=LOSS_TOLERANCE), f"mean loss {losses[0]}, not {losses[1]}"
    return [*before, replace(line, note=f"{line.note}; mean loss of one GPU {losses[1]:.4f}")]


def nogpu(machine: Machine) -> list[Line]:
    """A node whose GPU the container can't see."""
    job = _lora_job(machine, "nogpu")
    observed = machine.observe(machine.start(job, "pod-1", without_gpu=True))
    hint = _check_failed(observed, ExitCode.GPU_UNAVAILABLE, Reason.GPU_UNAVAILABLE)
    return [_failed("no GPU", observed, hint)]


SCENARIOS: dict[str, Callable[[Machine], list[Line]]] = {
    "lora": lora,
    "qlora": qlora,
    "resume": resume,
    "oom": oom,
    "ladder": ladder,
    "dpo": dpo,
    "bounds": bounds,
    "ddp": ddp,
    "nogpu": nogpu,
}


def _too_large(machine: Machine, name: str, rows: int, **sections: Any) -> TrainJob:
    """`rows` of 4,096 tokens in one micro-batch, without gradient checkpointing."""
    spec = spec_of(
        machine.bucket.bucket,
        LONG_KEY,
        maxSequenceLength=4096,
        hyperparameters={
            "maxSteps": 2,
            "effectiveBatchSize": rows,
            "microBatchSize": rows,
            "gradientCheckpointing": False,
        },
        **sections,
    )
    return resolve(name, spec, machine.bucket)


def _lora_job(machine: Machine, name: str, gpus: int = 1, **hyperparameters: Any) -> TrainJob:
    size = machine.size
    spec = spec_of(
        machine.bucket.bucket,
        TRAIN_KEY,
        adapter={"rank": 16},
        hyperparameters={
            "maxSteps": size.steps,
            "learningRate": "1e-3",
            "effectiveBatchSize": 16,
            "microBatchSize": 8,
            **hyperparameters,
        },
        checkpoint={"everySteps": size.every_steps},
        gpus=gpus,
    )
    return resolve(name, spec, machine.bucket)


def _example_job(machine: Machine) -> TrainJob:
    return resolve("contracts-qlora", example_spec(), machine.bucket)


def _compare_with_uninterrupted(machine: Machine, resumed: Commit) -> str:
    """A resumed run ends as one that was not interrupted, if `lora` made one before."""
    whole = _commit_of_lora(machine)
    if whole is None:
        return ""
    assert resumed.metrics.tokens == whole.metrics.tokens, f"{resumed.metrics.tokens} tokens"
    losses = (resumed.metrics.train_loss, whole.metrics.train_loss)
    assert math.isclose(*losses, rel_tol=LOSS_TOLERANCE), f"mean loss {losses[0]}, not {losses[1]}"
    equal = _weights_sha256(resumed) == _weights_sha256(whole)
    return f", weights {'equal to' if equal else 'differ in bytes from'} those of lora"


def _commit_of_lora(machine: Machine) -> Commit | None:
    """What `lora` committed; None if it has not run."""
    job = _lora_job(machine, "lora")
    body = machine.store.get(f"{job.output.prefix}/{layout.COMMIT}")
    return None if body is None else Commit.model_validate_json(body)


def _weights_sha256(commit: Commit) -> str:
    return next(f.sha256 for f in commit.files if f.path.endswith(".safetensors"))


def _check_interrupted(observed: Observed) -> int:
    """The step of the checkpoint that the interrupted attempt left."""
    attempt = observed.attempt
    assert observed.exit_code == ExitCode.INTERRUPTED, f"exit code {observed.exit_code}"
    assert attempt.failure().reason == Reason.INTERRUPTED, attempt.failure().reason
    report, progress = attempt.report(), attempt.progress()
    assert report.outcome == "Interrupted", report.outcome
    assert report.total_steps is not None, "no total steps"
    assert 0 < report.step < report.total_steps, f"step {report.step} of {report.total_steps}"
    assert progress.checkpoint is not None, "no checkpoint in progress.json"
    assert progress.checkpoint.step == report.step, f"checkpoint of {progress.checkpoint.step}"
    manifest = f"{progress.checkpoint.prefix}/{layout.CHECKPOINT_MANIFEST}"
    assert attempt.store.get(manifest) is not None, f"no {manifest}"
    commit = f"{attempt.job.output.prefix}/{layout.COMMIT}"
    assert attempt.store.get(commit) is None, "an interrupted attempt committed"
    return report.step


def _check_failed(observed: Observed, exit_code: ExitCode, reason: Reason) -> str:
    """The hint of a failure with this exit code and reason, in both places where it is told."""
    attempt = observed.attempt
    assert observed.exit_code == exit_code, f"exit code {observed.exit_code}"
    failure, report = attempt.failure(), attempt.report()
    assert failure.reason == reason, failure.reason
    assert report.failure == failure, f"report.json says {report.failure}"
    assert report.exit_code == exit_code, f"report.json says {report.exit_code}"
    return failure.hint


def _failed(name: str, observed: Observed, hint: str) -> Line:
    failure = observed.attempt.failure()
    return Line(
        name,
        observed.exit_code,
        observed.seconds,
        f"{failure.reason}: {hint}",
        steps=failure.step,
        peak_all=observed.memory.peak_gib(observed.bounds),
    )


def _committed(
    name: str, observed: Observed, resumed_from: int | None = None, *, rises: bool = False
) -> Line:
    """The numbers of an attempt that must have committed; `rises`: too short for a falling loss."""
    attempt = observed.attempt
    assert observed.exit_code == ExitCode.SUCCEEDED, f"exit code {observed.exit_code}"
    commit = check_commit(attempt)
    metrics, job = commit.metrics, attempt.job
    assert commit.provenance.resumed_from_step == resumed_from, (
        f"resumed from {commit.provenance.resumed_from_step}, not {resumed_from}"
    )
    if job.hyperparameters.max_steps is not None:
        assert metrics.steps == job.hyperparameters.max_steps, f"{metrics.steps} steps"
        # Not of the example: it makes too few steps on a random model.
        falls = metrics.final_loss < metrics.train_loss
        assert falls or rises, f"the loss rose to {metrics.final_loss}"
    progress = attempt.progress()
    assert (progress.step, progress.total_steps) == (metrics.steps, metrics.steps), "last progress"
    done = resumed_from or 0
    tokens = round(metrics.tokens * (metrics.steps - done) / metrics.steps)
    pace = observed.progress.steps_per_second(done + (metrics.steps - done) // 2)
    training = observed.progress.phase_bounds("Training")
    return Line(
        name,
        observed.exit_code,
        observed.seconds,
        _phases(observed) + f", digest {commit.digest[:8]}{_eval(commit)}",
        train_seconds=metrics.train_seconds,
        steps=metrics.steps,
        tokens=metrics.tokens,
        tokens_per_second=tokens / metrics.train_seconds,
        steady=None if pace is None else pace * metrics.tokens / metrics.steps,
        peak_train=observed.memory.peak_gib(training),
        peak_all=observed.memory.peak_gib(observed.bounds),
        mean_loss=metrics.train_loss,
        final_loss=metrics.final_loss,
    )


def _eval(commit: Commit) -> str:
    loss = commit.metrics.eval_loss
    return "" if loss is None else f", eval loss {loss:.3f}"


def _phases(observed: Observed) -> str:
    """Seconds of each phase, as progress.json told them."""
    parts = []
    for phase in ("LoadingModel", "Training", "Verifying"):
        bounds = observed.progress.phase_bounds(phase)
        if bounds is not None:
            parts.append(f"{phase} {bounds[1] - bounds[0]:.0f} s")
    return " ".join(parts)
