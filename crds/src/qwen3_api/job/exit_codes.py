"""Exit codes of trainer and evaluator, and the Job's reaction to each.

The operator builds podFailurePolicy from `ACTIONS`; the pods exit with the names below. The code is
only a hint for the Job controller: the report in the bucket and the termination message describe
the failure.
"""

from enum import IntEnum, StrEnum

from qwen3_api.v1alpha1.conditions import Reason


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

EXIT_CODES: dict[str, ExitCode] = {
    Reason.BAD_CONFIG: ExitCode.USER_ERROR,
    Reason.INVALID_SPEC: ExitCode.USER_ERROR,
    Reason.CREDENTIALS_NOT_FOUND: ExitCode.USER_ERROR,
    Reason.BASE_MODEL_NOT_FOUND: ExitCode.USER_ERROR,
    Reason.BASE_MODEL_UNSUPPORTED: ExitCode.USER_ERROR,
    Reason.GATED_MODEL: ExitCode.USER_ERROR,
    Reason.BUCKET_NOT_FOUND: ExitCode.USER_ERROR,
    Reason.STORAGE_DENIED: ExitCode.USER_ERROR,
    Reason.STORAGE_NOT_CONFIGURED: ExitCode.USER_ERROR,
    Reason.DATASET_NOT_FOUND: ExitCode.USER_ERROR,
    Reason.DATASET_EMPTY: ExitCode.USER_ERROR,
    Reason.DATASET_INVALID: ExitCode.USER_ERROR,
    Reason.DATASET_LEAKAGE: ExitCode.USER_ERROR,
    Reason.DATASET_CHECK_FAILED: ExitCode.USER_ERROR,
    Reason.START_ADAPTER_NOT_FOUND: ExitCode.USER_ERROR,
    Reason.ARTIFACT_CORRUPT: ExitCode.USER_ERROR,
    Reason.ARTIFACT_REFUSED: ExitCode.USER_ERROR,
    Reason.LOAD_FAILED: ExitCode.USER_ERROR,
    Reason.HOLDOUT_LEAKED: ExitCode.USER_ERROR,
    Reason.HOLDOUT_UNKNOWN: ExitCode.USER_ERROR,
    Reason.JUDGE_UNUSABLE: ExitCode.USER_ERROR,
    # A refusal by its server. Where only time is missing, the error says BACKOFF.
    Reason.JUDGE_UNAVAILABLE: ExitCode.USER_ERROR,
    Reason.EVALUATOR_FAILED: ExitCode.USER_ERROR,
    Reason.INTERRUPTED: ExitCode.INTERRUPTED,
    Reason.OUT_OF_MEMORY: ExitCode.OUT_OF_MEMORY,
    Reason.LOSS_NAN: ExitCode.DIVERGED,
    Reason.LOSS_DIVERGED: ExitCode.DIVERGED,
    Reason.STALL_DETECTED: ExitCode.STALLED,
    Reason.BUDGET_EXHAUSTED: ExitCode.BUDGET_EXHAUSTED,
    Reason.DISK_FULL: ExitCode.DISK_FULL,
    Reason.EXPORT_FAILED: ExitCode.EXPORT_FAILED,
    Reason.STORAGE_UNAVAILABLE: ExitCode.STORAGE_UNAVAILABLE,
    Reason.GPU_UNAVAILABLE: ExitCode.GPU_UNAVAILABLE,
    Reason.ADAPTER_UNUSABLE: ExitCode.ADAPTER_UNUSABLE,
    Reason.TRAINER_FAILED: ExitCode.UNEXPECTED,
}
"""Every reason that a pod may end with, and its exit code."""
