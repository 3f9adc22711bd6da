"""What serving decides: when a public name moves, and when Ready may be said."""

from dataclasses import replace
from typing import Any

import pytest

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.finetune.actions import ServingPlan
from qwen3_operator.finetune.promotion.plan import plan_serving
from qwen3_operator.finetune.views import Alias, FineTune, Observed
from qwen3_operator.serving.views import PoolPod
from support.operator_world import (
    NOW,
    SETTINGS,
    build_alias,
    build_commit,
    build_finetune,
    build_pool,
    build_pool_pod,
    build_spec,
    id_of,
    serving_pod,
)

FT = build_finetune()
NEW = build_commit(FT)
NEW_ID = id_of(FT, NEW)
OLD = build_commit(FT, "0ld00000".replace("l", "1"))
OLD_ID = id_of(FT, OLD)
ALIAS = "team-a.bot"
BOTH = {OLD_ID: OLD.digest, NEW_ID: NEW.digest}


def plan(ft: FineTune = FT, **observed: Any) -> ServingPlan:
    return plan_serving(ft, Observed(**observed), SETTINGS, NOW)


def candidate(*pods: PoolPod, alias: Alias | None = None, **pool: Any) -> ServingPlan:
    """The new result is verified; the name means the old one, or nothing yet."""
    return plan(commit=NEW, verified=True, alias=alias, pool=build_pool(*pods, **pool))


# --- the way of a candidate


def test_nothing_to_serve_yet() -> None:
    found = plan(pool=None)
    assert (found.reason, found.ready, found.served) == (Reason.PENDING, False, False)
    assert found.promote is None


def test_an_unverified_commit_is_no_candidate() -> None:
    pods = (build_pool_pod(loaded={NEW_ID: NEW.digest}),)
    found = plan(commit=NEW, verified=False, pool=build_pool(*pods))
    assert found.promote is None
    assert found.status.candidate_id is None


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        pytest.param((), Reason.POOL_NOT_READY, id="no pods"),
        pytest.param(
            (build_pool_pod(loaded={NEW_ID: NEW.digest}, ready=False),),
            Reason.POOL_NOT_READY,
            id="none ready",
        ),
        pytest.param((build_pool_pod(),), Reason.LOADING, id="not loaded"),
        pytest.param((build_pool_pod(silent=True),), Reason.LOADING, id="sidecar is silent"),
        pytest.param(
            (build_pool_pod(loaded={NEW_ID: OLD.digest}),), Reason.LOADING, id="another digest"
        ),
        pytest.param(
            (build_pool_pod(loaded={NEW_ID: NEW.digest}), build_pool_pod("server-1")),
            Reason.LOADING,
            id="on one of two",
        ),
        pytest.param(
            (build_pool_pod(failed={NEW_ID: "LoadFailed"}),), Reason.LOAD_FAILED, id="refused"
        ),
        pytest.param(
            (
                build_pool_pod(loaded={NEW_ID: NEW.digest}),
                build_pool_pod("server-1", failed={NEW_ID: "ArtifactRefused"}, ready=False),
            ),
            Reason.ARTIFACT_REFUSED,
            id="refused by a pod that is not ready",
        ),
        pytest.param(
            (build_pool_pod(failed={NEW_ID: "Served"}),), Reason.LOAD_FAILED, id="a foreign word"
        ),
    ],
)
def test_a_candidate_waits(pods: tuple[PoolPod, ...], reason: Reason) -> None:
    found = candidate(*pods)
    assert found.reason is reason
    assert (found.ready, found.promote) == (False, None)
    assert found.requeue_after is not None, "a sidecar has no way to tell us"


def test_promotes_when_every_ready_pod_holds_it() -> None:
    slow = build_pool_pod("server-1", ready=False)
    found = candidate(build_pool_pod(loaded={NEW_ID: NEW.digest}), slow)
    assert found.promote is not None
    assert found.promote.etag is None, "the name is new"
    current = found.promote.alias
    assert (current.id, current.digest, current.previous_id) == (NEW_ID, NEW.digest, None)
    assert found.ready is False, "nothing answers yet"


def test_promotes_over_the_incumbent_by_its_etag() -> None:
    found = candidate(
        build_pool_pod(loaded=BOTH, aliases={ALIAS: OLD_ID}), alias=build_alias(FT, OLD)
    )
    assert found.promote is not None
    assert found.promote.etag == '"etag"'
    assert found.promote.alias.previous_id == OLD_ID
    assert found.served, "the old one answers meanwhile"
    assert found.status.revision == OLD.revision


def test_what_is_no_pointer_is_overwritten() -> None:
    """Somebody wrote nonsense there: without its ETag no promotion would ever succeed."""
    found = candidate(
        build_pool_pod(loaded={NEW_ID: NEW.digest}), alias=Alias(None, '"of-nonsense"')
    )
    assert found.promote is not None
    assert found.promote.etag == '"of-nonsense"'
    assert found.promote.alias.previous_id is None


def test_a_dead_owners_name_is_taken_over() -> None:
    stale = build_alias(FT, OLD, owner_uid="uid-of-yesterday")
    found = candidate(build_pool_pod(loaded=BOTH, aliases={ALIAS: OLD_ID}), alias=stale)
    assert found.promote is not None
    assert found.promote.etag == '"etag"'
    assert found.promote.alias.previous_id is None
    assert found.status.revision is None, "what answers there isn't ours"


def test_a_refused_candidate_leaves_the_incumbent_alone() -> None:
    pod = build_pool_pod(
        loaded={OLD_ID: OLD.digest}, aliases={ALIAS: OLD_ID}, failed={NEW_ID: "ArtifactCorrupt"}
    )
    found = candidate(pod, alias=build_alias(FT, OLD))
    assert found.problem is not None
    assert found.problem.reason == Reason.ARTIFACT_CORRUPT
    assert (found.served, found.ready, found.promote) == (True, False, None)
    assert found.status.digest == OLD.digest


# --- the steady state


def steady(*pods: PoolPod, commit: Any = NEW, ft: FineTune = FT, **pool: Any) -> ServingPlan:
    return plan(
        ft,
        commit=build_commit(ft),
        verified=True,
        alias=build_alias(ft, commit),
        pool=build_pool(*pods, **pool),
    )


def test_ready() -> None:
    found = steady(serving_pod(FT, NEW), serving_pod(FT, NEW, "server-1"), replicas=2)
    assert (found.reason, found.ready, found.served) == (Reason.SERVED, True, True)
    assert found.status.digest == NEW.digest
    assert (found.status.loaded_replicas, found.status.desired_replicas) == (2, 2)


@pytest.mark.parametrize(
    ("pods", "reason", "served"),
    [
        pytest.param((), Reason.POOL_NOT_READY, False, id="no pods"),
        pytest.param((serving_pod(FT, NEW, ready=False),), Reason.POOL_NOT_READY, False, id="down"),
        pytest.param(
            (build_pool_pod(silent=True),), Reason.PROMOTING, False, id="the sidecar is silent"
        ),
        pytest.param(
            (serving_pod(FT, NEW), build_pool_pod("server-1", silent=True)),
            Reason.PROMOTING,
            False,
            id="one of two is silent",
        ),
        pytest.param(
            (build_pool_pod(loaded=BOTH, aliases={ALIAS: OLD_ID}),),
            Reason.PROMOTING,
            False,
            id="still routes to what it meant before, which isn't ours to name",
        ),
        pytest.param(
            (build_pool_pod(loaded={}, aliases={ALIAS: NEW_ID}),),
            Reason.PROMOTING,
            False,
            id="routes to what it doesn't hold",
        ),
        pytest.param(
            (build_pool_pod(loaded={NEW_ID: OLD.digest}, aliases={ALIAS: NEW_ID}),),
            Reason.PROMOTING,
            True,
            id="holds other bytes under the id",
        ),
        pytest.param(
            (serving_pod(FT, NEW), serving_pod(FT, NEW, "server-1", ready=False)),
            Reason.POOL_SCALING,
            True,
            id="one of two replicas",
        ),
    ],
)
def test_not_ready(pods: tuple[PoolPod, ...], reason: Reason, served: bool) -> None:
    found = steady(*pods, replicas=max(1, len(pods)))
    assert (found.reason, found.ready, found.served) == (reason, False, served)
    assert found.requeue_after is not None


def test_pods_that_disagree_are_not_served() -> None:
    """While a name moves, one pod says old and one says new: neither is the truth."""
    found = plan(
        commit=NEW,
        verified=True,
        alias=build_alias(FT, NEW, previous_id=OLD_ID, previous_revision=OLD.revision),
        pool=build_pool(
            serving_pod(FT, NEW), build_pool_pod("b", BOTH, {ALIAS: OLD_ID}), replicas=2
        ),
    )
    assert (found.ready, found.served, found.status.digest) == (False, False, None)


def test_the_previous_revision_is_told_until_pods_follow() -> None:
    found = plan(
        commit=NEW,
        verified=True,
        alias=build_alias(FT, NEW, previous_id=OLD_ID, previous_revision=OLD.revision),
        pool=build_pool(build_pool_pod(loaded=BOTH, aliases={ALIAS: OLD_ID})),
    )
    assert (found.ready, found.served) == (False, True)
    assert (found.status.revision, found.status.digest) == (OLD.revision, OLD.digest)


def test_two_revisions_with_the_same_bytes() -> None:
    """They share an id; the one that is asked for now is told."""
    found = plan(
        commit=NEW,
        verified=True,
        alias=build_alias(FT, NEW, previous_id=NEW_ID, previous_revision=OLD.revision),
        pool=build_pool(serving_pod(FT, NEW)),
    )
    assert found.ready
    assert found.status.revision == NEW.revision


def test_the_older_revision_serves_while_the_new_one_trains() -> None:
    found = plan(alias=build_alias(FT, OLD), pool=build_pool(serving_pod(FT, OLD)))
    assert (found.reason, found.ready, found.served) == (Reason.OLDER_REVISION, False, True)


def test_a_pod_in_trouble_is_told() -> None:
    trouble = FailureStatus.of(Reason.UNSCHEDULABLE, "0/3 nodes")
    for found in (
        steady(trouble=trouble),
        candidate(trouble=trouble),
    ):
        assert found.reason is Reason.UNSCHEDULABLE
        assert found.problem is None, "a node may come"


def test_another_public_name_starts_anew() -> None:
    """The pointer of the new name isn't there: the same bytes are promoted under it."""
    renamed = build_finetune(build_spec(serving={"modelName": "helper"}))
    pod = build_pool_pod(loaded={NEW_ID: NEW.digest}, aliases={ALIAS: NEW_ID})
    found = plan(renamed, commit=NEW, verified=True, alias=None, pool=build_pool(pod))
    assert found.promote is not None
    assert found.promote.alias.alias == "helper"
    assert found.status.model_name == "helper"
    assert replace(found, promote=None).served is False
