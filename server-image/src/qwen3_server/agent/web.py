"""The agent's HTTP server on AGENT_PORT: /ready, /status, /healthz, /metrics. It only tells."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from qwen3_server.agent.agent import Agent

_T = TypeVar("_T")


class SharedCall(Generic[_T]):
    """Callers that come while an answer is being found share it.

    The port is open to the cluster; a flood of requests must not become one of questions to vLLM.
    """

    def __init__(self, call: Callable[[], Awaitable[_T]]) -> None:
        self._call = call
        self._running: asyncio.Future[_T] | None = None

    async def __call__(self) -> _T:
        """The answer; a caller that hangs up does not cancel it for the others."""
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._call())
        return await asyncio.shield(self._running)


def build_app(agent: Agent) -> web.Application:
    """The routes."""
    readiness = SharedCall(agent.check_readiness)
    status = SharedCall(agent.build_status)

    async def get_ready(_: web.Request) -> web.Response:
        found = await readiness()
        body = {"ready": found.ready, "reasons": found.reasons[:32]}
        return web.json_response(body, status=200 if found.ready else 503)

    async def get_status(_: web.Request) -> web.Response:
        return web.json_response(body=(await status()).to_json())

    async def get_healthz(_: web.Request) -> web.Response:
        alive = agent.is_alive()
        return web.Response(text="ok" if alive else "loop stuck", status=200 if alive else 503)

    async def get_metrics(_: web.Request) -> web.Response:
        body = generate_latest(agent.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=1024)
    app.router.add_get("/ready", get_ready)
    app.router.add_get("/status", get_status)
    app.router.add_get("/healthz", get_healthz)
    app.router.add_get("/metrics", get_metrics)
    return app
