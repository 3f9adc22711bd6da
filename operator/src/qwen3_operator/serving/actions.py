"""Actions that a decision about a pool asks for."""

from dataclasses import dataclass

from qwen3_api.serving.pool import PoolIndex
from qwen3_operator.resources.actions import Deletion, Manifest


@dataclass(frozen=True)
class PoolPlan:
    """What to do about one pool."""

    index: PoolIndex | None
    """To be written; None: it is right as it is."""
    apply: tuple[Manifest, ...] = ()
    delete: tuple[Deletion, ...] = ()
    requeue_after: float | None = None
