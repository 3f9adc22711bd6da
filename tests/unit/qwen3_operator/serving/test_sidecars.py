"""Asking sidecars over HTTP: whatever they say, an answer or None."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from qwen3_api.serving.pool import AGENT_PORT
from qwen3_operator.serving.sidecars import FRESH_SECONDS, MAX_BODY, REMEMBERED, Agents
from support.operator_world import build_agent
from support.web_server import serve_app

GOOD = build_agent("server-0", {"a.b.c": "0" * 64}, {"a.b": "a.b.c"})
ADDRESS = "127.77.3.1"
NOBODY = "127.77.3.2"


class Sidecar:
    """Answers with what the test puts here."""

    def __init__(self) -> None:
        self.body = GOOD.to_json()
        self.status = 200
        self.asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """In two pieces, as a network may deliver any answer."""
        self.asked += 1
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        half = len(self.body) // 2
        await response.write(self.body[:half])
        await asyncio.sleep(0.01)
        await response.write(self.body[half:])
        return response


@pytest.fixture
async def sidecar() -> AsyncIterator[Sidecar]:
    found = Sidecar()
    app = web.Application()
    app.router.add_get("/status", found.answer)
    async with serve_app(app, ADDRESS, AGENT_PORT):
        yield found


class Clock:
    """Stands until a test moves it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def agents(clock: Clock) -> AsyncIterator[Agents]:
    async with Agents(clock) as opened:
        yield opened


async def test_an_answer(sidecar: Sidecar, agents: Agents) -> None:
    assert await agents.ask(ADDRESS) == GOOD


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200),
        (b"nonsense", 200),
        (b"[]", 200),
        (b'{"contract": 2}', 200),
        (GOOD.to_json() + b" " * (MAX_BODY * 2), 200),
        (GOOD.to_json(), 503),
        (GOOD.to_json(), 404),
    ],
    ids=["empty", "text", "list", "contract", "endless", "503", "404"],
)
async def test_no_answer(sidecar: Sidecar, agents: Agents, body: bytes, status: int) -> None:
    sidecar.body, sidecar.status = body, status
    assert await agents.ask(ADDRESS) is None


async def test_a_long_answer_is_read_to_its_end(sidecar: Sidecar, agents: Agents) -> None:
    loaded = {f"team-a.bot-{n}.{n:08x}": "0" * 64 for n in range(512)}
    full = build_agent("server-0", loaded)
    sidecar.body = full.to_json()
    assert await agents.ask(ADDRESS) == full


async def test_nobody_there(agents: Agents) -> None:
    assert await agents.ask(NOBODY) is None


async def test_one_question_for_a_burst(sidecar: Sidecar, agents: Agents, clock: Clock) -> None:
    await asyncio.gather(*(agents.ask(ADDRESS) for _ in range(20)))
    assert sidecar.asked == 1
    clock.now += FRESH_SECONDS
    await agents.ask(ADDRESS)
    assert sidecar.asked == 2


async def test_addresses_of_pods_that_are_gone_are_forgotten(
    sidecar: Sidecar, agents: Agents, clock: Clock
) -> None:
    for number in range(REMEMBERED + 50):
        agents._answers[f"10.0.{number // 256}.{number % 256}"] = (clock.now, None)
    clock.now += 60
    await agents.ask(ADDRESS)
    assert len(agents._answers) == 1
