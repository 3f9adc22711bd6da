"""What can still be told while the object store doesn't answer. Pure.

Nothing can be decided then: commits and pointers are in the bucket. What serves goes on serving,
what trains goes on training. But a Ready=True that isn't so any more must not stand until the store
is back, nor may a step that was told long ago look like news.
"""

from datetime import datetime

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus, ServingStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_operator.observed import FineTune, PoolPod, PoolView
from qwen3_operator.plan.conditions import Conditions, find
from qwen3_operator.plan.diagnosis import build_failure, is_silent, silence
from qwen3_operator.plan.served import holds

AWAY = "the object store doesn't answer, so more isn't known"


def plan_without_store(
    ft: FineTune, pool: PoolView | None, now: datetime, *, runs: bool
) -> FineTuneStatus | None:
    """The status with Ready taken back, or with the run's silence; None when the written one is
    still true.

    pool: what its pods say; None when the fine-tune doesn't serve. runs: a training pod does.
    """
    ready, serving = find(ft.status.conditions, ConditionType.READY), ft.status.serving
    if ready is None or ready.status is not ConditionStatus.TRUE:
        return _without_news(ft, now) if runs else None
    if serving is None or pool is None:
        return None
    good = [p for p in pool.pods if p.ready and _answers(p, serving)]
    others = [p for p in pool.pods if p.ready and not _answers(p, serving)]
    if good and not others and len(good) >= serving.desired_replicas:
        return None
    message = (
        f"{len(good)} of {serving.desired_replicas} pods answer {serving.model_name} "
        f"from {serving.model_id}; {AWAY}"
    )
    conditions = _same_conditions(ft, now)
    conditions.set(ConditionType.READY, False, Reason.POOL_NOT_READY, message)
    conditions.set(ConditionType.RECONCILING, True, Reason.POOL_NOT_READY, message)
    served = bool(good) and not others
    if not served:
        conditions.set(ConditionType.SERVED, False, Reason.POOL_NOT_READY, message)
        serving = ServingStatus(
            endpoint=serving.endpoint,
            model_name=serving.model_name,
            desired_replicas=serving.desired_replicas,
        )
    else:
        serving = serving.model_copy(update={"loaded_replicas": len(good)})
    return ft.status.model_copy(
        update={
            "conditions": conditions.to_list(),
            "stage": Reason.POOL_NOT_READY.value,
            "serving": serving,
        }
    )


def _without_news(ft: FineTune, now: datetime) -> FineTuneStatus | None:
    """Of a run that was training when the store was last heard of."""
    training = ft.status.training
    since = training.last_heartbeat_time if training is not None else None
    if ft.status.stage != Reason.TRAINING or since is None or not is_silent(since, now):
        return None
    problem = silence(f"The object store doesn't answer; the run was last heard of at {since}")
    message = problem.told
    conditions = _same_conditions(ft, now)
    conditions.set(ConditionType.READY, False, problem.reason, message)
    conditions.set(ConditionType.RECONCILING, True, problem.reason, message)
    return ft.status.model_copy(
        update={
            "conditions": conditions.to_list(),
            "stage": str(problem.reason),
            "failure": build_failure(problem),
        }
    )


def _same_conditions(ft: FineTune, now: datetime) -> Conditions:
    conditions = Conditions(ft.status.conditions, ft.status.observed_generation, now)
    for known in ft.status.conditions:
        conditions.set(ConditionType(known.type), known.status, known.reason, known.message)
    return conditions


def _answers(pod: PoolPod, serving: ServingStatus) -> bool:
    """The pod answers the public name from the adapter that status names."""
    if pod.agent is None or not serving.model_id or not serving.digest:
        return False
    routed = pod.agent.aliases.get(serving.model_name or "")
    return routed == serving.model_id and holds(pod, serving.model_id, serving.digest)
