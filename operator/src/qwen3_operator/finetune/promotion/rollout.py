"""A verified result on its way to the public name: load, admit, canary, move. Pure."""

from dataclasses import replace
from datetime import datetime

from qwen3_api.job.report import Commit, adapter_id
from qwen3_api.serving.pool import CurrentAlias
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.finetune_status import ServingStatus
from qwen3_api.v1alpha1.promotion import Move, OnFailure
from qwen3_operator.finetune.actions import Promotion, ServingPlan
from qwen3_operator.finetune.promotion.canary import CanaryPlan, plan_canary, rejection_of
from qwen3_operator.finetune.promotion.gates import (
    Admission,
)
from qwen3_operator.finetune.promotion.outcome import describe_served, owned_alias, plan_refused
from qwen3_operator.finetune.views import Alias, Observed, ReadableFineTune
from qwen3_operator.resources.actions import Event
from qwen3_operator.resources.conditions import format_time
from qwen3_operator.serving.views import POLL_STEADY, PoolView, find_refusal, holds
from qwen3_operator.settings import Settings


def plan_candidate(
    ft: ReadableFineTune,
    revision: str,
    commit: Commit,
    pool: PoolView,
    observed: Observed,
    status: ServingStatus,
    admission: Admission,
    now: datetime,
    settings: Settings,
) -> ServingPlan:
    """A verified result isn't behind the public name yet: load it everywhere, have it admitted,
    then move the name."""
    spec, alias = ft.spec, ft.alias
    candidate = adapter_id(ft.meta.namespace, ft.meta.name, commit.digest)
    before = owned_alias(observed.alias, ft.meta.uid)
    problem = admission.problem
    if admission.move is Move.PROMOTED:
        problem = rejection_of(before, revision, spec.serving.rollout.auto_rollback)
    if problem is not None:
        if spec.promotion.on_failure is OnFailure.HOLD:
            status = status.model_copy(update={"candidate_id": candidate})
        refused = plan_refused(problem, status, pool)
        return replace(refused, evaluation=admission.evaluation)
    status = status.model_copy(update={"candidate_id": candidate})
    loading = _plan_loading(commit, candidate, pool, status, settings)
    if loading is not None:
        return replace(loading, evaluation=admission.evaluation)
    served, served_message = describe_served(status, pool)
    poll = settings.serving.poll_seconds
    waiting = ServingPlan(
        admission.reason,
        admission.message,
        ready=False,
        served=served,
        served_message=served_message,
        status=status,
        by_person=admission.by_person,
        evaluation=admission.evaluation,
        apply=admission.apply,
        requeue_after=POLL_STEADY,
    )
    steps = spec.serving.rollout.canary_steps
    ready_pods = [p for p in pool.pods if p.ready]
    if admission.move is None:
        return waiting
    # Two revisions of the same bytes share an id: there is nothing to split then.
    splits = before is not None and before.id != candidate
    if admission.move is Move.PROMOTED and before is not None and splits and steps:
        canary = plan_canary(spec, before, commit, candidate, ready_pods, now)
        if not canary.done:
            return _with_canary(waiting, canary, observed.alias)
    told = admission.evaluation
    promotion = Promotion(
        CurrentAlias(
            alias=alias,
            owner_uid=ft.meta.uid,
            owner_name=ft.meta.name,
            revision=revision,
            id=candidate,
            digest=commit.digest,
            promoted=format_time(now),
            previous_id=before.id if before else None,
            previous_revision=before.revision if before else None,
            move=admission.move.value,
            eval_name=told.eval_name if told and told.verdict else None,
            message=admission.message[:1024],
        ),
        observed.alias.etag if observed.alias else None,
    )
    return replace(
        waiting,
        reason=Reason.PROMOTING,
        message=f"{alias} is being switched to {candidate}",
        promote=promotion,
        requeue_after=poll,
        events=(_tell_move(admission.move, alias, revision, admission.message),),
    )


def _with_canary(waiting: ServingPlan, canary: CanaryPlan, alias: Alias | None) -> ServingPlan:
    """The candidate answers a part of the requests, for now or no longer."""
    status = waiting.status.model_copy(update={"canary_weight_percent": canary.weight_percent})
    return replace(
        waiting,
        reason=Reason.CANARY_FAILED if canary.problem else Reason.CANARY,
        message=canary.message,
        status=status,
        problem=canary.problem,
        promote=Promotion(canary.pointer, alias.etag) if canary.pointer and alias else None,
        events=canary.events,
        requeue_after=canary.requeue_after,
    )


def _tell_move(move: Move, alias: str, revision: str, why: str) -> Event:
    message = f"{alias} now refers to revision {revision}" + (f": {why}" if why else "")
    return Event("Warning" if move is Move.FORCED else "Normal", move.value, message)


def _plan_loading(
    commit: Commit, candidate: str, pool: PoolView, status: ServingStatus, settings: Settings
) -> ServingPlan | None:
    """What is missing until every ready pod holds the candidate; None when nothing is."""
    served, served_message = describe_served(status, pool)
    ready = [p for p in pool.pods if p.ready]
    poll = settings.serving.poll_seconds
    refused = find_refusal(pool, candidate)
    if refused is not None:
        return plan_refused(refused, status, pool)
    if not ready:
        reason = Reason(pool.trouble.reason) if pool.trouble else Reason.POOL_NOT_READY
        message = pool.trouble.message if pool.trouble else "waiting for the pool's first ready pod"
        return ServingPlan(
            reason,
            message,
            ready=False,
            served=served,
            served_message=served_message,
            status=status,
            requeue_after=poll,
        )
    loaded = [p for p in ready if holds(p, candidate, commit.digest)]
    if len(loaded) < len(ready):
        return ServingPlan(
            Reason.LOADING,
            f"{candidate} is loaded on {len(loaded)} of {len(ready)} ready pods",
            ready=False,
            served=served,
            served_message=served_message,
            status=status,
            requeue_after=poll,
        )
    return None
