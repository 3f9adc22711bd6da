"""A canary goes on, is judged and is taken back: by numbers of the pods and by the clock."""

from datetime import timedelta
from typing import Any

import pytest

from qwen3_api.serving.pool import AgentCanary, AliasCanary, CurrentAlias, Traffic
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_api.v1alpha1.promotion import Move
from qwen3_operator.finetune.actions import ServingPlan
from qwen3_operator.finetune.promotion.canary import CanaryPlan, plan_canary, rejection_of
from qwen3_operator.finetune.promotion.gates import build_history, is_unloaded, plan_admission
from qwen3_operator.finetune.promotion.plan import plan_serving
from qwen3_operator.finetune.views import Alias, FineTune, Observed
from qwen3_operator.resources.conditions import format_time
from qwen3_operator.serving.views import PoolPod
from support.operator_world import (
    NOW,
    SETTINGS,
    build_commit,
    build_current,
    build_finetune,
    build_pool,
    build_pool_pod,
    build_spec,
    id_of,
    spec_of,
)

ALIAS = "team-a.bot"
STEPS = [{"weightPercent": 10, "holdSeconds": 60}, {"weightPercent": 50, "holdSeconds": 60}]
NEW = build_commit(build_finetune())
OLD = build_commit(build_finetune(), "0123abcd")


def build(steps: list[Any] = STEPS, **changes: Any) -> FineTune:
    return build_finetune(build_spec(serving={"rollout": {"canarySteps": steps}}, **changes))


FT = build()
NEW_ID, OLD_ID = id_of(FT, NEW), id_of(FT, OLD)


NONE = Traffic()


def pointer(step: int | None = 0, seconds_ago: float = 0.0) -> CurrentAlias:
    """The name means OLD; NEW is its canary since some seconds."""
    canary = None
    if step is not None:
        since = format_time(NOW - timedelta(seconds=seconds_ago))
        canary = AliasCanary(
            revision=NEW.revision, id=NEW_ID, digest=NEW.digest, step=step, since=since
        )
    return build_current(FT, OLD, canary=canary)


def pod(
    name: str = "server-0",
    *,
    weight: int | None = 10,
    canary: Traffic = NONE,
    stable: Traffic = NONE,
) -> PoolPod:
    """A ready pod with both adapters. weight None: it doesn't route the canary yet."""
    found = build_pool_pod(name, {NEW_ID: NEW.digest, OLD_ID: OLD.digest}, {ALIAS: OLD_ID})
    assert found.agent is not None
    if weight is None:
        return found
    routed = AgentCanary(id=NEW_ID, weight_percent=weight, canary=canary, stable=stable)
    agent = found.agent.model_copy(update={"canaries": {ALIAS: routed}})
    return PoolPod(found.name, found.ready, agent)


def traffic(requests: int, errors: int = 0, each: float = 0.1) -> Traffic:
    return Traffic(requests=requests, errors=errors, seconds=requests * each)


def plan(current: CurrentAlias, *pods: PoolPod, ft: FineTune = FT) -> CanaryPlan:
    return plan_canary(spec_of(ft), current, NEW, NEW_ID, pods, NOW)


# --- going on


def test_it_starts_at_the_first_step() -> None:
    found = plan(pointer(None), pod(weight=None))
    assert found.pointer is not None
    assert found.pointer.canary is not None
    assert (found.pointer.canary.step, found.pointer.canary.since) == (0, format_time(NOW))
    assert found.pointer.id == OLD_ID, "the name still means the incumbent"
    assert found.weight_percent == 10
    assert [e.reason for e in found.events] == ["CanaryStarted"]


@pytest.mark.parametrize(
    ("seconds_ago", "pods", "moves"),
    [
        pytest.param(59, [pod(canary=traffic(100))], False, id="held too short"),
        pytest.param(60, [pod(canary=traffic(19))], False, id="too few requests"),
        pytest.param(60, [pod(canary=traffic(20))], True, id="enough of both"),
        pytest.param(
            60, [pod(canary=traffic(10)), pod("b", canary=traffic(10))], True, id="over two pods"
        ),
        pytest.param(
            60, [pod(canary=traffic(50)), pod("b", weight=None)], False, id="a pod lags behind"
        ),
        pytest.param(60, [pod(weight=50, canary=traffic(50))], False, id="of another step"),
    ],
)
def test_a_step_is_left_when_it_was_held_and_used(
    seconds_ago: float, pods: list[PoolPod], moves: bool
) -> None:
    found = plan(pointer(0, seconds_ago), *pods)
    assert (found.pointer is not None) is moves
    assert not found.done
    if moves:
        assert found.pointer is not None
        assert found.pointer.canary is not None
        assert found.pointer.canary.step == 1
        assert found.weight_percent == 50


def test_after_the_last_step_it_may_have_the_name() -> None:
    found = plan(pointer(1, 60), pod(weight=50, canary=traffic(20)))
    assert found.done
    assert found.pointer is None


def test_steps_taken_away_meanwhile_do_no_harm() -> None:
    found = plan(pointer(7, 60), pod(weight=10, canary=traffic(20)), ft=build(STEPS[:1]))
    assert found.done


# --- judged


@pytest.mark.parametrize(
    ("canary", "stable", "fault"),
    [
        (traffic(20, 1), traffic(0), None),
        (traffic(20, 2), traffic(0), "2 of 20 requests failed"),
        (traffic(19, 19), traffic(0), None),
        (traffic(20, each=0.21), traffic(20, each=0.1), "the mean time to first byte is 0.21 s"),
        (traffic(20, each=0.19), traffic(20, each=0.1), None),
        (traffic(20, each=0.9), traffic(19, each=0.1), None),
    ],
)
def test_it_is_taken_back(canary: Traffic, stable: Traffic, fault: str | None) -> None:
    found = plan(pointer(0, 5), pod(canary=canary, stable=stable))
    if fault is None:
        assert found.problem is None
        return
    assert found.problem is not None
    assert found.problem.reason == Reason.CANARY_FAILED
    assert fault in found.problem.message
    assert found.pointer is not None
    assert found.pointer.canary is None
    assert found.pointer.rejection is not None
    assert found.pointer.rejection.revision == NEW.revision
    assert found.pointer.id == OLD_ID
    assert found.weight_percent is None


def rejected() -> CurrentAlias:
    found = plan(pointer(0, 5), pod(canary=traffic(20, 20)))
    assert found.pointer is not None
    return found.pointer


def test_it_is_not_tried_again_by_itself() -> None:
    limits = spec_of(FT).serving.rollout.auto_rollback
    assert rejection_of(rejected(), NEW.revision, limits) is not None
    assert rejection_of(rejected(), "99999999", limits) is None
    found = serve(FT, rejected())
    assert found.reason is Reason.CANARY_FAILED
    assert found.problem is not None
    assert found.promote is None
    assert found.served
    spec = spec_of(FT)
    admission = plan_admission(FT, OLD.revision, None)
    assert is_unloaded(admission, spec, rejection_of(rejected(), NEW.revision, limits))


def test_it_is_tried_again_with_other_limits() -> None:
    """As the hint says; the next rejection is by the new limits."""
    rollout = {"canarySteps": STEPS, "autoRollback": {"maxErrorRatePercent": 90}}
    loose = build_finetune(build_spec(serving={"rollout": rollout}))
    found = serve(loose, rejected())
    assert (found.reason, found.problem) == (Reason.CANARY, None)
    assert found.promote is not None
    again = found.promote.alias
    assert again.canary is not None
    assert (again.canary.step, again.canary.revision) == (0, NEW.revision)
    back = serve(FT, again)
    assert back.reason is Reason.CANARY_FAILED, "with the old limits it is as bad as before"
    assert back.promote is not None
    assert back.promote.alias.canary is None
    worse = plan_canary(
        spec_of(loose), again, NEW, NEW_ID, (pod(canary=traffic(20, 20)),), NOW
    ).pointer
    assert worse is not None
    limits = spec_of(loose).serving.rollout.auto_rollback
    assert rejection_of(worse, NEW.revision, limits) is not None


def test_a_rejection_of_an_older_operator_stands() -> None:
    current = rejected()
    assert current.rejection is not None
    wire = current.model_dump(mode="json")
    del wire["rejection"]["limits"]
    old = CurrentAlias.model_validate(wire)
    problem = rejection_of(old, NEW.revision, spec_of(FT).serving.rollout.auto_rollback)
    assert problem is not None
    assert "autoRollback" not in problem.hint


def test_force_goes_past_a_rejection() -> None:
    force = {"force": {"revision": NEW.revision, "reason": "ticket 4711 of the platform"}}
    found = serve(build(promotion=force), rejected())
    assert found.promote is not None
    assert found.promote.alias.id == NEW_ID
    assert found.promote.alias.rejection is None


def test_a_rejection_is_on_the_record_once() -> None:
    first = build_history(FineTuneStatus(), rejected(), None, NOW)
    assert sorted((e.action, e.revision) for e in first) == [
        (Move.PROMOTED, OLD.revision),
        (Move.REFUSED, NEW.revision),
    ]
    assert build_history(FineTuneStatus(history=first), rejected(), None, NOW) == first


# --- as a part of serving


def serve(ft: FineTune, current: CurrentAlias | None, *pods: PoolPod) -> ServingPlan:
    world = Observed(
        commit=NEW,
        verified=True,
        alias=Alias(current, '"etag"') if current else None,
        pool=build_pool(*(pods or (pod(),))),
    )
    return plan_serving(ft, world, SETTINGS, NOW)


def test_a_candidate_gets_its_share_before_the_name() -> None:
    found = serve(FT, pointer(None))
    assert found.reason is Reason.CANARY
    assert not found.ready
    assert found.status.canary_weight_percent == 10
    assert found.promote is not None
    assert (found.promote.alias.id, found.promote.etag) == (OLD_ID, '"etag"')


def test_after_its_steps_it_gets_the_name() -> None:
    found = serve(FT, pointer(1, 60), pod(weight=50, canary=traffic(20)))
    assert found.reason is Reason.PROMOTING
    assert found.promote is not None
    assert (found.promote.alias.id, found.promote.alias.canary) == (NEW_ID, None)


def test_without_an_incumbent_there_is_nothing_to_split() -> None:
    found = serve(FT, None)
    assert found.promote is not None
    assert found.promote.alias.id == NEW_ID


def test_the_same_bytes_are_no_canary() -> None:
    """No pod could tell the two apart, so the steps would never be seen to pass."""
    current = build_current(FT, OLD, id=NEW_ID, digest=NEW.digest)
    found = serve(FT, current)
    assert found.promote is not None
    assert (found.promote.alias.revision, found.promote.alias.canary) == (NEW.revision, None)


@pytest.mark.parametrize(
    "ft",
    [
        pytest.param(build([]), id="no steps any more"),
        pytest.param(build(promotion={"strategy": "Manual"}), id="approval taken back"),
    ],
)
def test_a_canary_that_nobody_wants_gives_its_requests_back(ft: FineTune) -> None:
    found = serve(ft, pointer(0, 5))
    assert found.promote is not None
    assert found.promote.alias.canary is None


def test_an_edit_ends_the_canary_while_the_next_revision_trains() -> None:
    ft = build(hyperparameters={"seed": 7})
    world = Observed(commit=None, alias=Alias(pointer(0, 5), '"etag"'), pool=build_pool(pod()))
    found = plan_serving(ft, world, SETTINGS, NOW)
    assert found.promote is not None
    assert found.promote.alias.canary is None


def test_a_revert_ends_the_canary() -> None:
    """The spec asks for the incumbent again."""
    world = Observed(
        commit=OLD, verified=True, alias=Alias(pointer(0, 5), '"etag"'), pool=build_pool(pod())
    )
    found = plan_serving(FT, world, SETTINGS, NOW)
    assert found.promote is not None
    assert found.promote.alias.canary is None
    assert found.promote.alias.id == OLD_ID
    assert not found.ready
