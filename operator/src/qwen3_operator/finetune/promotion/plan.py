"""The serving half of a fine-tune: what answers under its public name, and when the name moves.

    committed ──► candidate in the index ──► loaded on every ready pod ──► admitted (promotion.py)
                                                                             │
    Ready ◄── every ready pod routes the name to the new id ◄── index ◄── current.json by CAS

The incumbent stays in the index until the new one has answered for drain_seconds; whatever goes
wrong before the swap leaves it alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from qwen3_api.serving.pool import CurrentAlias
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune import alias_of
from qwen3_api.v1alpha1.finetune_status import ServingStatus
from qwen3_operator.finetune.actions import Promotion, ServingPlan
from qwen3_operator.finetune.promotion.gates import (
    kept_evaluation,
    plan_admission,
    wanted_revision,
)
from qwen3_operator.finetune.promotion.outcome import describe_served, owned_alias, plan_refused
from qwen3_operator.finetune.promotion.rollout import plan_candidate
from qwen3_operator.finetune.views import Alias, FineTune, Observed, ReadableFineTune
from qwen3_operator.resources.actions import Event
from qwen3_operator.resources.names import pool_endpoint
from qwen3_operator.serving.views import (
    PERMANENT,
    POLL_STEADY,
    PoolPod,
    PoolView,
    agreed_answer,
    find_refusal,
    holds,
)
from qwen3_operator.settings import Settings


def plan_serving(
    ft: ReadableFineTune, observed: Observed, settings: Settings, now: datetime
) -> ServingPlan:
    """Where the public name stands and what comes next."""
    spec, revision = ft.spec, ft.revision
    alias = alias_of(ft.meta.namespace, ft.meta.name, spec)
    pool = observed.pool or PoolView(name="", exists=False, desired_replicas=spec.serving.replicas)
    ready_pods = [p for p in pool.pods if p.ready]
    current = owned_alias(observed.alias, ft.meta.uid)
    status = _build_status(ft, alias, pool, ready_pods, current, settings)
    wanted = wanted_revision(spec, revision)
    if isinstance(observed.rollback, FailureStatus):
        return plan_refused(observed.rollback, status, pool)
    commit = observed.commit if observed.verified else None
    if spec.promotion.rollback_to is not None:
        commit = observed.rollback
    if commit is not None and (current is None or current.revision != wanted):
        incumbent = current.revision if current else None
        admission = plan_admission(ft, incumbent, observed.evaluation)
        plan = plan_candidate(ft, wanted, commit, pool, observed, status, admission, now, settings)
        running = plan.status.canary_weight_percent is not None
        return plan if running else _without_canary(plan, current, observed.alias)
    if current is None:
        return ServingPlan(
            Reason.PENDING,
            "no result to serve yet",
            ready=False,
            served=False,
            served_message="no revision was promoted yet",
            status=status,
        )
    steady = _plan_steady(current, wanted, pool, ready_pods, status, settings)
    if steady.ready and wanted != revision:
        steady = replace(steady, reason=Reason.ROLLED_BACK)
    return _without_canary(
        replace(steady, evaluation=kept_evaluation(ft, revision)), current, observed.alias
    )


def _without_canary(
    plan: ServingPlan, current: CurrentAlias | None, alias: Alias | None
) -> ServingPlan:
    """Whatever else goes on, a canary that nobody asks for any more gives its requests back."""
    if current is None or current.canary is None or alias is None or plan.promote is not None:
        return plan
    pointer = current.model_copy(update={"canary": None})
    event = Event(
        "Normal", "CanaryEnded", f"revision {current.canary.revision} no longer gets requests"
    )
    return replace(
        plan,
        promote=Promotion(pointer, alias.etag),
        ready=False,
        events=(*plan.events, event),
        requeue_after=1.0,
    )


def _build_status(
    ft: FineTune,
    alias: str,
    pool: PoolView,
    ready: Sequence[PoolPod],
    current: CurrentAlias | None,
    settings: Settings,
) -> ServingStatus:
    """What answers right now, as the sidecars report it; nothing if they don't agree."""
    answering, digest = agreed_answer(ready, alias) or (None, None)
    revision = None
    if current is not None and answering is not None:
        # The present one last: two revisions may have trained the same bytes, and so share an id.
        revisions = {current.previous_id: current.previous_revision, current.id: current.revision}
        revision = revisions.get(answering)
    return ServingStatus(
        endpoint=pool_endpoint(ft.meta.namespace, pool.name, settings) if pool.name else None,
        model_name=alias,
        model_id=answering if revision else None,
        revision=revision,
        digest=digest if revision else None,
        loaded_replicas=len(ready) if revision else 0,
        desired_replicas=pool.desired_replicas,
    )


def _plan_steady(
    current: CurrentAlias,
    revision: str,
    pool: PoolView,
    ready: Sequence[PoolPod],
    status: ServingStatus,
    settings: Settings,
) -> ServingPlan:
    """The name points where it should (or at an older revision while the new one trains)."""
    served, served_message = describe_served(status, pool)
    poll = settings.serving.poll_seconds
    refused = find_refusal(pool, current.id)
    if refused is not None and current.revision == revision and refused.reason in PERMANENT:
        # A pod that must hold it can't: it won't get ready by itself.
        return plan_refused(refused, status, pool)
    if not ready:
        reason = Reason(pool.trouble.reason) if pool.trouble else Reason.POOL_NOT_READY
        return ServingPlan(
            reason,
            served_message,
            ready=False,
            served=served,
            served_message=served_message,
            status=status,
            requeue_after=poll,
        )
    everywhere = all(
        p.agent is not None
        and p.agent.aliases.get(current.alias) == current.id
        and holds(p, current.id, current.digest)
        for p in ready
    )
    if not everywhere:
        return ServingPlan(
            Reason.PROMOTING,
            f"pods are switching {current.alias} to {current.id}",
            ready=False,
            served=served,
            served_message=served_message,
            status=status,
            requeue_after=poll,
        )
    if current.revision != revision:
        return ServingPlan(
            Reason.OLDER_REVISION,
            f"revision {current.revision} stays in service until {revision} is ready",
            ready=False,
            served=True,
            served_message=served_message,
            status=status,
            requeue_after=POLL_STEADY,
        )
    if len(ready) < pool.desired_replicas:
        return ServingPlan(
            Reason.POOL_SCALING,
            f"{len(ready)} of {pool.desired_replicas} pods serve {current.id}",
            ready=False,
            served=True,
            served_message=served_message,
            status=status,
            requeue_after=poll,
        )
    return ServingPlan(
        Reason.SERVED,
        f"{current.alias} answers from {current.id} on {len(ready)} pods",
        ready=True,
        served=True,
        served_message=served_message,
        status=status,
        requeue_after=POLL_STEADY,
    )
