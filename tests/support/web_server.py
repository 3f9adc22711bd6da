"""An aiohttp application that serves for as long as a block."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serve_app(
    app: web.Application,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    handler_cancellation: bool = False,
) -> AsyncIterator[str]:
    """Serves in this event loop until the block ends; yields http://host:port, without a slash.

    port: 0 is a free one. handler_cancellation: a client that hangs up cancels its answer.
    """
    runner = web.AppRunner(app, handler_cancellation=handler_cancellation)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
