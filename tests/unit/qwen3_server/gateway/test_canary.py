"""Canaries in the gateway: who answers, and what is counted of it."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.serving.pool import AgentCanary, Traffic
from qwen3_server.routes import ROUTES_FILE, CanaryReport
from qwen3_server.watched_file import replace_file
from support.gateway_world import BOOT, LOOPBACK, NEW, OLD, OUTSIDE, TOKEN, World

BASE = "Qwen/Qwen3-tiny"
CANARY: dict[str, Any] = {"id": NEW, "weight_percent": 30}
TO_CANARY, TO_STABLE = 0.0, 0.99
NOTHING = Traffic()

Script = Callable[["Scripted", Any, Any], Awaitable[None]]


@dataclass
class Scripted:
    """An inner app that plays a script after it read the body; and the clock of the gateway."""

    script: Script | None = None
    models: list[str] = field(default_factory=list)
    """Asked for, in order."""
    now: float = 100.0
    data: list[dict[str, Any]] = field(default_factory=list)
    """Cards of /v1/models."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        if scope["path"] == "/v1/models":
            await send(start(200))
            await send(piece(json.dumps({"data": self.data}).encode()))
            return
        self.models.append(json.loads(body)["model"])
        await (self.script or answers())(self, receive, send)


def start(status: int) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": []}


def piece(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def answers(status: int = 200, after: float = 0.0) -> Script:
    """A whole answer `after` seconds."""

    async def play(app: Scripted, _: Any, send: Any) -> None:
        app.now += after
        await send(start(status))
        await send(piece(b"{}"))
        app.now += 64

    return play


def streams(*pieces: bytes, after: float = 0.25, ends: bool = True) -> Script:
    """Headers at once, the first piece `after` seconds, the others a minute apart."""

    async def play(app: Scripted, _: Any, send: Any) -> None:
        await send(start(200))
        await send(piece(b"", more=True))
        app.now += after
        for each in pieces:
            await send(piece(each, more=True))
            app.now += 60
        if ends:
            await send(piece(b""))

    return play


async def raises(app: Scripted, _: Any, __: Any) -> None:
    app.now += 0.5
    raise RuntimeError("the engine is dead")


async def raises_in_the_answer(app: Scripted, _: Any, send: Any) -> None:
    await send(start(200))
    app.now += 0.5
    await send(piece(b"data: {}\n\n", more=True))
    raise RuntimeError("the engine is dead")


async def says_nothing(app: Scripted, _: Any, __: Any) -> None:
    app.now += 0.5


async def sees_the_client_go(app: Scripted, receive: Any, send: Any) -> None:
    """As vLLM does: it stops, and answers to nobody."""
    app.now += 8
    assert (await receive())["type"] == "http.disconnect"
    app.now += 1
    await send(start(500))
    await send(piece(b"null"))


async def sees_the_client_go_in_the_answer(app: Scripted, receive: Any, send: Any) -> None:
    await send(start(200))
    app.now += 0.5
    await send(piece(b"data: {}\n\n", more=True))
    assert (await receive())["type"] == "http.disconnect"


async def listens_after_a_whole_answer(app: Scripted, receive: Any, send: Any) -> None:
    await answers(200, after=0.5)(app, receive, send)
    assert (await receive())["type"] == "http.disconnect"


@dataclass
class Canary:
    """A gateway with a canary for `bot`, and the draws that the next requests get."""

    world: World
    inner: Scripted
    draws: list[float]

    def route(self, canary: dict[str, Any] | None = CANARY, **changes: Any) -> None:
        canaries = {"bot": canary} if canary else {}
        self.world.write_routes(ids=[OLD, NEW], loading=[], canaries=canaries, **changes)

    async def ask(self, draw: float, script: Script | None = None) -> Any:
        self.inner.script = script
        self.draws.append(draw)
        return await self.world.chat("bot")

    async def counts(self) -> dict[str, AgentCanary]:
        answer = await read_counts(self.world)
        assert (answer.status, answer.headers["x-qwen3-boot"]) == (200, BOOT)
        return CanaryReport.model_validate_json(answer.body).canaries

    async def sides(self) -> tuple[Traffic, Traffic]:
        """Canary, stable."""
        found = (await self.counts())["bot"]
        return found.canary, found.stable


async def read_counts(world: World, method: str = "GET", **more: Any) -> Any:
    more = {"client": LOOPBACK, "headers": [(b"x-qwen3-agent-token", TOKEN)], **more}
    return await world.ask(method, "/-/canaries", **more)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    inner, draws = Scripted(), list[float]()
    world = World.create(tmp_path, inner, draw=draws.pop, clock=lambda: inner.now)
    found = Canary(world, inner, draws)
    found.route()
    yield found
    assert draws == [], "each draw was used"


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
async def test_the_split_is_binomial(tmp_path: Path, percent: int) -> None:
    inner = Scripted()
    world = World.create(tmp_path, inner, draw=random.Random(percent).random)  # noqa: S311
    Canary(world, inner, []).route({"id": NEW, "weight_percent": percent})
    count, share = 4000, percent / 100
    told = Counter([(await world.chat("bot")).headers["x-qwen3-model-id"] for _ in range(count)])
    assert set(told) == {OLD, NEW}
    assert told == Counter(inner.models), "who is named is who answered"
    five_sigma = 5 * (count * share * (1 - share)) ** 0.5
    assert abs(told[NEW] - count * share) < five_sigma


async def test_by_default_chance_decides(tmp_path: Path) -> None:
    inner = Scripted()
    world = World.create(tmp_path, inner)
    Canary(world, inner, []).route({"id": NEW, "weight_percent": 50})
    for _ in range(200):
        await world.chat("bot")
    assert 40 < Counter(inner.models)[NEW] < 160


async def test_the_weight_is_the_border(canary: Canary) -> None:
    assert (await canary.ask(0.2999)).headers["x-qwen3-model-id"] == NEW
    assert (await canary.ask(0.3)).headers["x-qwen3-model-id"] == OLD
    assert canary.inner.models == [NEW, OLD]


@pytest.mark.parametrize("model", [OLD, NEW, BASE])
async def test_who_names_a_model_gets_it_and_is_not_counted(canary: Canary, model: str) -> None:
    # No draw is there to be taken.
    answer = await canary.world.chat(model)
    assert answer.headers["x-qwen3-model-id"] == model
    assert await canary.sides() == (NOTHING, NOTHING)


@pytest.mark.parametrize("draw", [TO_CANARY, TO_STABLE])
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answers(200, after=0.5), Traffic(requests=1, seconds=0.5)),
        (answers(404, after=0.5), Traffic(requests=1, seconds=0.5)),
        (answers(499, after=0.5), Traffic(requests=1, seconds=0.5)),
        (answers(500, after=0.5), Traffic(requests=1, errors=1, seconds=0.5)),
        (answers(503, after=0.5), Traffic(requests=1, errors=1, seconds=0.5)),
        (raises, Traffic(requests=1, errors=1, seconds=0.5)),
        (raises_in_the_answer, Traffic(requests=1, errors=1, seconds=0.5)),
        (says_nothing, Traffic(requests=1, errors=1, seconds=0.5)),
        # The first byte of a stream is the first one of its body.
        (streams(b"data: a\n\n", b"data: [DONE]\n\n"), Traffic(requests=1, seconds=0.25)),
        (streams(b"data: a\n\n", ends=False), Traffic(requests=1, errors=1, seconds=0.25)),
        (
            streams(b"data: a\n\n", b'data: {"error": {"code": 500}}\n\n', b"data: [DONE]\n\n"),
            Traffic(requests=1, errors=1, seconds=0.25),
        ),
        (
            streams(b"data: a\n\n", b'data: {"error": "?"}\n\n', b"data: [DONE]\n\n"),
            Traffic(requests=1, errors=1, seconds=0.25),
        ),
        (
            streams(b'data: {"error": {"code": 400}}\n\n', b"data: [DONE]\n\n"),
            Traffic(requests=1, seconds=0.25),
        ),
        (streams(), Traffic(requests=1, seconds=0.25)),
        # How long a client waited tells of an adapter that hangs.
        (sees_the_client_go, Traffic(requests=1, seconds=8)),
        (sees_the_client_go_in_the_answer, Traffic(requests=1, seconds=0.5)),
        (listens_after_a_whole_answer, Traffic(requests=1, seconds=0.5)),
    ],
)
async def test_what_counts(canary: Canary, draw: float, script: Script, expected: Traffic) -> None:
    if script in (raises, raises_in_the_answer):
        with pytest.raises(RuntimeError, match="dead"):
            await canary.ask(draw, script)
    else:
        await canary.ask(draw, script)
    sides = (expected, NOTHING) if draw == TO_CANARY else (NOTHING, expected)
    assert await canary.sides() == sides
    assert len(canary.inner.models) == 1, "nothing is tried again"


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_send_that_fails_is_the_clients(canary: Canary, after: int) -> None:
    canary.draws.append(TO_CANARY)
    canary.inner.script = streams(b"a", b"b")
    with pytest.raises(OSError, match="hung up"):
        await canary.world.chat("bot", hangs_up_after=after)
    assert (await canary.sides())[0].errors == 0
    assert (await canary.sides())[0].requests == 1


async def test_the_failure_of_a_canary_reaches_the_client(canary: Canary) -> None:
    answer = await canary.ask(TO_CANARY, answers(500))
    assert (answer.status, answer.headers["x-qwen3-model-id"]) == (500, NEW)


async def test_sums_grow_on_both_sides(canary: Canary) -> None:
    for draw, status in [(TO_CANARY, 200), (TO_STABLE, 500), (TO_CANARY, 500), (TO_CANARY, 404)]:
        await canary.ask(draw, answers(status, after=0.25))
    found = await canary.counts()
    assert found == {
        "bot": AgentCanary(
            id=NEW,
            weight_percent=30,
            canary=Traffic(requests=3, errors=1, seconds=0.75),
            stable=Traffic(requests=1, errors=1, seconds=0.25),
        )
    }


async def test_a_request_counts_when_it_ends_and_only_for_its_own_split(canary: Canary) -> None:
    go = asyncio.Event()

    async def waits(app: Scripted, _: Any, send: Any) -> None:
        await send(start(200))
        await send(piece(b"a", more=True))
        await go.wait()
        await send(piece(b""))

    running = asyncio.create_task(canary.ask(TO_CANARY, waits))
    await asyncio.sleep(0)
    assert canary.inner.models == [NEW]
    assert await canary.sides() == (NOTHING, NOTHING)
    go.set()
    await running
    assert (await canary.sides())[0].requests == 1

    go.clear()
    running = asyncio.create_task(canary.ask(TO_CANARY, waits))
    await asyncio.sleep(0)
    assert canary.inner.models == [NEW, NEW]
    canary.route({**CANARY, "weight_percent": 60})
    assert await canary.sides() == (NOTHING, NOTHING)
    go.set()
    await running
    assert await canary.sides() == (NOTHING, NOTHING), "it began under another weight"


@pytest.mark.parametrize(
    ("canary_then", "aliases"),
    [
        ({"id": NEW, "weight_percent": 31}, {"bot": OLD}),
        ({"id": OLD, "weight_percent": 30}, {"bot": NEW}),
        ({"id": NEW, "weight_percent": 30}, {"bot": "team-a.bot.00000003"}),
    ],
)
async def test_another_split_counts_anew(
    canary: Canary, canary_then: dict[str, Any], aliases: dict[str, str]
) -> None:
    await canary.ask(TO_CANARY)
    await canary.ask(TO_STABLE)
    canary.route(canary_then, aliases=aliases)
    found = (await canary.counts())["bot"]
    assert (found.id, found.weight_percent) == (canary_then["id"], canary_then["weight_percent"])
    assert await canary.sides() == (NOTHING, NOTHING)


async def test_the_same_split_counts_on_through_other_changes(canary: Canary) -> None:
    await canary.ask(TO_CANARY)
    canary.route(serial=2, aliases={"bot": OLD, "other": OLD})
    await canary.ask(TO_CANARY)
    assert (await canary.sides())[0].requests == 2


async def test_the_counts_vanish_with_the_canary(canary: Canary) -> None:
    await canary.ask(TO_CANARY)
    canary.route(None)
    assert await canary.counts() == {}
    assert (await canary.world.chat("bot")).headers["x-qwen3-model-id"] == OLD
    canary.route()
    assert await canary.sides() == (NOTHING, NOTHING)


async def test_any_look_of_the_agent_ends_a_canary(canary: Canary) -> None:
    """It came, went and came again, and no client asked in between: other counts."""
    await canary.ask(TO_CANARY)
    canary.route(None)
    listing = await canary.world.ask(
        "GET", "/v1/models", client=LOOPBACK, headers=[(b"x-qwen3-agent-token", TOKEN)]
    )
    assert listing.status == 200
    canary.route()
    assert await canary.sides() == (NOTHING, NOTHING)


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": [OLD], "loading": [NEW]},
        {"aliases": {"other": OLD}},
        {"boot": "boot-0"},
    ],
    ids=["not-loaded", "no-such-alias", "another-process"],
)
async def test_a_canary_that_cannot_be_is_ignored(canary: Canary, changes: dict[str, Any]) -> None:
    canary.world.write_routes(
        **{"ids": [OLD, NEW], "loading": [], "canaries": {"bot": CANARY}, **changes}
    )
    assert await canary.counts() == {}
    # No draw is taken.
    assert (await canary.world.chat("bot")).headers.get("x-qwen3-model-id") in (OLD, None)


@pytest.mark.parametrize("bad", [{"id": NEW}, {**CANARY, "weight_percent": 100}, "half"])
async def test_broken_routes_are_no_routes(canary: Canary, bad: Any) -> None:
    path = canary.world.run_dir / ROUTES_FILE
    routes = json.loads(path.read_bytes())
    routes["canaries"]["bot"] = bad
    replace_file(path, json.dumps(routes).encode(), 0o644)
    assert (await canary.world.chat("bot")).status == 503
    assert await canary.counts() == {}


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("GET", {"headers": []}),
        ("GET", {"headers": [(b"x-qwen3-agent-token", b"guess")]}),
        ("GET", {"client": OUTSIDE}),
        ("GET", {"client": None}),
    ],
)
async def test_nobody_else_reads_the_counts(
    canary: Canary, method: str, more: dict[str, Any]
) -> None:
    answer = await read_counts(canary.world, method, **more)
    assert (answer.status, answer.code) == (404, "unknown_url")


async def test_models_lists_the_alias_once(canary: Canary) -> None:
    canary.inner.data = [{"id": BASE, "root": "/b"}, {"id": OLD}, {"id": NEW}]
    answer = await canary.world.ask("GET", "/v1/models")
    cards = json.loads(answer.body)["data"]
    assert [card["id"] for card in cards] == [BASE, OLD, NEW, "bot"]
    assert cards[-1]["root"] == OLD
