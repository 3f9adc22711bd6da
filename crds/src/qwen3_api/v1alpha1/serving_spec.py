"""Serving of a fine-tune, and rollout of a new revision."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.meta import (
    KubeModel,
    ModelAlias,
)


class ServingMode(StrEnum):
    """Serving of the adapter."""

    NONE = "None"
    SHARED_BASE = "SharedBase"
    MERGED = "Merged"


class CanaryStep(KubeModel):
    """One step of a canary rollout."""

    weight_percent: Annotated[int, Field(ge=1, le=99)]
    """weightPercent is the share of requests that the candidate answers."""
    hold_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """holdSeconds before the next step."""


class AutoRollbackSpec(KubeModel):
    """Conditions for an automatic rollback of a canary."""

    max_error_rate_percent: Annotated[int, Field(ge=0, le=100)] = 5
    """maxErrorRatePercent is the maximum share of the candidate's requests that fail (5xx)."""
    max_latency_increase_percent: Annotated[int, Field(ge=1, le=10_000)] = 100
    """maxLatencyIncreasePercent is the maximum increase of the mean time to first byte over the
    incumbent's in the same period."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """minRequests to the candidate before a step is judged or completed."""


class RolloutSpec(KubeModel):
    """Rollout from the incumbent to a candidate."""

    canary_steps: Annotated[list[CanaryStep], Field(max_length=10)] = []
    """canarySteps in order; default: none, all requests switch at once. Skipped while nothing is
    served, and by promotion.rollbackTo and promotion.force."""
    auto_rollback: AutoRollbackSpec = AutoRollbackSpec()
    """autoRollback of a canary."""


class ServingSpec(KubeModel):
    """Serving of the adapter."""

    mode: ServingMode = ServingMode.NONE
    """mode: SharedBase serves the adapter next to others on one base model per namespace; None
    doesn't serve; Merged doesn't serve either, but merges base model and adapter into one 16-bit
    model for other servers."""
    model_name: ModelAlias | None = None
    """modelName is the public name, which clients send as `model`; default <namespace>.<name>."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """replicas of the pool; the pool has the largest number that its fine-tunes request."""
    rollout: RolloutSpec = RolloutSpec()
    """rollout of a new revision."""
