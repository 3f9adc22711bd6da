"""`python -m qwen3_server fetch-base|agent --config FILE`: the pool pod's own containers."""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from pathlib import Path

import aiohttp
from aiohttp import web
from pydantic import ValidationError

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.layout import TERMINATION_LOG
from qwen3_api.pod.failure import FailureError, end_with
from qwen3_api.pod.logs import JsonFormatter
from qwen3_api.serving.config import (
    ADAPTERS_DIR,
    BASE_MODEL_DIR,
    ENV_POD_NAME,
    ENV_RUN_DIR,
    RUN_DIR,
    SERVER_CONFIG_FILE,
    ServerConfig,
)
from qwen3_api.serving.pool import AGENT_PORT, VLLM_PORT
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_server.adapter_cache import AdapterCache
from qwen3_server.agent import Agent
from qwen3_server.base_model import fetch_base
from qwen3_server.content_check import ContentCheck
from qwen3_server.engine import Engine
from qwen3_server.errors import clean_message
from qwen3_server.routes import TOKEN_FILE
from qwen3_server.store import Store
from qwen3_server.watched_file import replace_file
from qwen3_server.web import build_app

_log = logging.getLogger("qwen3_server")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns an ExitCode."""
    options = _parse(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        config = ServerConfig.model_validate_json(options.config.read_bytes())
    except (OSError, ValidationError) as error:
        return _end_badly(options, FailureError(Reason.BAD_CONFIG, f"{options.config}: {error}"))
    try:
        asyncio.run(_COMMANDS[options.command](config, options))
    except FailureError as error:
        return _end_badly(options, error)
    return ExitCode.SUCCEEDED


async def _fetch_base(config: ServerConfig, options: argparse.Namespace) -> None:
    started = time.monotonic()
    async with Store() as store:
        fetched = await fetch_base(config.source, options.base_dir, store)
    state = f"fetched in {time.monotonic() - started:.1f} s" if fetched else "already here"
    _log.info("base model %s: %s", config.base_model, state)


async def _run_agent(config: ServerConfig, options: argparse.Namespace) -> None:
    token = secrets.token_urlsafe(32)
    replace_file(options.run_dir / TOKEN_FILE, token.encode(), 0o640)
    async with Store() as store, aiohttp.ClientSession(trust_env=False) as session:
        agent = Agent(
            config,
            store,
            Engine(session, f"http://127.0.0.1:{options.vllm_port}", token),
            AdapterCache(
                options.adapters_dir,
                store,
                ContentCheck(base_model=config.base_model, max_rank=config.max_rank),
                max_bytes=config.max_adapter_bytes,
            ),
            run_dir=options.run_dir,
            pod=os.environ.get(ENV_POD_NAME, ""),
        )
        runner = web.AppRunner(build_app(agent), access_log=None)
        await runner.setup()
        # Probes and the operator come from outside the pod.
        await web.TCPSite(runner, "0.0.0.0", options.port).start()  # noqa: S104
        running = asyncio.create_task(agent.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        try:
            await running
        except asyncio.CancelledError:
            _log.info("received SIGTERM")
        finally:
            await runner.cleanup()


def _end_badly(options: argparse.Namespace, error: FailureError) -> int:
    """Say why on stderr and in the termination message. A tenant's words may be in it."""
    cleaned = FailureError(error.reason, clean_message(error.message))
    return end_with(cleaned, options.termination_log)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="qwen3_server", description=__doc__)
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("--config", type=Path, default=Path(SERVER_CONFIG_FILE))
    parser.add_argument("--base-dir", type=Path, default=Path(BASE_MODEL_DIR))
    parser.add_argument("--adapters-dir", type=Path, default=Path(ADAPTERS_DIR))
    parser.add_argument("--run-dir", type=Path, default=Path(os.environ.get(ENV_RUN_DIR, RUN_DIR)))
    parser.add_argument("--vllm-port", type=int, default=VLLM_PORT)
    parser.add_argument("--port", type=int, default=AGENT_PORT)
    parser.add_argument("--termination-log", type=Path, default=Path(TERMINATION_LOG))
    return parser.parse_args(arguments)


_COMMANDS = {"agent": _run_agent, "fetch-base": _fetch_base}


if __name__ == "__main__":
    sys.exit(main())
