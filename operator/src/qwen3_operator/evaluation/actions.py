"""Actions that a decision about an evaluation asks for."""

from dataclasses import dataclass

from qwen3_api.v1alpha1.evaluation import EvalStatus
from qwen3_operator.resources.actions import Deletion, Event, Manifest


@dataclass(frozen=True)
class EvalPlan:
    """What to do about one evaluation."""

    status: EvalStatus | None
    apply: tuple[Manifest, ...] = ()
    lifecycle: tuple[Manifest, ...] = ()
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
