"""How a fine-tune is served, and how a new revision takes over."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.meta import (
    KubeModel,
    ModelAlias,
)


class ServingMode(StrEnum):
    """How the adapter is served."""

    NONE = "None"
    SHARED_BASE = "SharedBase"
    MERGED = "Merged"


class CanaryStep(KubeModel):
    """A share of the requests for a while."""

    weight_percent: Annotated[int, Field(ge=1, le=99)]
    """weightPercent of the requests that the candidate answers."""
    hold_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """holdSeconds before the next step."""


class AutoRollbackSpec(KubeModel):
    """When a canary is taken back."""

    max_error_rate_percent: Annotated[int, Field(ge=0, le=100)] = 5
    """maxErrorRatePercent of the candidate's requests that may fail (5xx)."""
    max_latency_increase_percent: Annotated[int, Field(ge=1, le=10_000)] = 100
    """maxLatencyIncreasePercent of the mean time to the first byte, against the incumbent's in the
    same time."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """minRequests of the candidate before a step is judged or left."""


class RolloutSpec(KubeModel):
    """How a candidate takes over from the incumbent."""

    canary_steps: Annotated[list[CanaryStep], Field(max_length=10)] = []
    """canarySteps in order; none: all requests at once. Left out while nothing serves, and by
    promotion.rollbackTo and promotion.force."""
    auto_rollback: AutoRollbackSpec = AutoRollbackSpec()
    """autoRollback of a canary."""


class ServingSpec(KubeModel):
    """How the adapter is served."""

    mode: ServingMode = ServingMode.NONE
    """mode: SharedBase serves beside other adapters on one base model per namespace; None
    doesn't serve; Merged doesn't either, but writes base and adapter as one 16-bit model, for
    servers elsewhere."""
    model_name: ModelAlias | None = None
    """modelName is the public name that clients put into `model`; default <namespace>.<name>."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """replicas of the pool; the pool takes the largest of its fine-tunes."""
    rollout: RolloutSpec = RolloutSpec()
    """rollout of a new revision."""
