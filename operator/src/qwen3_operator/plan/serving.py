"""The serving half of a fine-tune: what answers under its public name, and when the name moves.

    committed ──► candidate in the index ──► loaded on every ready pod ──► admitted (promotion.py)
                                                                             │
    Ready ◄── every ready pod routes the name to the new id ◄── index ◄── current.json by CAS

The incumbent stays in the index until the new one has answered for drain_seconds; whatever goes
wrong before the swap leaves it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from qwen3_api.job.report import Commit, adapter_id
from qwen3_api.serving.pool import AgentAdapter, AgentStatus, CurrentAlias
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.finetune import FineTuneSpec, ServingStatus, alias_of
from qwen3_api.v1alpha1.promotion import EvaluationStatus, Move, OnFailure
from qwen3_operator.desired.names import pool_endpoint
from qwen3_operator.observed import Alias, FineTune, Observed, PoolPod, PoolView, Problem
from qwen3_operator.plan.conditions import format_time
from qwen3_operator.plan.plan import Event, Manifest, Promotion
from qwen3_operator.plan.promotion import (
    Admission,
    kept_evaluation,
    plan_admission,
    wanted_revision,
)
from qwen3_operator.settings import Settings

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


def plan_serving(
    ft: FineTune,
    spec: FineTuneSpec,
    revision: str,
    observed: Observed,
    settings: Settings,
    now: datetime,
) -> ServingPlan:
    """Where the public name stands and what comes next."""
    alias = alias_of(ft.meta.namespace, ft.meta.name, spec)
    pool = observed.pool or PoolView(name="", exists=False, desired_replicas=spec.serving.replicas)
    ready_pods = [p for p in pool.pods if p.ready]
    current = owned_alias(observed.alias, ft.meta.uid)
    status = _build_status(ft, alias, pool, ready_pods, current, settings)
    wanted = wanted_revision(spec, revision)
    if isinstance(observed.rollback, Problem):
        return _plan_refused(observed.rollback, status, pool)
    commit = observed.commit if observed.verified else None
    if spec.promotion.rollback_to is not None:
        commit = observed.rollback
    if commit is not None and (current is None or current.revision != wanted):
        incumbent = current.revision if current else None
        admission = plan_admission(ft, spec, revision, incumbent, observed.evaluation)
        return _plan_candidate(
            ft, spec, wanted, commit, alias, pool, observed, status, admission, now, settings
        )
    if current is None:
        return ServingPlan(
            Reason.PENDING,
            "there is no result to serve yet",
            False,
            False,
            "no revision was promoted yet",
            status,
        )
    steady = _plan_steady(current, wanted, pool, ready_pods, status, settings)
    if steady.ready and wanted != revision:
        steady = replace(steady, reason=Reason.ROLLED_BACK)
    return replace(steady, evaluation=kept_evaluation(ft, revision))


def owned_alias(alias: Alias | None, uid: str) -> CurrentAlias | None:
    """What the public name stands for, if it is this fine-tune's."""
    current = alias.current if alias else None
    return current if current is not None and current.owner_uid == uid else None


def _build_status(
    ft: FineTune,
    alias: str,
    pool: PoolView,
    ready: Sequence[PoolPod],
    current: CurrentAlias | None,
    settings: Settings,
) -> ServingStatus:
    """What answers right now, as the sidecars report it; nothing if they don't agree."""
    answering = answering_id(ready, alias) if ready else None
    revision = digest = None
    if current is not None and answering is not None:
        # The present one last: two revisions may have trained the same bytes, and so share an id.
        revisions = {current.previous_id: current.previous_revision, current.id: current.revision}
        adapters = [agent_adapter(p.agent, answering) for p in ready]
        digests = {a.digest if a and a.state == "Loaded" else None for a in adapters}
        if len(digests) == 1 and (digest := digests.pop()):
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


def _served(status: ServingStatus, pool: PoolView) -> tuple[bool, str]:
    if status.revision:
        return True, f"revision {status.revision} answers on {status.loaded_replicas} pods"
    if not any(p.ready for p in pool.pods):
        return False, pool.trouble.message if pool.trouble else "no pod of the pool is ready"
    if not any(p.ready and p.agent and status.model_name in p.agent.aliases for p in pool.pods):
        return False, f"{status.model_name} is not answered yet"
    return False, "the ready pods don't agree on what answers yet"


def _plan_candidate(
    ft: FineTune,
    spec: FineTuneSpec,
    revision: str,
    commit: Commit,
    alias: str,
    pool: PoolView,
    observed: Observed,
    status: ServingStatus,
    admission: Admission,
    now: datetime,
    settings: Settings,
) -> ServingPlan:
    """A verified result isn't behind the public name yet: load it everywhere, have it admitted,
    then move the name."""
    candidate = adapter_id(ft.meta.namespace, ft.meta.name, commit.digest)
    if admission.problem is not None:
        if spec.promotion.on_failure is OnFailure.HOLD:
            status = status.model_copy(update={"candidate_id": candidate})
        refused = _plan_refused(admission.problem, status, pool)
        return replace(refused, evaluation=admission.evaluation)
    status = status.model_copy(update={"candidate_id": candidate})
    loading = _plan_loading(commit, candidate, pool, status, settings)
    if loading is not None:
        return replace(loading, evaluation=admission.evaluation)
    served, served_message = _served(status, pool)
    poll = settings.serving.poll_seconds
    waiting = ServingPlan(
        admission.reason,
        admission.message,
        False,
        served,
        served_message,
        status,
        by_person=admission.by_person,
        evaluation=admission.evaluation,
        apply=admission.apply,
        requeue_after=POLL_STEADY,
    )
    if admission.move is None:
        return waiting
    told = admission.evaluation
    before = owned_alias(observed.alias, ft.meta.uid)
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


def _tell_move(move: Move, alias: str, revision: str, why: str) -> Event:
    message = f"{alias} now means revision {revision}" + (f": {why}" if why else "")
    return Event("Warning" if move is Move.FORCED else "Normal", move.value, message)


def _plan_loading(
    commit: Commit, candidate: str, pool: PoolView, status: ServingStatus, settings: Settings
) -> ServingPlan | None:
    """What is missing until every ready pod holds the candidate; None when nothing is."""
    served, served_message = _served(status, pool)
    ready = [p for p in pool.pods if p.ready]
    poll = settings.serving.poll_seconds
    refused = _refusal(pool, candidate)
    if refused is not None:
        return _plan_refused(refused, status, pool)
    if not ready:
        reason = Reason(pool.trouble.reason) if pool.trouble else Reason.POOL_NOT_READY
        message = pool.trouble.message if pool.trouble else "waiting for the pool's first ready pod"
        return ServingPlan(
            reason, message, False, served, served_message, status, requeue_after=poll
        )
    loaded = [p for p in ready if holds(p, candidate, commit.digest)]
    if len(loaded) < len(ready):
        return ServingPlan(
            Reason.LOADING,
            f"{candidate} is loaded on {len(loaded)} of {len(ready)} ready pods",
            False,
            served,
            served_message,
            status,
            requeue_after=poll,
        )
    return None


def _refusal(pool: PoolView, candidate: str) -> Problem | None:
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
                "again. What serves now goes on serving.",
                user=False,
            )
    return None


def _plan_refused(refused: Problem, status: ServingStatus, pool: PoolView) -> ServingPlan:
    """A sidecar can't serve an adapter: nothing more happens by itself, what serves goes on."""
    served, served_message = _served(status, pool)
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


def _plan_steady(
    current: CurrentAlias,
    revision: str,
    pool: PoolView,
    ready: Sequence[PoolPod],
    status: ServingStatus,
    settings: Settings,
) -> ServingPlan:
    """The name points where it should (or at an older revision while the new one trains)."""
    served, served_message = _served(status, pool)
    poll = settings.serving.poll_seconds
    refused = _refusal(pool, current.id)
    if refused is not None and current.revision == revision and refused.reason in LASTING:
        # A pod that must hold it can't: it won't get ready by itself.
        return _plan_refused(refused, status, pool)
    if not ready:
        reason = Reason(pool.trouble.reason) if pool.trouble else Reason.POOL_NOT_READY
        return ServingPlan(
            reason, served_message, False, served, served_message, status, requeue_after=poll
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
            False,
            served,
            served_message,
            status,
            requeue_after=poll,
        )
    if current.revision != revision:
        return ServingPlan(
            Reason.OLDER_REVISION,
            f"revision {current.revision} serves until {revision} is ready",
            False,
            True,
            served_message,
            status,
            requeue_after=POLL_STEADY,
        )
    if len(ready) < pool.desired_replicas:
        return ServingPlan(
            Reason.POOL_SCALING,
            f"{len(ready)} of {pool.desired_replicas} pods serve {current.id}",
            False,
            True,
            served_message,
            status,
            requeue_after=poll,
        )
    return ServingPlan(
        Reason.SERVED,
        f"{current.alias} answers from {current.id} on {len(ready)} pods",
        True,
        True,
        served_message,
        status,
        requeue_after=POLL_STEADY,
    )
