"""`status.failure` of every kind."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.meta import Message, ShortText, StatusModel


class FailureClass(StrEnum):
    """Who can fix a failure."""

    USER = "User"
    SYSTEM = "System"


class FailureStatus(StatusModel):
    """Failure of the current revision."""

    reason: ShortText
    """reason, one of the documented reasons."""
    failure_class: FailureClass = Field(alias="class")
    """class: User if a change of the spec or data fixes it, else System."""
    message: Message
    """message says what happened."""
    hint: Message = ""
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
