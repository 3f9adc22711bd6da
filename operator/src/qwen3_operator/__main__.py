"""`python -m qwen3_operator --settings FILE`: the operator's process."""

import argparse
import asyncio
import os
import socket
import sys
import uuid
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from qwen3_operator.app import Application, Reconcilers, RuntimeConfig, Wake
from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.client import Client
from qwen3_operator.controller.connection import ConnectionConfigError, connect
from qwen3_operator.controller.logs import configure_logging, get_logger
from qwen3_operator.controller.watcher import watch
from qwen3_operator.dispatch import build
from qwen3_operator.settings import Settings, load_settings

logger = get_logger("qwen3_operator")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line; everything else is in the settings file."""
    parser = argparse.ArgumentParser(prog="qwen3_operator", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="YAML settings file")
    parser.add_argument(
        "--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"]
    )
    parser.add_argument("--log-text", action="store_true", help="plain lines instead of JSON")
    return parser.parse_args(arguments)


def build_config(settings: Settings) -> RuntimeConfig:
    """The runtime's share of the settings."""
    # The pod's name for people; the random part because a restarted container keeps that name.
    host = os.environ.get("POD_NAME") or socket.gethostname()
    return RuntimeConfig(
        namespaces=tuple(settings.watch_namespaces),
        operator_namespace=settings.operator_namespace,
        lease_name=settings.lease_name,
        identity=f"{host}_{uuid.uuid4().hex[:8]}",
        workers=settings.workers,
        resync_seconds=settings.resync_seconds,
        metrics_port=settings.metrics_port,
    )


def main(arguments: list[str]) -> int:
    """Run until SIGTERM; the exit status."""
    options = parse_arguments(arguments)
    configure_logging(options.log_level, as_json=not options.log_text)
    settings = load_settings(options.settings)
    try:
        connection = connect()
    except ConnectionConfigError as error:
        logger.critical("no API server", extra={"error": str(error)})
        return 1

    def open_reconcilers(
        client: Client, cache: Cache, wake: Wake
    ) -> AbstractAsyncContextManager[Reconcilers]:
        return build(client, cache, settings, wake=wake)

    async def run() -> int:
        return await Application(build_config(settings), connection, open_reconcilers, watch).run()

    status = asyncio.run(run())
    logger.info("exiting", extra={"status": status})
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
