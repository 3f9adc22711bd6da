"""vLLM in the same pod, asked over loopback with the agent's token."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from qwen3_api.serving.pool import AgentCanary
from qwen3_server.errors import EngineBusyError, EngineDownError, load_failed
from qwen3_server.routes import BOOT_HEADER, CANARIES_PATH, TOKEN_HEADER, CanaryReport

LOOK_SECONDS = 3.0
"""For /health, /v1/models and the canaries, which answer in milliseconds."""
_WORK = aiohttp.ClientTimeout(total=300)
"""For a load (disk, CPU, GPU) and a completion behind a full queue."""


@dataclass(frozen=True)
class Listing:
    """What a vLLM process has loaded at a moment."""

    instance: str
    """Name of the process; another one has lost every adapter."""
    adapters: Mapping[str, str]
    """Id to the folder it was loaded from."""


class Engine:
    """The API server's client. Every method raises EngineDownError if nothing answers."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token: str,
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._look = aiohttp.ClientTimeout(total=look_seconds)
        self._session = session
        self._url = url
        self._headers = {TOKEN_HEADER: token}

    async def is_healthy(self) -> bool:
        """Does /health say that the engine lives?"""
        return (await self._ask("GET", "/health", None, self._look))[0] == 200

    async def list_adapters(self) -> Listing:
        """The adapters loaded now. The base model's card has no parent."""
        status, headers, body = await self._ask("GET", "/v1/models", None, self._look)
        if status != 200:
            raise EngineDownError(f"GET /v1/models answered {status}")
        instance = headers.get(BOOT_HEADER)
        if instance is None:
            # Without the gateway the load routes would be open to the cluster.
            raise EngineDownError("vLLM runs without its gateway, or doesn't know this agent")
        cards = json.loads(body)["data"]
        adapters = {card["id"]: card["root"] for card in cards if card.get("parent")}
        return Listing(instance=instance, adapters=MappingProxyType(adapters))

    async def read_canaries(self) -> dict[str, AgentCanary]:
        """The canaries that the gateway routes, by alias, and how they go."""
        status, _, body = await self._ask("GET", CANARIES_PATH, None, self._look)
        if status != 200:
            raise EngineDownError(f"GET {CANARIES_PATH} answered {status}")
        return CanaryReport.model_validate_json(body).canaries

    async def load(self, model: str, folder: Path) -> None:
        """Load an adapter. Raises AdapterError(LoadFailed) with vLLM's words."""
        order = {"lora_name": model, "lora_path": str(folder)}
        status, _, body = await self._ask("POST", "/v1/load_lora_adapter", order, _WORK)
        if status != 200:
            raise load_failed(f"vLLM refused it ({status}): {_words(body)}")

    async def unload(self, model: str) -> None:
        """Unload an adapter; requests that run with it finish. Not loaded is fine."""
        order = {"lora_name": model}
        status, _, body = await self._ask("POST", "/v1/unload_lora_adapter", order, _WORK)
        if status not in (200, 404):
            raise EngineDownError(f"unloading {model} failed ({status}): {_words(body)}")

    async def smoke_test(self, model: str, prompt: str) -> None:
        """Let it complete one token. Raises AdapterError(LoadFailed) if it doesn't."""
        order = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0}
        status, _, body = await self._ask("POST", "/v1/completions", order, _WORK)
        if status != 200:
            raise load_failed(f"it is loaded and does not answer ({status}): {_words(body)}")
        answer = json.loads(body)
        if answer.get("model") != model or not answer.get("choices"):
            raise load_failed(f"another model answered: {answer.get('model')}")

    async def _ask(
        self, method: str, path: str, order: dict[str, Any] | None, patience: aiohttp.ClientTimeout
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            async with self._session.request(
                method, self._url + path, json=order, headers=self._headers, timeout=patience
            ) as answer:
                return answer.status, answer.headers, await answer.read()
        except TimeoutError as error:
            raise EngineBusyError(f"{method} {path}: no answer in {patience.total} s") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise EngineDownError(f"{method} {path}: {type(error).__name__} {error}") from error


def _words(body: bytes) -> str:
    """vLLM's message out of its error body, whatever that turns out to be."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")
