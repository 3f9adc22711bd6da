"""What can go wrong, in the words of the contract.

TrainerError        a failure with a reason, a message for the user and a hint what to do
Interrupted         told to stop (BaseException, so that no library's `except Exception` eats it)

Torch-free: errors of the ML libraries are recognised by class name and text.
"""

import errno

from qwen3_api.job.base import Failure
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.conditions import Reason

TEXT_LIMIT = 1024
"""Longest message or hint of a Failure, in characters."""

EXIT_CODES: dict[Reason, ExitCode] = {
    Reason.BAD_CONFIG: ExitCode.USER_ERROR,
    Reason.INVALID_SPEC: ExitCode.USER_ERROR,
    Reason.BASE_MODEL_NOT_FOUND: ExitCode.USER_ERROR,
    Reason.BUCKET_NOT_FOUND: ExitCode.USER_ERROR,
    Reason.STORAGE_DENIED: ExitCode.USER_ERROR,
    Reason.STORAGE_NOT_CONFIGURED: ExitCode.USER_ERROR,
    Reason.DATASET_NOT_FOUND: ExitCode.USER_ERROR,
    Reason.DATASET_EMPTY: ExitCode.USER_ERROR,
    Reason.DATASET_INVALID: ExitCode.USER_ERROR,
    Reason.INTERRUPTED: ExitCode.INTERRUPTED,
    Reason.OUT_OF_MEMORY: ExitCode.OUT_OF_MEMORY,
    Reason.LOSS_NAN: ExitCode.DIVERGED,
    Reason.STORAGE_UNAVAILABLE: ExitCode.STORAGE_UNAVAILABLE,
    Reason.GPU_UNAVAILABLE: ExitCode.GPU_UNAVAILABLE,
    Reason.ADAPTER_UNUSABLE: ExitCode.ADAPTER_UNUSABLE,
    Reason.TRAINER_FAILED: ExitCode.UNEXPECTED,
}
"""Every reason that a trainer may end with, and its exit code."""

_OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "Cannot allocate memory",
)


class TrainerError(Exception):
    """A failure with a name. `reason` is a key of `EXIT_CODES`."""

    def __init__(
        self, reason: Reason, message: str, hint: str = "", step: int | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.step = step

    @property
    def exit_code(self) -> ExitCode:
        """How the process ends."""
        return EXIT_CODES[self.reason]

    def to_failure(self) -> Failure:
        """The failure as the contract carries it, texts cut to their limits."""
        return Failure(
            reason=self.reason,
            message=cut(self.message, TEXT_LIMIT),
            hint=cut(self.hint, TEXT_LIMIT),
            step=self.step,
        )

    @classmethod
    def from_failure(cls, failure: Failure) -> "TrainerError":
        """The error behind a failure. Raises ValueError for a reason that no trainer ends with."""
        reason = Reason(failure.reason)
        if reason not in EXIT_CODES:
            raise ValueError(f"{failure.reason} is no reason of a trainer")
        return cls(reason, failure.message, failure.hint, failure.step)


class Interrupted(BaseException):
    """The pod was told to stop."""

    def __init__(self, step: int | None = None) -> None:
        super().__init__("interrupted")
        self.step = step


def cut(text: str, limit: int) -> str:
    """The text in at most `limit` characters, with a mark where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory, of the GPU or of the process, ran out."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"OutOfMemoryError", "MemoryError"}:
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(t in text for t in _OUT_OF_MEMORY_TEXTS)


def classify(error: Exception, job: TrainJob, step: int | None = None) -> TrainerError:
    """The named failure behind any exception of the training process."""
    if isinstance(error, TrainerError):
        return error
    if is_out_of_memory(error):
        return out_of_memory(job, f"{type(error).__name__}: {error}", step)
    hint = "The log of the pod has the traceback."
    if is_disk_full(error):
        hint = "The scratch volume of the pod is full: ask the platform team for a larger one."
    return TrainerError(Reason.TRAINER_FAILED, f"{type(error).__name__}: {error}", hint, step)


def is_disk_full(error: Exception) -> bool:
    """Whether a local file system has no room left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def out_of_memory(job: TrainJob, detail: str, step: int | None = None) -> TrainerError:
    """OutOfMemory with the fields to lower, and to what, most effective first."""
    return TrainerError(Reason.OUT_OF_MEMORY, f"out of memory: {detail}", memory_hint(job), step)


def memory_hint(job: TrainJob) -> str:
    """The smaller values that would need less memory, in the user's field names."""
    hyper = job.hyperparameters
    steps = []
    if not hyper.gradient_checkpointing:
        steps.append("set hyperparameters.gradientCheckpointing to true")
    if hyper.micro_batch_size > 1:
        lower = hyper.micro_batch_size // 2
        effective = hyper.micro_batch_size * hyper.gradient_accumulation_steps
        while effective % lower:
            lower -= 1
        steps.append(
            f"lower hyperparameters.microBatchSize from {hyper.micro_batch_size} to {lower}"
        )
    length = job.dataset.max_sequence_length
    if length > 64:
        steps.append(f"lower dataset.maxSequenceLength from {length} to {length // 2}")
    if not job.adapter.quantized:
        steps.append("set adapter.type to QLoRA")
    if not steps:
        return "Ask for more memory (resources.memory) or a GPU with more memory."
    text = ", or ".join(steps)
    return f"{text[0].upper()}{text[1:]}."
