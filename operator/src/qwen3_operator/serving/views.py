"""Frozen views of a serving pool, and what its pods answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from qwen3_api.serving.pool import AgentAdapter, AgentStatus
from qwen3_api.v1alpha1.conditions import Reason
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


POLL_STEADY = 15.0
AGENT_REASONS = {
    Reason.ARTIFACT_CORRUPT,
    Reason.ARTIFACT_REFUSED,
    Reason.LOAD_FAILED,
    Reason.STORAGE_DENIED,
    Reason.STORAGE_UNAVAILABLE,
}
PERMANENT = {Reason.ARTIFACT_CORRUPT, Reason.ARTIFACT_REFUSED, Reason.LOAD_FAILED}
"""Those that don't pass while the files stay as they are."""


def agent_adapter(agent: AgentStatus | None, model_id: str) -> AgentAdapter | None:
    """What a sidecar says about one adapter."""
    if agent is None:
        return None
    return next((a for a in agent.adapters if a.id == model_id), None)


def holds(pod: PoolPod, model_id: str, digest: str) -> bool:
    """The pod's sidecar reports this adapter as loaded, with this digest."""
    adapter = agent_adapter(pod.agent, model_id)
    return adapter is not None and adapter.state == "Loaded" and adapter.digest == digest


def answering_id(pods: Sequence[PoolPod], alias: str) -> str | None:
    """The one id that all of these pods route the public name to, or None."""
    ids = {p.agent.aliases.get(alias) if p.agent else None for p in pods}
    return ids.pop() if len(ids) == 1 else None


def agreed_answer(pods: Sequence[PoolPod], alias: str) -> tuple[str, str] | None:
    """Id and digest of the adapter that all of these pods answer the public name from; None if they
    don't agree, or if there are none."""
    answering = answering_id(pods, alias) if pods else None
    if answering is None:
        return None
    adapters = [agent_adapter(p.agent, answering) for p in pods]
    digests = {a.digest if a and a.state == "Loaded" else None for a in adapters}
    digest = digests.pop() if len(digests) == 1 else None
    return (answering, digest) if digest else None


def find_refusal(pool: PoolView, candidate: str) -> FailureStatus | None:
    """What a sidecar holds against the candidate. A pod that isn't ready counts too: it has looked
    at the same files."""
    for pod in pool.pods:
        adapter = agent_adapter(pod.agent, candidate)
        if adapter is not None and adapter.state == "Failed":
            known = adapter.reason if adapter.reason in AGENT_REASONS else Reason.LOAD_FAILED
            return FailureStatus.of(
                known,
                f"pod {pod.name} rejected {candidate}: {adapter.message}",
                "The adapter in the bucket can't be served; change a training input to "
                "retrain. The current adapter stays in service.",
                user=False,
            )
    return None
