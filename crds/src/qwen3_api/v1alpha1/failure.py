"""Why an object is not what it should be: `status.failure` of every kind."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.meta import Message, ShortText, StatusModel


class FailureClass(StrEnum):
    """Who can mend it."""

    USER = "User"
    SYSTEM = "System"


class FailureStatus(StatusModel):
    """Why the current revision is not there."""

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
    """retriable: the same spec may work another time."""
    job_uid: ShortText | None = Field(default=None, alias="jobUID")
    """jobUID of the Job that failed."""
    attempt: ShortText | None = None
    """attempt is the uid of the pod that reported why; what it reported outlives the pod."""
