"""What a pool shall hold, and when it exists."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qwen3_api.job.train import HuggingFaceModel
from qwen3_api.serving.pool import AgentAdapter, AgentStatus, AliasCanary, PoolCanary, PoolIndex
from qwen3_operator.finetune.views import FineTune
from qwen3_operator.serving.actions import PoolPlan
from qwen3_operator.serving.manifests import PoolSpec
from qwen3_operator.serving.plan import POOL_KINDS, Member, needs_pods, plan_pool, same_content
from qwen3_operator.serving.views import PoolPod
from support.operator_world import (
    MODEL,
    NAMESPACE,
    NOW,
    SETTINGS,
    build_commit,
    build_current,
    build_finetune,
    build_pool_pod,
    id_of,
    revision_of,
    storage_of,
)

FT = build_finetune()
CAT = build_finetune(name="cat", uid="uid-cat")
NEW = build_commit(FT)
OLD = build_commit(FT, "01d00000")
ALIAS = "team-a.bot"
SPEC = PoolSpec(
    namespace=NAMESPACE,
    name="pool-x",
    base_model=MODEL,
    source=HuggingFaceModel(repo=MODEL),
    storage=storage_of(FT),
    replicas=1,
    hf_token_secret=None,
)
DRAIN = SETTINGS.serving.drain_seconds


def build_member(ft: FineTune = FT, **changes: Any) -> Member:
    values: dict[str, Any] = {
        "name": ft.meta.name,
        "uid": ft.meta.uid,
        "alias": f"{NAMESPACE}.{ft.meta.name}",
        "replicas": 1,
        "revision": revision_of(ft),
        "current": None,
        "commits": {},
        "candidate": None,
    }
    return Member(**(values | changes))


def promoted(seconds_ago: float = 0.0) -> Member:
    """NEW was promoted over OLD."""
    when = (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    current = build_current(
        FT, NEW, promoted=when, previous_id=id_of(FT, OLD), previous_revision=OLD.revision
    )
    commits = {id_of(FT, NEW): NEW, id_of(FT, OLD): OLD}
    return build_member(current=current, commits=commits, candidate=NEW)


def plan(
    *members: Member,
    before: PoolIndex | None = None,
    spec: PoolSpec | None = SPEC,
    exists: bool = True,
    held: tuple[str, ...] = (),
    pods: tuple[PoolPod, ...] = (),
) -> PoolPlan:
    return plan_pool(spec, members, before, exists, "pool-x", SETTINGS, NOW, held, pods)


def index_of(found: PoolPlan) -> PoolIndex:
    """The index, with the rule that every alias names a required adapter."""
    assert found.index is not None
    adapters = {a.id: a for a in found.index.adapters}
    assert len(adapters) == len(found.index.adapters)
    for id_ in found.index.aliases.values():
        assert adapters[id_].required
    return found.index


def required(index: PoolIndex) -> dict[str, bool]:
    return {a.id: a.required for a in index.adapters}


def test_a_candidate_comes_in_without_a_name() -> None:
    found = plan(build_member(candidate=NEW))
    assert required(index_of(found)) == {id_of(FT, NEW): False}
    assert index_of(found).aliases == {}
    assert [m["kind"] for m in found.apply][-1] == "Deployment", "after what it needs"


def test_the_incumbent_stays_beside_a_candidate() -> None:
    current = build_current(FT, OLD)
    found = plan(build_member(current=current, commits={id_of(FT, OLD): OLD}, candidate=NEW))
    assert required(index_of(found)) == {id_of(FT, OLD): True, id_of(FT, NEW): False}
    assert index_of(found).aliases == {ALIAS: id_of(FT, OLD)}


def test_the_previous_one_drains() -> None:
    found = plan(promoted(seconds_ago=20))
    assert required(index_of(found)) == {id_of(FT, NEW): True, id_of(FT, OLD): False}
    assert found.requeue_after == DRAIN - 20
    later = plan(promoted(seconds_ago=DRAIN))
    assert required(index_of(later)) == {id_of(FT, NEW): True}
    assert later.requeue_after is None


def test_the_previous_one_is_kept_for_a_rollback() -> None:
    keep = 10.0 * DRAIN
    member = replace(promoted(seconds_ago=DRAIN + 20), keep_previous_seconds=keep)
    found = plan(member)
    assert required(index_of(found)) == {id_of(FT, NEW): True, id_of(FT, OLD): False}
    assert found.requeue_after == keep - DRAIN - 20


def test_a_canary_is_routed_while_its_adapter_is_there() -> None:
    canary = AliasCanary(
        revision=NEW.revision, id=id_of(FT, NEW), digest=NEW.digest, step=0,
        since="2026-03-01T12:00:00Z",
    )  # fmt: skip
    member = build_member(
        current=build_current(FT, OLD, canary=canary),
        commits={id_of(FT, OLD): OLD},
        candidate=NEW,
        canary_weight=10,
    )
    found = index_of(plan(member))
    assert found.aliases == {ALIAS: id_of(FT, OLD)}
    assert found.canaries == {ALIAS: PoolCanary(id=id_of(FT, NEW), weight_percent=10)}
    assert required(found)[id_of(FT, NEW)] is False, "a pod is ready without a canary"
    assert index_of(plan(replace(member, candidate=None))).canaries == {}
    assert index_of(plan(replace(member, canary_weight=None))).canaries == {}


def test_what_a_rollback_asks_for_comes_in() -> None:
    """It may have been unloaded long ago."""
    older = build_commit(FT, "77777777")
    found = plan(replace(promoted(seconds_ago=DRAIN), rollback=older))
    assert required(index_of(found)) == {id_of(FT, NEW): True, id_of(FT, older): False}


def test_two_revisions_with_the_same_bytes_are_one_adapter() -> None:
    id_ = id_of(FT, NEW)
    current = build_current(FT, NEW, previous_id=id_, previous_revision=OLD.revision)
    found = plan(build_member(current=current, commits={id_: NEW}, candidate=NEW))
    assert required(index_of(found)) == {id_: True}


def test_nothing_is_written_twice() -> None:
    index = index_of(plan(promoted()))
    found = plan(promoted(), before=index)
    assert found.index is None
    grown = index_of(plan(promoted(), build_member(CAT, candidate=build_commit(CAT)), before=index))
    assert grown.serial == index.serial + 1
    assert same_content(index, index.model_copy(update={"serial": 99}))


def test_members_are_told_in_one_order() -> None:
    one, two = promoted(), build_member(CAT, candidate=build_commit(CAT))
    assert index_of(plan(one, two)) == index_of(plan(two, one))


# --- what never takes an incumbent down


HOLDS = build_pool_pod(loaded={id_of(FT, NEW): NEW.digest})


RELOADS = PoolPod(
    "a",
    False,
    AgentStatus(
        pod="a",
        ready=False,
        serial=1,
        adapters=[AgentAdapter(id=id_of(FT, NEW), digest="", state="Loading")],
        aliases={},
    ),
)
REFUSES = build_pool_pod(failed={id_of(FT, NEW): "ArtifactCorrupt"}, ready=False)


@pytest.mark.parametrize(
    ("pods", "stays"),
    [
        pytest.param((HOLDS,), True, id="a pod has a good copy"),
        pytest.param((build_pool_pod("b"), HOLDS), True, id="one of two has"),
        pytest.param((build_pool_pod(silent=True),), True, id="it may have"),
        pytest.param((RELOADS,), True, id="vLLM restarted, the pod's files are still good"),
        pytest.param((REFUSES,), False, id="a new pod finds the files damaged"),
        pytest.param((build_pool_pod(),), False, id="none has"),
        pytest.param((), False, id="there are no pods"),
    ],
)
def test_damaged_files_leave_a_loaded_incumbent_alone(
    pods: tuple[PoolPod, ...], stays: bool
) -> None:
    """Taking the name away would turn a warning into an outage; but once nobody holds it, it would
    keep every pod of the pool from becoming ready."""
    before = index_of(plan(promoted()))
    damaged = replace(promoted(), commits={}, candidate=None)
    assert needs_pods((damaged,))
    assert not needs_pods((promoted(),))
    found = plan(damaged, before=before, pods=pods).index or before
    assert (ALIAS in found.aliases) is stays


def test_an_entry_of_another_digest_is_not_carried_over() -> None:
    before = index_of(plan(promoted()))
    other = replace(promoted(), commits={}, candidate=None)
    assert other.current is not None
    other = replace(other, current=other.current.model_copy(update={"digest": "f" * 64}))
    assert index_of(plan(other, before=before, pods=(HOLDS,))).aliases == {}


def test_a_fine_tune_that_cannot_be_read_keeps_its_name() -> None:
    before = index_of(plan(promoted()))
    cat = build_member(CAT, candidate=build_commit(CAT))
    found = index_of(plan(cat, before=before, held=(ALIAS,)))
    assert found.aliases == {ALIAS: id_of(FT, NEW)}
    assert required(found)[id_of(FT, NEW)]
    alone = plan(before=before, spec=None, held=(ALIAS,))
    assert (alone.index, alone.delete, alone.apply) == (None, (), ())
    assert index_of(plan(cat, before=None, held=(ALIAS,))).aliases == {}


# --- when it exists


@pytest.mark.parametrize(
    ("members", "spec"), [((), None), ((), SPEC), ((build_member(),), SPEC)], ids=str
)
def test_a_pool_without_results_goes_and_never_comes(
    members: tuple[Member, ...], spec: PoolSpec | None
) -> None:
    """Before its first result it would hold a GPU for nothing."""
    found = plan(*members, spec=spec)
    assert [d.kind for d in found.delete] == list(POOL_KINDS)
    assert found.delete[-1].kind == "ConfigMap", "a crash in between is found by what is left"
    assert (found.apply, found.index) == ((), None)
    assert plan(*members, spec=spec, exists=False).delete == ()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("Disabled", False), ("Enabled", True), ("AsInData", None), ("of a newer release", None)],
)
def test_the_index_says_what_an_adapter_was_trained_for(policy: str, expected: bool | None) -> None:
    provenance = NEW.provenance.model_copy(update={"thinking": policy})
    commit = NEW.model_copy(update={"provenance": provenance})
    current = build_current(FT, commit)
    for member in (
        build_member(candidate=commit),
        build_member(current=current, commits={id_of(FT, commit): commit}, candidate=commit),
    ):
        index = index_of(plan(member))
        assert [a.enable_thinking for a in index.adapters] == [expected]
        # Sidecars older than the field refuse it; only pools that need it have to be replaced.
        assert (b"enable_thinking" in index.to_json()) is (expected is not None)
        assert PoolIndex.model_validate_json(index.to_json()) == index
