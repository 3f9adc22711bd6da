"""Asking the sidecars of a pool what they hold."""

import asyncio
from collections.abc import Callable

import aiohttp
from pydantic import ValidationError

from qwen3_api.serving.pool import AGENT_PORT, AgentStatus
from qwen3_operator.controller.logs import get_logger

TIMEOUT = aiohttp.ClientTimeout(total=2.0)
FRESH_SECONDS = 0.5
"""Fine-tunes of one pool look at the same pods within one burst of reconciles."""
MAX_BODY = 1024 * 1024
REMEMBERED = 1024
logger = get_logger(__name__)


class Agents:
    """`GET /status` of sidecars. Open it with `async with`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._answers: dict[str, tuple[float, AgentStatus | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def __aenter__(self) -> "Agents":
        self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, ip: str) -> AgentStatus | None:
        """What the sidecar at this pod address says; None when it doesn't answer sensibly."""
        async with self._locks.setdefault(ip, asyncio.Lock()):
            asked, answer = self._answers.get(ip, (-1e9, None))
            if self._clock() - asked >= FRESH_SECONDS:
                answer = await self._ask(ip)
                self._answers[ip] = (self._clock(), answer)
            self._forget()
            return answer

    def _forget(self) -> None:
        """Drop old answers: most of the addresses are no pods any more."""
        if len(self._answers) <= REMEMBERED:
            return
        for ip, (asked, _) in list(self._answers.items()):
            lock = self._locks.get(ip)
            if self._clock() - asked >= FRESH_SECONDS and not (lock and lock.locked()):
                del self._answers[ip]
                self._locks.pop(ip, None)

    async def _ask(self, ip: str) -> AgentStatus | None:
        if self._session is None:
            raise RuntimeError("the agents' session is not open")
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with self._session.get(f"http://{host}:{AGENT_PORT}/status") as response:
                if response.status != 200:
                    return None
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BODY:
                        logger.warning("sidecar response too large", extra={"ip": ip})
                        return None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.debug("sidecar doesn't answer", extra={"ip": ip, "error": repr(error)})
            return None
        try:
            return AgentStatus.model_validate_json(bytes(body))
        except ValidationError as error:
            logger.warning("invalid sidecar response", extra={"ip": ip, "error": str(error)[:300]})
            return None
