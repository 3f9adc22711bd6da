"""What can go wrong in a trainer, as the contract's FailureError.

GpuMemoryError    OutOfMemory that a smaller sizing may cure (`ladder`)
Interrupted       received SIGTERM (BaseException: no library's `except Exception` may eat it)

Torch-free: errors of the ML libraries are recognised by class name and text.
"""

import errno

from qwen3_api.job.base import Failure
from qwen3_api.job.export import ExportJob
from qwen3_api.job.train import TrainJob
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.ladder import MemoryUse, sizing_of, smaller_micro_batch

_OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "Cannot allocate memory",
    "std::bad_alloc",
)
_DISK_FULL_TEXTS = (
    "No space left on device",
    "Disk quota exceeded",
    # torch.save writes through C++, which keeps the errno to itself: what it says at its first
    # write, at a later one, and while it closes the file after that.
    "basic_ios::clear: iostream error",
    "PytorchStreamWriter failed writing file",
    ". unexpected pos ",
)
CONTAINER_MEMORY_HINT = (
    "This is the memory of the container, not of the GPU: raise resources.memory."
)


class GpuMemoryError(FailureError):
    """OutOfMemory as the training process itself met it, so a smaller sizing may go on."""

    def __init__(self, failure: Failure, use: MemoryUse | None) -> None:
        super().__init__(Reason.OUT_OF_MEMORY, failure.message, failure.hint, failure.step)
        self.use = use


class Interrupted(BaseException):
    """The pod received SIGTERM."""

    def __init__(self, step: int | None = None) -> None:
        super().__init__("interrupted")
        self.step = step


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory, of the GPU or of the process, ran out."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"OutOfMemoryError", "MemoryError"}:
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(t in text for t in _OUT_OF_MEMORY_TEXTS)


def classify(error: Exception, job: TrainJob | ExportJob, step: int | None = None) -> FailureError:
    """The named failure behind any exception of the trainer or of one of its workers."""
    if isinstance(error, FailureError):
        return error
    text = f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        if isinstance(job, ExportJob):
            return FailureError(Reason.OUT_OF_MEMORY, text, CONTAINER_MEMORY_HINT)
        return out_of_memory(job, text, step)
    if is_disk_full(error):
        return disk_full(text, step)
    return FailureError(Reason.TRAINER_FAILED, text, "The log of the pod has the traceback.", step)


def is_disk_full(error: BaseException) -> bool:
    """Whether a local file system has no room left; also behind an error that came of that one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # Libraries in Rust and C++ (safetensors, torch, pyarrow) pass the words on.
        if any(words in str(seen) for words in _DISK_FULL_TEXTS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def disk_full(detail: str, step: int | None = None) -> FailureError:
    """DiskFull with its hint."""
    return FailureError(
        Reason.DISK_FULL,
        f"the scratch volume of the pod is full: {detail}",
        "Ask the platform team for a larger one; base model, data and two checkpoints have to "
        "fit. Checkpoints in the bucket are kept.",
        step,
    )


def out_of_memory(job: TrainJob, detail: str, step: int | None = None) -> FailureError:
    """OutOfMemory with the fields to lower, and to what, most effective first."""
    return FailureError(Reason.OUT_OF_MEMORY, f"out of memory: {detail}", memory_hint(job), step)


def killed_for_memory(command: str, noticed: FailureError | None = None) -> FailureError:
    """OutOfMemory because the kernel ended a process, by its own count: the GPU has nothing to do
    with it.

    noticed: how another process failed for that.
    """
    noted = f" ({noticed.message})" if noticed else ""
    return FailureError(
        Reason.OUT_OF_MEMORY,
        f"the kernel killed the {command} process: the container ran out of memory{noted}",
        CONTAINER_MEMORY_HINT,
        noticed.step if noticed else None,
    )


def killed_without_proof(command: str, *, counted: bool) -> FailureError:
    """TrainerFailed, which is tried again: SIGKILL came from somewhere.

    counted: the kernel's count was read, and shows no process that it ended for memory.
    """
    memory = (
        "the kernel counted no out-of-memory kill in this container"
        if counted
        else "the kernel's count of out-of-memory kills can't be read here"
    )
    return FailureError(
        Reason.TRAINER_FAILED,
        f"the {command} process was killed (SIGKILL); {memory}",
        "It is tried again, from the last checkpoint if there is one. If it repeats, ask the "
        "platform team what ends processes on that node.",
    )


def memory_hint(job: TrainJob, longest: int | None = None) -> str:
    """The smaller values that would need less GPU memory, in the user's field names. `longest`:
    tokens of the longest row, where the rows were read: a limit above it changes nothing."""
    sizing, guards = sizing_of(job), job.guards
    steps = []
    if not sizing.gradient_checkpointing:
        steps.append("set hyperparameters.gradientCheckpointing to true")
    micro = sizing.micro_batch_size
    if micro > 1:
        lower = smaller_micro_batch(micro, micro * sizing.gradient_accumulation_steps)
        steps.append(f"lower hyperparameters.microBatchSize from {micro} to {lower}")
    length = job.dataset.max_sequence_length
    rows = length if longest is None else min(longest, length)
    if rows > 64:
        told = f" (the longest row has {rows} tokens)" if rows < length else ""
        steps.append(f"lower dataset.maxSequenceLength from {length} to {rows // 2}{told}")
    if not sizing.quantized:
        if guards.adapt_to_memory and not guards.allow_quantization:
            steps.append("set failurePolicy.allowQuantization to true")
        steps.append("set adapter.type to QLoRA")
    if not steps:
        return "Ask for a GPU with more memory."
    text = ", or ".join(steps)
    return f"{text[0].upper()}{text[1:]}."
