"""The status while the object store doesn't answer. Pure.

Nothing can be decided then: commits and pointers are in the bucket. Serving and training continue.
The status stays as it is, except for what the sidecars report: a Ready or Served that isn't true
any more must not stand until the store is back, and what answers again is reported. A step that was
reported long ago must not look like news.
"""

from dataclasses import replace
from datetime import datetime

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus, ServingStatus
from qwen3_api.v1alpha1.meta import Condition, ConditionStatus
from qwen3_operator.finetune.actions import ServingPlan
from qwen3_operator.finetune.recall import recall_serving
from qwen3_operator.finetune.views import FineTune
from qwen3_operator.resources.conditions import Conditions, find
from qwen3_operator.resources.diagnosis import is_silent, silence
from qwen3_operator.resources.summary import (
    Explanation,
    Progress,
    Summary,
    recall_degraded,
    write_degraded,
    write_summary,
)
from qwen3_operator.serving.views import PoolPod, PoolView, holds

AWAY = "the object store doesn't answer, so nothing else is known"
PATIENCE_SECONDS = 30.0
"""A store that answers again by then had no outage."""
UNANSWERED = FailureStatus.of(
    Reason.STORAGE_UNAVAILABLE,
    "the object store doesn't answer",
    "No action is needed for the adapter in service: its pods have all files. If the outage lasts, "
    "check that the endpoint of the object store is reachable from the operator's pod.",
    user=False,
    retriable=True,
)


def plan_without_store(
    ft: FineTune,
    pool: PoolView | None,
    now: datetime,
    *,
    runs: bool,
    since: datetime | None = None,
) -> FineTuneStatus | None:
    """The status with what the sidecars report now, or with the run's overdue heartbeat; None when
    the written one is still true.

    pool: None when the fine-tune doesn't serve. runs: a training pod runs. since: time of the first
    read that the store didn't answer; None: this one.
    """
    ready, serving = find(ft.status.conditions, ConditionType.READY), ft.status.serving
    if ready is None:
        return None
    is_ready = ready.status is ConditionStatus.TRUE
    found = None
    if serving is not None and serving.model_name is not None and pool is not None:
        current = ft.status.current_revision
        found = recall_serving(ft, serving.model_name, current, pool, serving.endpoint)
    if serving is None or pool is None or found is None:
        return _without_news(ft, now) if runs and not is_ready else None
    if is_ready and not found.ready:
        return _take_back(ft, serving, found, pool, now)
    if is_ready or _was_taken_back(ready, found):
        lasting = since is not None and (now - since).total_seconds() >= PATIENCE_SECONDS
        return _confirm(ft, ready, found, now, lasting=lasting)
    overdue = _without_news(ft, now) if runs else None
    return _report_served(ft, overdue or ft.status, found, now) or overdue


def _take_back(
    ft: FineTune, serving: ServingStatus, found: ServingPlan, pool: PoolView, now: datetime
) -> FineTuneStatus:
    """It isn't Ready any more."""
    good = [p for p in pool.pods if p.ready and _answers(p, serving)]
    message = (
        f"{len(good)} of {serving.desired_replicas} pods answer {serving.model_name} "
        f"from {serving.model_id}; {AWAY}"
    )
    conditions = _same_conditions(ft, now)
    summary = Summary(False, Reason.POOL_NOT_READY, message, Progress.RECONCILING)
    write_summary(conditions, summary)
    if not found.served:
        conditions.set(ConditionType.SERVED, False, Reason.POOL_NOT_READY, message)
    return ft.status.model_copy(
        update={
            "conditions": conditions.to_list(),
            "stage": summary.stage,
            "serving": found.status,
            "failure": None,
        }
    )


def _answers(pod: PoolPod, serving: ServingStatus) -> bool:
    """The pod answers the public name from the adapter that status names."""
    if pod.agent is None or not serving.model_id or not serving.digest:
        return False
    routed = pod.agent.aliases.get(serving.model_name or "")
    return routed == serving.model_id and holds(pod, serving.model_id, serving.digest)


def _was_taken_back(ready: Condition, found: ServingPlan) -> bool:
    """An outage took Ready back, and the same revision is fully served again. (The full plan, when
    no pod is ready, leaves no current revision that could be found again here.)"""
    return ready.reason == Reason.POOL_NOT_READY and found.ready


def _confirm(
    ft: FineTune, ready: Condition, found: ServingPlan, now: datetime, *, lasting: bool
) -> FineTuneStatus | None:
    """Ready stays or comes back; a lasting outage is reported beside it."""
    is_ready = ready.status is ConditionStatus.TRUE
    if is_ready and not lasting:
        return None
    conditions = _same_conditions(ft, now)
    conditions.set(ConditionType.SERVED, True, Reason.SERVED, found.served_message)
    reason = ready.reason if is_ready else str(found.reason)
    degraded = recall_degraded(ft.status.conditions)
    summary = Summary(True, reason, found.message, degraded=degraded)
    update: dict[str, object] = {"serving": found.status}
    if lasting:
        summary = replace(
            summary,
            message=f"{found.message}; {UNANSWERED.message}",
            degraded=Explanation(UNANSWERED.reason, UNANSWERED.advice),
            headline=str(UNANSWERED.reason),
        )
        update |= {"failure": UNANSWERED}
    write_summary(conditions, summary)
    update |= {"stage": summary.stage, "conditions": conditions.to_list()}
    status = ft.status.model_copy(update=update)
    return status if status != ft.status else None


def _report_served(
    ft: FineTune, status: FineTuneStatus, found: ServingPlan, now: datetime
) -> FineTuneStatus | None:
    """Ready stays False; what answers meanwhile is reported. None if it is already."""
    before = find(status.conditions, ConditionType.SERVED)
    was = before is not None and before.status is ConditionStatus.TRUE
    recorded, serving = ft.status.serving, found.status
    if was is found.served and recorded is not None and recorded.digest == serving.digest:
        return None
    conditions = _same_conditions(ft, now, status)
    message = found.served_message if found.served else f"{found.served_message}; {AWAY}"
    reason = Reason.SERVED if found.served else found.reason
    conditions.set(ConditionType.SERVED, found.served, reason, message)
    if not found.served:
        write_degraded(conditions, None)
    return status.model_copy(update={"conditions": conditions.to_list(), "serving": serving})


def _without_news(ft: FineTune, now: datetime) -> FineTuneStatus | None:
    """Of a run that was training when the store was last heard of."""
    training = ft.status.training
    since = training.last_heartbeat_time if training is not None else None
    if ft.status.stage != Reason.TRAINING or since is None or not is_silent(since, now):
        return None
    problem = silence(
        f"the object store doesn't answer; the last heartbeat of the run was at {since}"
    )
    degraded = recall_degraded(ft.status.conditions)
    summary = Summary(
        False, problem.reason, problem.advice, Progress.RECONCILING, degraded=degraded
    )
    conditions = _same_conditions(ft, now)
    write_summary(conditions, summary)
    return ft.status.model_copy(
        update={
            "conditions": conditions.to_list(),
            "stage": summary.stage,
            "failure": problem,
        }
    )


def _same_conditions(
    ft: FineTune, now: datetime, status: FineTuneStatus | None = None
) -> Conditions:
    """Those of a status (the written one), of the generation that was looked at."""
    conditions = Conditions(ft.status.conditions, ft.status.observed_generation, now)
    conditions.copy((status or ft.status).conditions)
    return conditions
