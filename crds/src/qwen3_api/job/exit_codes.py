"""Exit codes of trainer and evaluator, and the Job's reaction to each.

The operator builds podFailurePolicy from `ACTIONS`; the pods exit with the names below. The code is
only a hint for the Job controller: the report in the bucket and the termination message describe
the failure.
"""

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit code of a pod."""

    SUCCEEDED = 0
    """The result is committed (by this attempt or by another one)."""
    UNEXPECTED = 1
    """Any other error, or a SIGKILL that isn't proven to be out of memory: counted, retried."""
    USER_ERROR = 42
    """Spec, data or credentials need a change: no retry."""
    INTERRUPTED = 43
    """Stopped by SIGTERM with a checkpoint: not counted, resumes."""
    OUT_OF_MEMORY = 44
    """Out of memory on the GPU or, by the kernel's count, in the container. The same spec would
    fail again: no retry."""
    DIVERGED = 45
    """Loss NaN or infinite; the same seed would diverge again: no retry."""
    STORAGE_UNAVAILABLE = 46
    """The object store did not answer: counted, retried."""
    GPU_UNAVAILABLE = 47
    """No usable GPU on this node: counted, retried."""
    ADAPTER_UNUSABLE = 48
    """The finished adapter doesn't load or doesn't generate: no retry."""
    BUDGET_EXHAUSTED = 49
    """limits.maxGPUSeconds is used up: no retry."""
    STALLED = 50
    """No step for failurePolicy.stallTimeoutSeconds: counted, retried from the checkpoint."""
    DISK_FULL = 51
    """The pod's scratch volume is full: no retry, the next attempt would fail in the same way."""
    EXPORT_FAILED = 52
    """The adapter can't be merged or converted: no retry."""


class PodFailureAction(StrEnum):
    """Actions of batch/v1 podFailurePolicy."""

    FAIL_JOB = "FailJob"
    IGNORE = "Ignore"
    COUNT = "Count"


ACTIONS: dict[ExitCode, PodFailureAction] = {
    ExitCode.UNEXPECTED: PodFailureAction.COUNT,
    ExitCode.USER_ERROR: PodFailureAction.FAIL_JOB,
    ExitCode.INTERRUPTED: PodFailureAction.IGNORE,
    ExitCode.OUT_OF_MEMORY: PodFailureAction.FAIL_JOB,
    ExitCode.DIVERGED: PodFailureAction.FAIL_JOB,
    ExitCode.STORAGE_UNAVAILABLE: PodFailureAction.COUNT,
    ExitCode.GPU_UNAVAILABLE: PodFailureAction.COUNT,
    ExitCode.ADAPTER_UNUSABLE: PodFailureAction.FAIL_JOB,
    ExitCode.BUDGET_EXHAUSTED: PodFailureAction.FAIL_JOB,
    ExitCode.STALLED: PodFailureAction.COUNT,
    ExitCode.DISK_FULL: PodFailureAction.FAIL_JOB,
    ExitCode.EXPORT_FAILED: PodFailureAction.FAIL_JOB,
}
