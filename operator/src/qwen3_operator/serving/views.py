"""Frozen views of a serving pool."""

from dataclasses import dataclass

from qwen3_api.serving.pool import AgentStatus
from qwen3_api.v1alpha1.failure import FailureStatus


@dataclass(frozen=True)
class PoolPod:
    """A pod of a serving pool and what its sidecar says. `agent` is None if it didn't answer."""

    name: str
    ready: bool
    agent: AgentStatus | None


@dataclass(frozen=True)
class PoolView:
    """A serving pool as seen from one fine-tune."""

    name: str
    exists: bool
    desired_replicas: int
    pods: tuple[PoolPod, ...] = ()
    trouble: FailureStatus | None = None
    """Why its pods can't start, if the kubelet or the scheduler says so."""
