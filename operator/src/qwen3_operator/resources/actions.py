"""Actions that a decision asks for, on objects of any kind; the reconciles carry them out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from qwen3_operator.resources.views import JobView

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event about the resource; emitted only after its status was written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Deletion:
    """A child to remove. `uid` makes sure that it is the one that was seen."""

    kind: str
    name: str
    uid: str | None = None

    @classmethod
    def of_job(cls, job: JobView) -> Self:
        """This Job, and none of the same name that came after it."""
        return cls("Job", job.name, job.uid)
