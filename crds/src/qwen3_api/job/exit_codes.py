"""Exit codes of trainer and evaluator, and what the Job does about each.

The operator builds podFailurePolicy from `ACTIONS`; the pods exit with the names below. The code is
a hint for the Job controller alone: what happened is told by the report in the bucket and by the
termination message.
"""

from enum import IntEnum, StrEnum

from qwen3_api.v1alpha1.conditions import Reason


class ExitCode(IntEnum):
    """How a pod ended."""

    SUCCEEDED = 0
    """The result is committed (by this attempt or by another one)."""
    UNEXPECTED = 1
    """An error without a name, a SIGKILL that nothing proves to be for memory: counted, retried."""
    USER_ERROR = 42
    """Spec, data or credentials need a change: no retry."""
    INTERRUPTED = 43
    """Stopped by SIGTERM with a checkpoint: free, resumes."""
    OUT_OF_MEMORY = 44
    """The GPU's, or by the kernel's count the container's. The same spec runs out of it again: no
    retry."""
    DIVERGED = 45
    """Loss NaN or infinite; the same seed diverges again: no retry."""
    STORAGE_UNAVAILABLE = 46
    """The object store did not answer: counted, retried."""
    GPU_UNAVAILABLE = 47
    """No usable GPU on this node: counted, retried."""
    ADAPTER_UNUSABLE = 48
    """The finished adapter does not load or generate: no retry."""
    BUDGET_EXHAUSTED = 49
    """limits.maxGPUSeconds is used up: no retry."""
    STALLED = 50
    """No step for failurePolicy.stallTimeoutSeconds: counted, retried from the checkpoint."""
    DISK_FULL = 51
    """The pod's scratch volume is full: no retry, the next one would be as full."""
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
