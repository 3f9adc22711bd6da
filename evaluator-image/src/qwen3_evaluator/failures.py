"""Why an evaluation ends early: one exception, and what it leaves for the kubelet.

EvaluationError     everything that ends a run without a result
  user errors        exit 42: a Failed report is written, no retry helps
  EvaluatorFailed    exit 1: the endpoint is away; counted and retried by the Job
  StorageUnavailable exit 46: the object store is away; counted and retried
"""

from pathlib import Path

from qwen3_api.job.base import Failure
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.v1alpha1.conditions import Reason

TEXT_LIMIT = 1024
"""Characters of `Failure.message` and `Failure.hint`."""
TERMINATION_LIMIT = 4096
"""Bytes that the kubelet keeps of a termination message."""


def cut(text: str, limit: int) -> str:
    """At most `limit` characters; what is cut ends in an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


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


def render_termination(failure: Failure) -> bytes:
    """The failure as JSON of at most 4 KiB, so that the kubelet doesn't cut it in the middle.

    1024 Chinese characters are 3 KiB and control characters grow sixfold, so the texts are
    shortened until the bytes fit.
    """
    limit = TEXT_LIMIT
    while True:
        short = failure.model_copy(
            update={"message": cut(failure.message, limit), "hint": cut(failure.hint, limit)}
        )
        rendered = short.model_dump_json(exclude_none=True).encode()
        if len(rendered) <= TERMINATION_LIMIT:
            return rendered
        limit = limit * 3 // 4


def write_termination(path: Path, failure: Failure) -> None:
    """Write the termination message where the kubelet made the file; elsewhere there is none."""
    if path.exists():
        path.write_bytes(render_termination(failure))
