"""Actions that a decision about a fine-tune asks for."""

from dataclasses import dataclass

from qwen3_api.serving.pool import CurrentAlias
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.resources.actions import Deletion, Event, Manifest
from qwen3_operator.resources.views import Problem


@dataclass(frozen=True)
class Promotion:
    """A compare-and-swap of a public name. `etag` None: the name must not exist yet."""

    alias: CurrentAlias
    etag: str | None


@dataclass(frozen=True)
class FineTunePlan:
    """What to do about one fine-tune."""

    status: FineTuneStatus | None
    """None: leave the status alone (the object is going away)."""
    apply: tuple[Manifest, ...] = ()
    lifecycle: tuple[Manifest, ...] = ()
    """Applied under the second field manager."""
    delete: tuple[Deletion, ...] = ()
    finalizer: bool | None = None
    """True: put ours on. False: take it off. None: leave it."""
    delete_artifacts: bool = False
    promote: Promotion | None = None
    wake_pool: str | None = None
    """Name of a pool that must look again."""
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True)
class TrainingPlan:
    """What training asks for, and how it stands."""

    reason: Reason
    message: str
    committed: bool = False
    validated: bool | None = True
    """None: the preflight hasn't said yet."""
    admitted: bool | None = None
    """None: there is nothing to admit."""
    planned: bool = False
    """mode Plan, and the preflight passed: all that was asked for is done."""
    problem: Problem | None = None
    """Set when nothing more will happen by itself."""
    warning: Problem | None = None
    """Set when a pod can't start for now."""
    apply: tuple[Manifest, ...] = ()
    lifecycle: tuple[Manifest, ...] = ()
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
