"""Writing conditions: transition times kept, generation stamped, kstatus's two only while True."""

from collections.abc import Sequence
from datetime import UTC, datetime

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.meta import Condition, ConditionStatus

ONLY_WHILE_TRUE = (ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.DEGRADED)
KNOWN = (
    ConditionType.ADMITTED,
    ConditionType.TRAINED,
    ConditionType.ARTIFACT_STORED,
    ConditionType.EXPORTED,
    ConditionType.EVALUATED,
    ConditionType.GATE_PASSED,
)
"""What was found out about a revision; it stands while nothing newer can be."""
MESSAGE_LIMIT = 1024


def format_time(when: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Conditions:
    """A set of conditions being written for one generation at one moment.

    A condition keeps its lastTransitionTime unless its status changes (API conventions). One that
    may exist only while True disappears when it is set to anything else.
    """

    def __init__(self, previous: Sequence[Condition], generation: int, now: datetime) -> None:
        self._previous = {c.type: c for c in previous}
        self._generation = generation
        self._now = format_time(now)
        self._current: dict[str, Condition] = {}

    def set(
        self,
        type_: ConditionType,
        status: ConditionStatus | bool,
        reason: Reason | str,
        message: str = "",
    ) -> None:
        """Set one condition; the last call for a type wins."""
        if isinstance(status, bool):
            status = ConditionStatus.TRUE if status else ConditionStatus.FALSE
        if type_ in ONLY_WHILE_TRUE and status is not ConditionStatus.TRUE:
            self._current.pop(type_, None)
            return
        before = self._previous.get(type_)
        same = before is not None and before.status is status
        self._current[type_] = Condition(
            type=type_,
            status=status,
            observed_generation=self._generation,
            last_transition_time=before.last_transition_time if same and before else self._now,
            reason=str(reason),
            message=message[:MESSAGE_LIMIT],
        )

    def keep(self, *types: ConditionType) -> None:
        """Set these as they were before, those that were."""
        for type_ in types:
            before = self._previous.get(type_)
            if before is not None:
                self.set(type_, before.status, before.reason, before.message)

    def copy(self, conditions: Sequence[Condition]) -> None:
        """Set these as a status has them."""
        for known in conditions:
            self.set(ConditionType(known.type), known.status, known.reason, known.message)

    def drop(self, type_: ConditionType) -> None:
        """Remove a condition that was set."""
        self._current.pop(type_, None)

    def has(self, type_: ConditionType) -> bool:
        """It was set."""
        return type_ in self._current

    def was(self, type_: ConditionType) -> ConditionStatus | None:
        """Its status before; None if it had none."""
        before = self._previous.get(type_)
        return before.status if before is not None else None

    def to_list(self) -> list[Condition]:
        """All of them: Ready first, then by type, so that `kubectl describe` reads well."""
        return sorted(self._current.values(), key=lambda c: (c.type != ConditionType.READY, c.type))


def find(conditions: Sequence[Condition], type_: ConditionType) -> Condition | None:
    """The condition of a type."""
    return next((c for c in conditions if c.type == type_), None)
