"""Adapters that a pool holds for an evaluation only: their places, their waiting, their ends."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qwen3_api.serving.pool import PoolCanary, PoolIndex
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.evaluation.adapter import GuestView, find_waiting, is_permanent
from qwen3_operator.serving.actions import PoolPlan
from qwen3_operator.serving.adapter import Guest, build_own_adapter
from qwen3_operator.serving.manifests import PoolSpec
from qwen3_operator.serving.plan import POOL_KINDS, Member, plan_pool
from qwen3_operator.serving.views import PoolView
from support.evaluation_world import build_eval, conditions_of, order_of, plan
from support.operator_world import (
    MODEL,
    NAMESPACE,
    NOW,
    SETTINGS,
    build_commit,
    build_current,
    build_finetune,
    build_pool,
    build_pool_pod,
    id_of,
    revision_of,
    spec_of,
    storage_of,
)
from support.pool_specs import build_pool_spec

FT = build_finetune()
SPEC: PoolSpec = build_pool_spec()
SMALL = SETTINGS.model_copy(
    update={"serving": SETTINGS.serving.model_copy(update={"max_loras": 1, "max_cpu_loras": 2})}
)


def guest(revision: str = "0a1b2c3d", number: int = 0) -> Guest:
    return Guest(
        namespace=NAMESPACE,
        adapter=build_own_adapter(NAMESPACE, "bot", build_commit(FT, revision), storage_of(FT)),
        base_model=spec_of(FT).base_model,
        storage=storage_of(FT),
        pool="pool-x",
        since=NOW + timedelta(seconds=number),
        evaluation=f"trial-{number}",
        revision=revision,
    )


ADAPTER = guest().adapter
HOLDING = build_pool_pod("server-0", {ADAPTER.id: ADAPTER.digest})


def serving() -> Member:
    commit = build_commit(FT)
    return Member(
        name="bot",
        uid=FT.meta.uid,
        alias="team-a.bot",
        replicas=1,
        revision=revision_of(FT),
        current=build_current(FT, commit),
        commits={id_of(FT, commit): commit},
        candidate=commit,
    )


def plan_with(*guests: Guest, members: tuple[Member, ...] = (), **changes: Any) -> PoolPlan:
    values = {"held": (), "settings": SMALL, "spec": SPEC} | changes
    return plan_pool(
        values["spec"], members, None, True, "pool-x", values["settings"], NOW, values["held"],
        (), guests,
    )  # fmt: skip


def index_of(found: PoolPlan) -> PoolIndex:
    assert found.index is not None
    return found.index


def test_a_guest_has_no_name_and_nobody_waits_for_it() -> None:
    index = index_of(plan_with(guest(), members=(serving(),)))
    (entry,) = [a for a in index.adapters if a.id == ADAPTER.id]
    assert entry.required is False
    assert set(index.aliases.values()) == {id_of(FT, build_commit(FT))}


def test_what_serves_has_its_place_first_and_then_who_came_first() -> None:
    many = [guest(f"0000000{n}", n) for n in range(3)]
    index = index_of(plan_with(*many, members=(serving(),)))
    assert {a.id for a in index.adapters} == {id_of(FT, build_commit(FT)), many[0].adapter.id}


def test_a_candidate_that_is_evaluated_too_takes_one_place() -> None:
    own = guest(revision_of(FT))
    index = index_of(plan_with(own, guest("0000000a", 1), members=(serving(),)))
    assert len(index.adapters) == 2
    (entry,) = [a for a in index.adapters if a.id == own.adapter.id]
    assert entry.required, "it serves all the same"


def test_a_pool_for_guests_alone_goes_with_them() -> None:
    assert [m["kind"] for m in plan_with(guest()).apply][-1] == "Deployment"
    assert {d.kind for d in plan_with().delete} == set(POOL_KINDS)


def test_names_that_are_held_outlive_an_evaluation() -> None:
    """Nothing of a fine-tune whose spec can't be read is removed with the last guest."""
    assert plan_with(held=("team-a.cat",)).delete == ()


def test_an_older_sidecar_reads_an_index_without_canaries() -> None:
    """It refuses fields that it doesn't know."""
    index = index_of(plan_with(guest()))
    assert "canaries" not in json.loads(index.to_json())
    assert PoolIndex.model_validate_json(index.to_json()) == index
    canary = PoolCanary(id=ADAPTER.id, weight_percent=5)
    split = index.model_copy(update={"canaries": {"team-a.bot": canary}})
    assert PoolIndex.model_validate_json(split.to_json()) == split


# --- the evaluation


def view(*pods: Any, index: PoolIndex | None = None, **changes: Any) -> GuestView:
    pool: PoolView | None = build_pool(*pods, **changes)
    return GuestView(guest(), pool, index)


def full_index() -> PoolIndex:
    return index_of(plan_with(guest("0000000a"), guest("0000000b")))


@pytest.mark.parametrize(
    ("seen", "reason", "words", "lasting"),
    [
        (view(), None, "no pod of its pool is ready", None),
        (
            view(trouble=FailureStatus.of(Reason.UNSCHEDULABLE, "0/3 nodes")),
            None,
            "no pod of its pool is ready: 0/3 nodes",
            None,
        ),
        (view(HOLDING, build_pool_pod("server-1")), None, "loaded on 1 of 2 ready pods", None),
        (view(HOLDING, build_pool_pod("server-1", ready=False)), None, None, None),
        (
            view(build_pool_pod("server-0", failed={ADAPTER.id: "ArtifactRefused"})),
            "ArtifactRefused",
            "pod server-0 rejected",
            True,
        ),
        (
            view(build_pool_pod("server-0", failed={ADAPTER.id: "StorageUnavailable"})),
            "StorageUnavailable",
            "pod server-0 rejected",
            False,
        ),
        (view(index=full_index()), "PoolFull", "holds 2 adapters", False),
        (GuestView(FailureStatus.of(Reason.ADAPTER_NOT_FOUND, "x")), "AdapterNotFound", "x", False),
        (GuestView(FailureStatus.of(Reason.ARTIFACT_CORRUPT, "x")), "ArtifactCorrupt", "x", True),
    ],
)
def test_what_an_adapter_waits_for(
    seen: GuestView, reason: str | None, words: str | None, lasting: bool | None
) -> None:
    found = find_waiting(seen, SMALL)
    if reason is None:
        assert (found is None) is (words is None)
        assert words is None or words in str(found)
        return
    assert isinstance(found, FailureStatus)
    assert found.reason == reason
    assert words is not None
    assert words in found.message
    assert is_permanent(found) is lasting


TARGET = {"type": "Adapter", "adapter": {"fineTune": {"name": "bot", "revision": "0a1b2c3d"}}}


def test_it_is_asked_under_its_own_id_against_its_base() -> None:
    found = plan(build_eval(target=TARGET), guest=view(HOLDING))
    order = order_of(found)
    assert (order.target.model, order.target.base_url) == (
        ADAPTER.id,
        "http://pool-x.team-a.svc.cluster.local/v1",
    )
    assert [b.model for b in order.baselines] == [MODEL]
    assert found.status is not None
    assert found.status.resolved is not None
    assert found.status.resolved.target_revision == "0a1b2c3d"


@pytest.mark.parametrize(("reason", "verdict"), [("ArtifactCorrupt", "Error"), ("PoolFull", None)])
def test_only_what_lasts_is_a_verdict(reason: str, verdict: str | None) -> None:
    problem = FailureStatus.of(reason, "so it is", "Do that.")
    first = plan(build_eval(target=TARGET), guest=GuestView(problem))
    assert first.status is not None
    assert first.status.verdict == verdict
    assert conditions_of(first)["Stalled"].message == "so it is. Do that."
    assert (first.requeue_after is None) is (verdict is not None)
    later = plan(build_eval(first.status, target=TARGET), guest=view(HOLDING))
    assert later.status is not None
    if verdict is not None:
        assert later.status.to_wire() == first.status.to_wire(), "it was told; apply another one"
    else:
        assert later.apply != ()


def test_a_guest_of_a_revision_that_is_not_loaded_is_not_started() -> None:
    found = plan(build_eval(target=TARGET), guest=replace(view(), pool=build_pool()))
    assert found.apply == ()
    assert conditions_of(found)["Ready"].reason == "TargetNotReady"
