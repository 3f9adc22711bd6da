"""What a pod does next, as tables."""

import pytest

from qwen3_api.job.base import S3Location
from qwen3_api.job.train import S3Model
from qwen3_api.serving.config import ServerConfig
from qwen3_api.serving.pool import PoolAdapter, PoolCanary, PoolIndex
from qwen3_server.agent.plan import assess_readiness, index_problem, plan_routes, plan_unloads
from qwen3_server.routes import Routes

WHERE = S3Location(endpoint=None, region=None, bucket="b", prefix="p")
V1, V2, OTHER = "a.bot.1", "a.bot.2", "a.other.1"
BOOT = "boot-1"


def adapter(model: str, required: bool = True) -> PoolAdapter:
    return PoolAdapter(
        id=model, digest="0" * 64, location=WHERE, files=[], rank=8, required=required
    )


def index(
    adapters: list[PoolAdapter],
    aliases: dict[str, str],
    serial: int = 2,
    canaries: dict[str, PoolCanary] | None = None,
) -> PoolIndex:
    return PoolIndex(
        namespace="a",
        pool="pool",
        base_model="base",
        max_rank=16,
        adapters=adapters,
        aliases=aliases,
        canaries=canaries or {},
        serial=serial,
    )


def routes(aliases: dict[str, str], boot: str = BOOT, serial: int = 1) -> Routes:
    return Routes(
        boot=boot,
        serial=serial,
        base_model="base",
        ids=sorted(set(aliases.values())),
        aliases=aliases,
        loading=[],
    )


FLIP = index([adapter(V1), adapter(V2)], {"bot": V2})
FLIP_AND_DROP = index([adapter(V2)], {"bot": V2})


@pytest.mark.parametrize(
    ("wanted", "answering", "previous", "aliases", "ids", "loading"),
    [
        pytest.param(FLIP, {V1, V2}, routes({"bot": V1}), {"bot": V2}, [V1, V2], [], id="flip"),
        pytest.param(
            FLIP, {V1}, routes({"bot": V1}), {"bot": V1}, [V1], [V2], id="new-not-there-yet"
        ),
        pytest.param(
            FLIP_AND_DROP,
            {V1},
            routes({"bot": V1}),
            {"bot": V1},
            [V1],
            [V2],
            id="old-left-the-index-too-early",
        ),
        pytest.param(
            FLIP_AND_DROP, {V1, V2}, routes({"bot": V1}), {"bot": V2}, [V2], [], id="old-may-go"
        ),
        pytest.param(FLIP, {V2}, None, {"bot": V2}, [V2], [V1], id="first"),
        pytest.param(
            FLIP, set(), routes({"bot": V1}), {}, [], [V1, V2, "bot"], id="nothing-loaded"
        ),
        pytest.param(
            FLIP,
            {V1},
            routes({"bot": V1}, boot="boot-0"),
            {},
            [V1],
            [V2, "bot"],
            id="other-process",
        ),
        pytest.param(
            index([adapter(V1)], {}), {V1}, routes({"bot": V1}), {}, [V1], [], id="alias-removed"
        ),
        pytest.param(
            index([adapter(V1), adapter(V2)], {"base": V1, V1: V2}),
            {V1, V2},
            None,
            {},
            [V1, V2],
            [],
            id="alias-hides-a-model",
        ),
    ],
)
def test_routes(
    wanted: PoolIndex,
    answering: set[str],
    previous: Routes | None,
    aliases: dict[str, str],
    ids: list[str],
    loading: list[str],
) -> None:
    planned = plan_routes(wanted, answering, previous, BOOT)
    assert (planned.aliases, planned.ids, planned.loading) == (aliases, ids, loading)
    assert (planned.boot, planned.serial) == (BOOT, wanted.serial)


def canary(model: str = V2) -> dict[str, PoolCanary]:
    return {"bot": PoolCanary(id=model, weight_percent=10)}


CANDIDATE = index([adapter(V1), adapter(V2, required=False)], {"bot": V1}, canaries=canary())


@pytest.mark.parametrize(
    ("wanted", "answering", "previous", "canaries"),
    [
        pytest.param(CANDIDATE, {V1, V2}, None, canary(), id="both-loaded"),
        pytest.param(CANDIDATE, {V1}, None, {}, id="canary-not-loaded"),
        pytest.param(CANDIDATE, {V2}, None, {}, id="nobody-to-compare-with"),
        pytest.param(
            CANDIDATE, {OTHER, V2}, routes({"bot": OTHER}), {}, id="the-alias-is-still-elsewhere"
        ),
        pytest.param(
            index([adapter(V1)], {"bot": V1}, canaries=canary()), {V1, V2}, None, {}, id="unlisted"
        ),
        pytest.param(
            index([adapter(V2)], {"bot": V2}, canaries=canary()), {V2}, None, {}, id="promoted"
        ),
        pytest.param(
            index(
                [adapter(V1), adapter(V2)],
                {"base": V1},
                canaries={"base": PoolCanary(id=V2, weight_percent=10)},
            ),
            {V1, V2},
            None,
            {},
            id="alias-hides-the-base",
        ),
    ],
)
def test_canaries(
    wanted: PoolIndex,
    answering: set[str],
    previous: Routes | None,
    canaries: dict[str, PoolCanary],
) -> None:
    assert plan_routes(wanted, answering, previous, BOOT).canaries == canaries


@pytest.mark.parametrize("loaded", [{V1}, {V1, V2}])
def test_readiness_does_not_wait_for_a_canary(loaded: set[str]) -> None:
    told = plan_routes(CANDIDATE, loaded, None, BOOT)
    assert assess_readiness(CANDIDATE, True, loaded, told, BOOT).ready


def test_an_adapter_is_unloaded_only_after_it_left_index_and_routes_and_drained() -> None:
    still_routed = routes({"bot": V1})
    assert plan_unloads(FLIP_AND_DROP, {V1, V2}, still_routed, {}, 10.0) == {}
    flipped = routes({"bot": V2})
    due = plan_unloads(FLIP_AND_DROP, {V1, V2}, flipped, {}, 15.0)
    assert due == {V1: 15.0}
    assert plan_unloads(FLIP_AND_DROP, {V1, V2}, flipped, due, 16.0) == {V1: 15.0}
    assert plan_unloads(FLIP, {V1, V2}, flipped, due, 17.0) == {}, "it came back"


@pytest.mark.parametrize(
    ("wanted", "healthy", "answering", "told", "boot", "words"),
    [
        pytest.param(FLIP, True, {V1, V2}, routes({"bot": V2}, serial=2), BOOT, "", id="ready"),
        pytest.param(None, True, set(), None, BOOT, "no index", id="no-index"),
        pytest.param(
            FLIP, False, {V1, V2}, routes({"bot": V2}, serial=2), BOOT, "not healthy", id="sick"
        ),
        pytest.param(
            FLIP, True, {V2}, routes({"bot": V2}, serial=2), BOOT, f"{V1} is not", id="one-missing"
        ),
        pytest.param(FLIP, True, {V1, V2}, None, BOOT, "routes", id="no-routes"),
        pytest.param(
            FLIP, True, {V1, V2}, routes({"bot": V2}), BOOT, "routes", id="routes-of-an-older-index"
        ),
        pytest.param(
            FLIP, True, {V1, V2}, routes({"bot": V2}, serial=2), "boot-2", "routes", id="restarted"
        ),
        pytest.param(
            FLIP,
            True,
            {V1, V2},
            routes({"bot": V1}, serial=2),
            BOOT,
            "bot does not",
            id="not-flipped",
        ),
        pytest.param(
            index([adapter(V1), adapter(OTHER, required=False)], {"bot": V1}),
            True,
            {V1},
            routes({"bot": V1}, serial=2),
            BOOT,
            "",
            id="a-candidate-blocks-nobody",
        ),
    ],
)
def test_readiness(
    wanted: PoolIndex | None,
    healthy: bool,
    answering: set[str],
    told: Routes | None,
    boot: str,
    words: str,
) -> None:
    found = assess_readiness(wanted, healthy, answering, told, boot)
    assert found.ready == (words == "")
    assert words in "; ".join(found.reasons)


def test_an_alias_that_hides_a_model_does_not_hold_the_pod_back() -> None:
    wanted = index([adapter(V1)], {"base": V1, "bot": V1})
    told = plan_routes(wanted, {V1}, None, BOOT)
    assert assess_readiness(wanted, True, {V1}, told, BOOT).ready


CONFIG = ServerConfig(
    namespace="a",
    pool="pool",
    base_model="base",
    source=S3Model(location=WHERE),
    index=WHERE,
    max_rank=16,
)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (FLIP, None),
        (FLIP.model_copy(update={"namespace": "b"}), "namespace"),
        (FLIP.model_copy(update={"pool": "other"}), "pool"),
        (FLIP.model_copy(update={"base_model": "other"}), "base_model"),
        (index([adapter(V1), adapter(V1)], {}), "twice"),
        (index([adapter(V1)], {"bot": V2}), "does not list"),
        (CANDIDATE, None),
        (index([adapter(V1)], {"bot": V1}, canaries=canary()), "does not list"),
        (index([adapter(V1), adapter(V2)], {"b": V1}, canaries=canary()), "no name"),
    ],
)
def test_an_index_for_another_pod_is_not_applied(wanted: PoolIndex, words: str | None) -> None:
    problem = index_problem(wanted, CONFIG)
    assert (problem is None) if words is None else (problem is not None and words in problem)


def test_routes_carry_what_adapters_were_trained_for() -> None:
    off, unsaid = adapter(V1).model_copy(update={"enable_thinking": False}), adapter(OTHER)
    both = index([off, unsaid], {"bot": V1})
    before = plan_routes(both, {V1, OTHER}, None, BOOT)
    assert before.thinking == {V1: False}
    # The old adapter answers until it has drained, as before.
    flipped = index([adapter(V2).model_copy(update={"enable_thinking": True})], {"bot": V2})
    assert plan_routes(flipped, {V1}, before, BOOT).thinking == {V1: False}
    assert plan_routes(flipped, {V1, V2}, before, BOOT).thinking == {V2: True}
    # The index is the truth about what it lists.
    assert plan_routes(index([adapter(V1)], {"bot": V1}), {V1}, before, BOOT).thinking == {}
