"""Actions that a decision about a fine-tune asks for."""

from dataclasses import dataclass

from qwen3_api.serving.pool import CurrentAlias
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus, ServingStatus
from qwen3_api.v1alpha1.promotion import EvaluationStatus
from qwen3_operator.resources.actions import Deletion, Event, Manifest


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
class StagePlan:
    """How one stage of a fine-tune stands, and what moves it on. Stages are planned apart."""

    reason: Reason
    message: str
    problem: FailureStatus | None = None
    """Set when nothing more happens without a user."""
    warning: FailureStatus | None = None
    """Set when a pod can't start for now."""
    apply: tuple[Manifest, ...] = ()
    lifecycle: tuple[Manifest, ...] = ()
    """Applied under the second field manager."""
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(StagePlan):
    """Preflight and training."""

    committed: bool = False
    validated: bool | None = True
    """None: the preflight has no result yet."""
    admitted: bool | None = None
    """None: there is nothing to admit."""
    planned: bool = False
    """mode Plan, and the preflight passed: all that was asked for is done."""


@dataclass(frozen=True, kw_only=True)
class ExportPlan(StagePlan):
    """The export of the current revision."""

    done: bool = False


@dataclass(frozen=True, kw_only=True)
class ServingPlan(StagePlan):
    """The public name: what answers under it, and when it moves."""

    ready: bool
    """The current revision answers on every pod that was asked for."""
    served: bool
    """Some good revision answers on every ready pod, and there is one."""
    served_message: str
    status: ServingStatus
    promote: Promotion | None = None
    by_person: bool = False
    """It waits for somebody's approval."""
    evaluation: EvaluationStatus | None = None
    """Of the revision that the spec asks for."""
