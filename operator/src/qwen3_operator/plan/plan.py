"""What a decision asks for: values only, carried out by `reconcile`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from qwen3_api.serving.pool import CurrentAlias, PoolIndex
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.evaluation import EvalStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.observed import JobView, Problem

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
class EvalPlan:
    """What to do about one evaluation."""

    status: EvalStatus | None
    apply: tuple[Manifest, ...] = ()
    lifecycle: tuple[Manifest, ...] = ()
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True)
class PoolPlan:
    """What to do about one pool."""

    index: PoolIndex | None
    """To be written; None: it is right as it is."""
    apply: tuple[Manifest, ...] = ()
    delete: tuple[Deletion, ...] = ()
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
