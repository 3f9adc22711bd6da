"""The OpenAI API, played by a function."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serve_chat(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    path: str = "/v1/chat/completions",
) -> AsyncIterator[str]:
    """Answers POST on a path in this event loop until the block ends; yields http://…/v1.

    A client that hangs up cancels its answer.
    """
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post(path, answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
