"""A candidate takes over in steps, watched, and is taken back when it misbehaves. Pure.

    start ──► step 0 ──held, enough requests, all well──► step 1 ──► … ──► promoted
                 └── errors or latency over the limit ──► rejected: the incumbent has all requests

The state lies in the pointer of the public name and moves by compare-and-swap; what the pods count
begins anew with each step (`AgentStatus.canaries`), so nothing else has to be remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from qwen3_api.job.report import Commit
from qwen3_api.serving.pool import AliasCanary, AliasRejection, CurrentAlias, Traffic
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.serving_spec import AutoRollbackSpec, CanaryStep
from qwen3_operator.resources.actions import Event
from qwen3_operator.resources.conditions import format_time
from qwen3_operator.resources.identity import short_digest
from qwen3_operator.resources.views import parse_time
from qwen3_operator.serving.views import PoolPod

_ADVICE = (
    "The incumbent gets all requests again. Check the pool's logs; then change the training inputs "
    "for a new revision, "
)
_FORCE = "or force the promotion with spec.promotion.force."
HINT = f"{_ADVICE}relax serving.rollout.autoRollback to retry it, {_FORCE}"
OLD_HINT = f"{_ADVICE}{_FORCE}"
"""Of a rejection that doesn't say which limits were broken."""


@dataclass(frozen=True)
class CanaryPlan:
    """How a canary goes on."""

    message: str
    weight_percent: int | None = None
    """Of the requests that it answers now; None: none."""
    pointer: CurrentAlias | None = None
    """To be swapped in: another step, or none any more."""
    done: bool = False
    """All steps are behind it: it may have the name."""
    problem: FailureStatus | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True)
class Watched:
    """What the pods of a step counted together."""

    canary: Traffic
    stable: Traffic
    pods: int
    """Ready pods that route the step; the others haven't taken it over yet."""


def rejection_of(
    current: CurrentAlias | None, revision: str, limits: AutoRollbackSpec
) -> FailureStatus | None:
    """A revision that was taken back as a canary isn't tried again by itself, unless it is asked
    for other limits by now."""
    rejection = current.rejection if current is not None else None
    if rejection is None or rejection.revision != revision:
        return None
    if rejection.limits is None:
        return FailureStatus.of(Reason.CANARY_FAILED, rejection.message, OLD_HINT)
    if rejection.limits != limits_digest(limits):
        return None
    return FailureStatus.of(Reason.CANARY_FAILED, rejection.message, HINT)


def limits_digest(limits: AutoRollbackSpec) -> str:
    """Of the limits that a canary is judged by."""
    return short_digest(limits.model_dump(mode="json", by_alias=True))


def step_of(canary: AliasCanary, steps: Sequence[CanaryStep]) -> CanaryStep:
    """The step that a canary is at; the last one if the spec has fewer by now."""
    return steps[min(canary.step, len(steps) - 1)]


def plan_canary(
    spec: FineTuneSpec,
    current: CurrentAlias,
    commit: Commit,
    candidate: str,
    ready: Sequence[PoolPod],
    now: datetime,
) -> CanaryPlan:
    """The next move of an admitted candidate that every ready pod holds.

    current: the name as it is, an incumbent behind it.
    """
    steps = spec.serving.rollout.canary_steps
    canary = current.canary
    if canary is None or (canary.revision, canary.id) != (commit.revision, candidate):
        fresh = AliasCanary(
            revision=commit.revision,
            id=candidate,
            digest=commit.digest,
            step=0,
            since=format_time(now),
        )
        return _go_to(current, fresh, steps, "CanaryStarted")
    step = step_of(canary, steps)
    watched = watch(ready, current.alias, candidate, step.weight_percent)
    limits = spec.serving.rollout.auto_rollback
    fault = find_fault(watched, limits)
    if fault is not None:
        message = f"canary of revision {commit.revision} at {step.weight_percent} %: {fault}"
        rejection = AliasRejection(
            revision=commit.revision,
            rejected=format_time(now),
            message=message,
            limits=limits_digest(limits),
        )
        pointer = current.model_copy(update={"canary": None, "rejection": rejection})
        problem = FailureStatus.of(Reason.CANARY_FAILED, message, HINT)
        return CanaryPlan(message, pointer=pointer, problem=problem)
    told = _tell(step, watched, len(ready))
    left = step.hold_seconds - (now - parse_time(canary.since)).total_seconds()
    enough = watched.canary.requests >= limits.min_requests
    if left > 0 or not enough or watched.pods < len(ready):
        if left <= 0 and not enough:
            told += f"; continues at {limits.min_requests} requests"
        return CanaryPlan(told, step.weight_percent, requeue_after=max(1.0, min(left, 5.0)))
    if canary.step + 1 >= len(steps):
        return CanaryPlan(told, step.weight_percent, done=True)
    further = canary.model_copy(update={"step": canary.step + 1, "since": format_time(now)})
    return _go_to(current, further, steps, "CanaryAdvanced")


def _go_to(
    current: CurrentAlias,
    canary: AliasCanary,
    steps: Sequence[CanaryStep],
    reason: Literal["CanaryStarted", "CanaryAdvanced"],
) -> CanaryPlan:
    step = step_of(canary, steps)
    message = (
        f"revision {canary.revision} gets {step.weight_percent} % of the requests "
        f"for {step.hold_seconds} s"
    )
    return CanaryPlan(
        message,
        step.weight_percent,
        pointer=current.model_copy(update={"canary": canary}),
        events=(Event("Normal", reason, message),),
        requeue_after=1.0,
    )


def watch(ready: Sequence[PoolPod], alias: str, candidate: str, weight_percent: int) -> Watched:
    """Sum over the pods that route this very step."""
    found = [
        routed
        for pod in ready
        if pod.agent is not None
        and (routed := pod.agent.canaries.get(alias)) is not None
        and (routed.id, routed.weight_percent) == (candidate, weight_percent)
    ]
    return Watched(
        canary=_sum([f.canary for f in found]),
        stable=_sum([f.stable for f in found]),
        pods=len(found),
    )


def _sum(parts: Sequence[Traffic]) -> Traffic:
    return Traffic(
        requests=sum(p.requests for p in parts),
        errors=sum(p.errors for p in parts),
        seconds=sum(p.seconds for p in parts),
    )


def find_fault(watched: Watched, limits: AutoRollbackSpec) -> str | None:
    """What is wrong with the candidate, once there are enough requests to say so."""
    canary, stable = watched.canary, watched.stable
    if canary.requests < limits.min_requests:
        return None
    rate = 100 * canary.errors / canary.requests
    if rate > limits.max_error_rate_percent:
        return (
            f"{canary.errors} of {canary.requests} requests failed ({rate:.1f} %); "
            f"the limit is {limits.max_error_rate_percent} %"
        )
    if stable.requests < limits.min_requests:
        return None
    mine, theirs = canary.seconds / canary.requests, stable.seconds / stable.requests
    if mine > theirs * (1 + limits.max_latency_increase_percent / 100):
        return (
            f"the mean time to first byte is {mine:.2f} s, the incumbent's {theirs:.2f} s; "
            f"the limit is {limits.max_latency_increase_percent} % more"
        )
    return None


def _tell(step: CanaryStep, watched: Watched, ready: int) -> str:
    canary = watched.canary
    told = (
        f"{step.weight_percent} % of the requests: {canary.requests} answered, "
        f"{canary.errors} failed"
    )
    if watched.pods < ready:
        told += f"; {watched.pods} of {ready} pods route it"
    return told
