"""The OpenAI API, played by a function."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from support.web_server import serve_app


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
    async with serve_app(app, handler_cancellation=True) as url:
        yield f"{url}/v1"
