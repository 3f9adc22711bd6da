"""Why an evaluation ends early: one exception.

EvaluationError     everything that ends a run without a result
  user errors        exit 42: a Failed report is written, no retry helps
  EvaluatorFailed    exit 1: the endpoint is away; counted and retried by the Job
  StorageUnavailable exit 46: the object store is away; counted and retried
"""

from qwen3_api.job.base import Failure
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.pod.text import cut
from qwen3_api.v1alpha1.conditions import Reason

TEXT_LIMIT = 1024
"""Characters of `Failure.message` and `Failure.hint`."""


class EvaluationError(Exception):
    """The run can't give a result. `exit_code` tells the Job whether to try again."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        hint: str = "",
        exit_code: ExitCode = ExitCode.USER_ERROR,
    ) -> None:
        super().__init__(message)
        self.failure = Failure(
            reason=reason, message=cut(message, TEXT_LIMIT), hint=cut(hint, TEXT_LIMIT)
        )
        self.exit_code = exit_code
