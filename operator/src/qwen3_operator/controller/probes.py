"""/healthz, /readyz and /metrics."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from qwen3_operator.controller.metrics import LOOP_LAG

LAG_LIMIT_SECONDS = 5.0
LAG_PERIOD_SECONDS = 0.5
LAG_SAMPLES = 40
"""20 s of samples: longer than the kubelet's probe period, so that it sees a stall that is over."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Check = Callable[[], str | None]
"""None when all is well, else what is wrong."""


class LoopLag:
    """How late the event loop runs its timers. A blocked loop answers no probe at all; this one
    also tells of a stall between two probes."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=LAG_SAMPLES)

    async def run(self) -> None:
        """Measure for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD_SECONDS
            await asyncio.sleep(LAG_PERIOD_SECONDS)
            self._samples.append(max(0.0, loop.time() - due))
            LOOP_LAG.set(max(self._samples))

    def check(self) -> str | None:
        """A lag over the limit in the last 20 s."""
        worst = max(self._samples, default=0.0)
        return f"event loop lagged {worst:.1f} s" if worst > LAG_LIMIT_SECONDS else None


def build_probe_app(health: Mapping[str, Check], ready: Mapping[str, Check]) -> web.Application:
    """The three endpoints. A probe answers 200, or 503 with one line per failed check."""

    def probe(checks: Mapping[str, Check]) -> Handler:
        async def answer(_: web.Request) -> web.Response:
            failed = {name: text for name, check in checks.items() if (text := check())}
            lines = [f"{name}: {text}\n" for name, text in failed.items()] or ["ok\n"]
            return web.Response(text="".join(lines), status=503 if failed else 200)

        return answer

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", probe(health))
    app.router.add_get("/readyz", probe(ready))
    app.router.add_get("/metrics", metrics)
    return app


async def serve(app: web.Application, port: int) -> web.AppRunner:
    """Listen on all interfaces; `cleanup()` of the result stops it. Port 0 picks a free one."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
