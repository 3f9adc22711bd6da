"""How serving stands, as the promotion stage and the recall of status report it. Pure."""

from qwen3_api.serving.pool import CurrentAlias
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import ServingStatus
from qwen3_operator.finetune.actions import ServingPlan
from qwen3_operator.finetune.views import Alias
from qwen3_operator.serving.views import POLL_STEADY, PoolView


def owned_alias(alias: Alias | None, uid: str) -> CurrentAlias | None:
    """What the public name stands for, if it is this fine-tune's."""
    current = alias.current if alias else None
    return current if current is not None and current.owner_uid == uid else None


def describe_served(status: ServingStatus, pool: PoolView) -> tuple[bool, str]:
    if status.revision:
        return True, f"revision {status.revision} is answering on {status.loaded_replicas} pods"
    if not any(p.ready for p in pool.pods):
        return False, pool.trouble.message if pool.trouble else "no pod of the pool is ready"
    if not any(p.ready and p.agent and status.model_name in p.agent.aliases for p in pool.pods):
        return False, f"{status.model_name} isn't answered yet"
    return False, "the ready pods don't all answer with the same adapter yet"


def plan_refused(refused: FailureStatus, status: ServingStatus, pool: PoolView) -> ServingPlan:
    """A sidecar can't serve an adapter: nothing more happens by itself, what serves goes on."""
    served, served_message = describe_served(status, pool)
    return ServingPlan(
        Reason(refused.reason),
        refused.message,
        ready=False,
        served=served,
        served_message=served_message,
        status=status,
        problem=refused,
        requeue_after=POLL_STEADY,
    )
