"""What the evaluator's benchmark measures a client by. Sleeps are what is measured here."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.evaluator import Figures, Pass, Watch

Ask = Callable[[], Awaitable[None]]


def watch(do: Callable[[Ask, asyncio.Event], Awaitable[None]]) -> Watch:
    """What a watch says of a client of a server that answers when the event is set."""
    watch = Watch()

    async def main() -> None:
        go = asyncio.Event()

        async def answer(_: web.Request) -> web.Response:
            await go.wait()
            return web.Response()

        application = web.Application()
        application.router.add_get("/", answer)
        async with (
            TestServer(application) as server,
            aiohttp.ClientSession(trace_configs=[watch.trace]) as session,
        ):

            async def ask() -> None:
                async with session.get(server.make_url("/")) as response:
                    await response.read()

            await do(ask, go)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watch)) as runner:
        runner.run(main())
    return watch


def test_a_request_counts_from_sent_to_answered_and_waiting_is_not_busy() -> None:
    async def client(ask: Ask, go: asyncio.Event) -> None:
        time.sleep(2)  # noqa: ASYNC251  (nothing is in flight)
        asked = asyncio.create_task(ask())
        await asyncio.sleep(0.5)
        go.set()
        await asked

    found = watch(client)

    assert found.asked >= 0.5
    assert found.busy < found.asked


def test_a_loop_that_cannot_notice_an_answer_is_busy() -> None:
    async def client(ask: Ask, go: asyncio.Event) -> None:
        asked = asyncio.create_task(ask())
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251  (what is measured)
        go.set()
        await asked

    assert watch(client).busy >= 0.5


def test_the_overhead_is_what_the_bare_client_has_not() -> None:
    bare = Pass(wall=10, cpu=1, asked=9.9, busy_seconds=0.1, queued_seconds=3)
    own = Pass(wall=10, cpu=2, asked=9.7, busy_seconds=0.3, queued_seconds=4)
    figures = Figures(1000, 8, 64, [bare], [own], 1.0)

    assert round(figures.overhead, 6) == 0.04
    assert figures.cpu_overhead == 0.1
