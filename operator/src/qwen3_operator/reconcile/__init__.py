"""The only orchestration: gather, plan, apply, one status write, events. A module per kind."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

from qwen3_operator.cluster.cache import Cache
from qwen3_operator.cluster.client import Client
from qwen3_operator.reconcile.agents import Agents
from qwen3_operator.reconcile.context import Context
from qwen3_operator.reconcile.dispatch import Reconcilers
from qwen3_operator.runtime.keys import Key
from qwen3_operator.settings import Settings
from qwen3_operator.store.artifacts import Artifacts
from qwen3_operator.store.client import ObjectStore

__all__ = ["build"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def build(
    client: Client,
    cache: Cache,
    settings: Settings,
    *,
    wake: Callable[[Key], None],
    now: Callable[[], datetime] = _utc_now,
) -> AsyncIterator[Reconcilers]:
    """The reconciles with everything they talk to, open for as long as the context is."""
    async with Agents(time.monotonic) as agents:
        # Those who ask it are keys.
        artifacts = Artifacts(ObjectStore(settings), lambda asker: wake(cast(Key, asker)))
        try:
            yield Reconcilers(
                Context(
                    client=client,
                    cache=cache,
                    artifacts=artifacts,
                    agents=agents,
                    settings=settings,
                    now=now,
                    wake=wake,
                )
            )
        finally:
            await artifacts.close()
