"""The summary of an object's stages, and the only writer of the conditions that report it.

Ready, Reconciling, Stalled and Degraded (kstatus) are decided together, as one `Summary`, and
written together: no path can set one and forget that another stands from before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from qwen3_api.v1alpha1.conditions import ConditionType
from qwen3_api.v1alpha1.meta import Condition, ConditionStatus
from qwen3_operator.resources.conditions import Conditions, find


class Progress(Enum):
    """Who acts next. Reconciling and Stalled exclude each other."""

    NONE = "no one: it is Ready, or waits as requested (suspend, an approval)"
    RECONCILING = "the operator, or what it started"
    STALLED = "the user, or the platform team"


@dataclass(frozen=True)
class Explanation:
    """Reason and message of one condition."""

    reason: str
    message: str


@dataclass(frozen=True)
class Summary:
    """The state of an object in one line."""

    ready: bool
    reason: str
    message: str
    progress: Progress = Progress.NONE
    cause: Explanation | None = None
    """Why it is reconciling or stalled, where Ready has a reason of its own."""
    degraded: Explanation | None = None
    """It serves, but not as the spec asks."""
    headline: str | None = None
    """status.stage, where that isn't the reason of Ready."""

    @property
    def stage(self) -> str:
        """status.stage: the reason that sums everything up."""
        return self.headline or str(self.reason)


def write_summary(conditions: Conditions, summary: Summary) -> None:
    """Ready, and of the other three those that are True."""
    cause = summary.cause or Explanation(summary.reason, summary.message)
    conditions.set(ConditionType.READY, summary.ready, summary.reason, summary.message)
    for type_, progress in (
        (ConditionType.RECONCILING, Progress.RECONCILING),
        (ConditionType.STALLED, Progress.STALLED),
    ):
        conditions.set(type_, summary.progress is progress, cause.reason, cause.message)
    write_degraded(conditions, summary.degraded)


def write_degraded(conditions: Conditions, degraded: Explanation | None) -> None:
    """Degraded on its own, where the rest of the summary stands as it was written."""
    if degraded is None:
        conditions.drop(ConditionType.DEGRADED)
    else:
        conditions.set(ConditionType.DEGRADED, True, degraded.reason, degraded.message)


def recall_degraded(written: Sequence[Condition]) -> Explanation | None:
    """Degraded as a status has it: news about something else doesn't take it back."""
    found = find(written, ConditionType.DEGRADED)
    if found is None or found.status is not ConditionStatus.TRUE:
        return None
    return Explanation(found.reason, found.message)
