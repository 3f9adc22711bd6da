"""The serving half of a fine-tune: what answers under its public name, and when the name moves.

    committed ──► candidate in the index ──► loaded on every ready pod ──► current.json by CAS
                                                                             │
    Ready ◄── every ready pod routes the name to the new id ◄── index ◄──────┘

The incumbent stays in the index until the new one has answered for drain_seconds; whatever goes
wrong before the swap leaves it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from qwen3_api.job.report import Commit, adapter_id
from qwen3_api.serving.pool import AgentAdapter, AgentStatus, CurrentAlias
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.finetune import FineTuneSpec, ServingStatus, alias_of
from qwen3_operator.desired.names import pool_endpoint
from qwen3_operator.observed import FineTune, Observed, PoolPod, PoolView, Problem
from qwen3_operator.plan.conditions import format_time
from qwen3_operator.plan.plan import Event, Promotion
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
    current = _owned(observed, ft.meta.uid)
    commit = observed.commit if observed.verified else None
    candidate = adapter_id(ft.meta.namespace, ft.meta.name, commit.digest) if commit else None
    status = _build_status(ft, alias, pool, ready_pods, current, settings)
    if (
        commit is not None
        and candidate is not None
        and (current is None or current.revision != revision)
    ):
        return _plan_candidate(
            ft, revision, commit, candidate, alias, pool, observed, status, now, settings
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
    return _plan_steady(current, revision, pool, ready_pods, status, settings)


def _owned(observed: Observed, uid: str) -> CurrentAlias | None:
    current = observed.alias.current if observed.alias else None
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
    revision: str,
    commit: Commit,
    candidate: str,
    alias: str,
    pool: PoolView,
    observed: Observed,
    status: ServingStatus,
    now: datetime,
    settings: Settings,
) -> ServingPlan:
    """A verified result isn't behind the public name yet: load it everywhere, then move it."""
    status = status.model_copy(update={"candidate_id": candidate})
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
    before = _owned(observed, ft.meta.uid)
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
        ),
        observed.alias.etag if observed.alias else None,
    )
    return ServingPlan(
        Reason.PROMOTING,
        f"{alias} is being switched to {candidate}",
        False,
        served,
        served_message,
        status,
        promote=promotion,
        requeue_after=poll,
        events=(Event("Normal", "Promoted", f"{alias} now means revision {revision}"),),
    )


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
