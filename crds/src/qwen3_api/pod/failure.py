"""Why something failed, as an exception: one for every program, whoever tries again."""

import logging
from enum import StrEnum
from pathlib import Path

from qwen3_api.job.base import Failure, advise
from qwen3_api.job.exit_codes import ACTIONS, EXIT_CODES, ExitCode, PodFailureAction
from qwen3_api.pod.termination import write_termination
from qwen3_api.pod.text import cut
from qwen3_api.v1alpha1.conditions import Reason

TEXT_LIMIT = 1024
"""Characters of `Failure.message` and `Failure.hint`."""

log = logging.getLogger(__name__)


class Retry(StrEnum):
    """Whether another try can help."""

    NEVER = "stalled"
    """Not before a user or an administrator changes something."""
    BACKOFF = "transient"
    """Nobody has to act: another try, later with each failure."""
    WAIT = "waiting"
    """Nothing failed: something else has to happen first."""


class FailureError(Exception):
    """A failure with a reason, a message and a hint what to do.

    reason: a member of Reason where it ends up in status.
    step: the optimiser step at which it happened.
    retry: by default what the Job does with the reason's exit code, else NEVER.
    after: seconds until another try, or a look, is worthwhile; None: the caller's own back-off, or
        an event that tells.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        hint: str = "",
        step: int | None = None,
        *,
        retry: Retry | None = None,
        after: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.step = step
        self.retry = retry if retry is not None else default_retry(reason)
        self.after = after

    @property
    def advice(self) -> str:
        """Message and hint."""
        return advise(self.message, self.hint)

    @property
    def failure(self) -> Failure:
        """The failure as the contract carries it, texts cut to their limits."""
        return Failure(
            reason=str(self.reason),
            message=cut(self.message, TEXT_LIMIT),
            hint=cut(self.hint, TEXT_LIMIT),
            step=self.step,
        )

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a pod: that of the reason, where the Job does with it what `retry` asks
        for."""
        code = EXIT_CODES.get(self.reason)
        if code is not None and default_retry(self.reason) is self.retry:
            return code
        return ExitCode.USER_ERROR if self.retry is Retry.NEVER else ExitCode.UNEXPECTED

    @classmethod
    def from_failure(cls, failure: Failure) -> "FailureError":
        """The error behind a pod's failure. Raises ValueError: no pod ends with its reason."""
        if failure.reason not in EXIT_CODES:
            raise ValueError(f"{failure.reason} is no reason of a pod")
        return cls(Reason(failure.reason), failure.message, failure.hint, failure.step)


def default_retry(reason: str) -> Retry:
    """The Job's answer to the exit code of a reason; NEVER for one without a code."""
    code = EXIT_CODES.get(reason)
    if code is None or ACTIONS[code] is PodFailureAction.FAIL_JOB:
        return Retry.NEVER
    return Retry.BACKOFF


def end_with(error: FailureError, termination_log: Path) -> ExitCode:
    """Report the failure in the log and in the termination message. Returns the exit code."""
    log.error("%s: %s", error.reason, error.advice, exc_info=error.__cause__ is not None)
    write_termination(termination_log, error.failure)
    return error.exit_code
