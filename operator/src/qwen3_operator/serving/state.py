"""What the pods of a pool answer now, and the shape of a serving decision. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from qwen3_api.serving.pool import AgentAdapter, AgentStatus, CurrentAlias
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.finetune_status import ServingStatus
from qwen3_api.v1alpha1.promotion import EvaluationStatus
from qwen3_operator.finetune.actions import Promotion
from qwen3_operator.finetune.views import Alias
from qwen3_operator.resources.actions import Event, Manifest
from qwen3_operator.resources.views import Problem
from qwen3_operator.serving.views import PoolPod, PoolView

POLL_STEADY = 15.0
AGENT_REASONS = {
    Reason.ARTIFACT_CORRUPT,
    Reason.ARTIFACT_REFUSED,
    Reason.LOAD_FAILED,
    Reason.STORAGE_DENIED,
    Reason.STORAGE_UNAVAILABLE,
}
LASTING = {Reason.ARTIFACT_CORRUPT, Reason.ARTIFACT_REFUSED, Reason.LOAD_FAILED}
"""Those that don't pass while the files stay as they are."""


@dataclass(frozen=True)
class ServingPlan:
    """How serving stands and what moves it on."""

    reason: Reason
    message: str
    ready: bool
    """The current revision answers on every pod that was asked for."""
    served: bool
    """Some good revision answers on every ready pod, and there is one."""
    served_message: str
    status: ServingStatus
    problem: Problem | None = None
    promote: Promotion | None = None
    by_person: bool = False
    """It waits for somebody's approval."""
    evaluation: EvaluationStatus | None = None
    """Of the revision that the spec asks for."""
    apply: tuple[Manifest, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


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


def owned_alias(alias: Alias | None, uid: str) -> CurrentAlias | None:
    """What the public name stands for, if it is this fine-tune's."""
    current = alias.current if alias else None
    return current if current is not None and current.owner_uid == uid else None


def describe_served(status: ServingStatus, pool: PoolView) -> tuple[bool, str]:
    if status.revision:
        return True, f"revision {status.revision} answers on {status.loaded_replicas} pods"
    if not any(p.ready for p in pool.pods):
        return False, pool.trouble.message if pool.trouble else "no pod of the pool is ready"
    if not any(p.ready and p.agent and status.model_name in p.agent.aliases for p in pool.pods):
        return False, f"{status.model_name} is not answered yet"
    return False, "the ready pods don't agree on what answers yet"


def find_refusal(pool: PoolView, candidate: str) -> Problem | None:
    """What a sidecar holds against the candidate. A pod that isn't ready counts too: it has looked
    at the same files."""
    for pod in pool.pods:
        adapter = agent_adapter(pod.agent, candidate)
        if adapter is not None and adapter.state == "Failed":
            known = adapter.reason if adapter.reason in AGENT_REASONS else Reason.LOAD_FAILED
            return Problem(
                known,
                f"pod {pod.name} refused {candidate}: {adapter.message}",
                "The adapter in the bucket can't be served; change a training input to train "
                "again. The current adapter stays in service.",
                user=False,
            )
    return None


def plan_refused(refused: Problem, status: ServingStatus, pool: PoolView) -> ServingPlan:
    """A sidecar can't serve an adapter: nothing more happens by itself, what serves goes on."""
    served, served_message = describe_served(status, pool)
    return ServingPlan(
        Reason(refused.reason),
        refused.message,
        False,
        served,
        served_message,
        status,
        problem=refused,
        requeue_after=POLL_STEADY,
    )
