"""`status.failure` of every kind."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field

from qwen3_api.job.base import advise
from qwen3_api.v1alpha1.meta import Message, ShortText, StatusModel

TEXT_LIMIT = 1024
"""Characters of a message or hint."""


class FailureClass(StrEnum):
    """Who can fix a failure."""

    USER = "User"
    SYSTEM = "System"


def _cut(text: object) -> object:
    """As many characters as status may hold."""
    return text[:TEXT_LIMIT] if isinstance(text, str) else text


Text = Annotated[Message, BeforeValidator(_cut)]


class FailureStatus(StatusModel):
    """Failure of the current revision."""

    reason: ShortText
    """reason, one of the documented reasons."""
    failure_class: FailureClass = Field(alias="class")
    """class: User if a change of the spec or data fixes it, else System."""
    message: Text
    """message says what happened."""
    hint: Text = ""
    """hint says what to do."""
    exit_code: int | None = None
    """exitCode of the trainer."""
    log_uri: Annotated[str, Field(max_length=1024)] | None = Field(default=None, alias="logURI")
    """logURI of the attempt's report, which has the last lines of its log."""
    retriable: bool = False
    """retriable: the same spec may succeed later."""
    job_uid: ShortText | None = Field(default=None, alias="jobUID")
    """jobUID of the Job that failed."""
    attempt: ShortText | None = None
    """attempt is the uid of the pod that reported the failure; the report outlives the pod."""

    @classmethod
    def of(
        cls,
        reason: str,
        message: str,
        hint: str = "",
        *,
        user: bool = True,
        retriable: bool = False,
        exit_code: int | None = None,
    ) -> Self:
        """A failure, texts cut. `user`: a change of the spec or data fixes it."""
        return cls(
            reason=str(reason),
            failure_class=FailureClass.USER if user else FailureClass.SYSTEM,
            message=message,
            hint=hint,
            exit_code=exit_code,
            retriable=retriable,
        )

    def with_changes(self, **changes: Any) -> Self:
        """The failure with other values of some fields, texts cut."""
        return type(self)(**{**dict(self), **changes})

    @property
    def user(self) -> bool:
        """A change of the spec or data fixes it."""
        return self.failure_class is FailureClass.USER

    @property
    def advice(self) -> str:
        """The message, followed by the hint if there is one."""
        return advise(self.message, self.hint)
