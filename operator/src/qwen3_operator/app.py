"""The life of one operator process: standby, leader, end.

    start ─▶ probes up ─▶ wait for the lease ─▶ list everything ─▶ watch and reconcile ─▶ stop

Everything that can break ends the process instead of being repaired in place: a lost lease, a
watch that failed for good, a refused list. The kubelet starts it again, and because state is only
ever derived from the cluster and the bucket, a fresh start is the best-tested path there is.

On SIGTERM, in this order: no more keys are taken, running reconciles get 25 s, the fence closes and
the lease is given back, the watches end. The successor may start before our watches are gone.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from qwen3_operator.controller.activity import WatchActivity
from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.client import ApiServer, Client
from qwen3_operator.controller.connection import Connection
from qwen3_operator.controller.election import Elector, LeaseLostError, LeaseRef
from qwen3_operator.controller.intake import Intake
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.kind import Kinds, Manifest
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.probes import LoopLag, build_probe_app, serve
from qwen3_operator.controller.queue import WorkQueue
from qwen3_operator.controller.reconciler import Result
from qwen3_operator.controller.resync import FirstListError, Resync
from qwen3_operator.resources.kinds import KINDS

GRACE_SECONDS = 25.0
"""For running reconciles at SIGTERM; the pod's terminationGracePeriodSeconds is 30."""
CRASH_GRACE_SECONDS = 5.0
"""For running reconciles when a part has failed: long enough for a write that is on its way."""

STOP_WATCHES_SECONDS = 8.0
"""kopf gives its own tasks 5 s."""

logger = get_logger(__name__)


@dataclass(frozen=True)
class RuntimeConfig:
    """What the runtime needs of the settings.

    namespaces: to work in; none means all.
    identity: unique to this process.
    """

    namespaces: tuple[str, ...]
    operator_namespace: str
    lease_name: str
    identity: str
    workers: int
    resync_seconds: float
    metrics_port: int


class Reconcilers(Protocol):
    """The decisions, as the runtime sees them."""

    async def reconcile(self, key: Key) -> Result:
        """Bring what the key names a step closer to what is wanted."""

    def keys_for(self, obj: Manifest) -> Iterable[Key]:
        """Everything to look at when this object changed."""


Wake = Callable[[Key], None]
BuildReconcilers = Callable[[Client, Cache, Wake], AbstractAsyncContextManager[Reconcilers]]
"""Opens whatever the reconciles talk to. `Wake` has another key looked at soon."""


class Watch(Protocol):
    """The watcher of `handlers`; handed in, because the runtime doesn't know kopf."""

    def __call__(
        self,
        *,
        kinds: Kinds,
        observe: Callable[[str | None, Manifest], None],
        connection: Connection,
        activity: WatchActivity,
        namespaces: tuple[str, ...],
        stop: asyncio.Event,
        on_spawned: Callable[[], None],
    ) -> Coroutine[Any, Any, None]:
        """Watch until `stop` is set."""


class Application:
    """One process. `run` returns its exit status."""

    def __init__(
        self, config: RuntimeConfig, connection: Connection, build: BuildReconcilers, watch: Watch
    ) -> None:
        self._config = config
        self._connection = connection
        self._build = build
        self._watch = watch
        self._stop = asyncio.Event()
        self._stop_watching = asyncio.Event()
        self._parts: set[asyncio.Task[None]] = set()
        self._lag = LoopLag()
        # Made from the reconciles, which in turn wake its keys.
        self._queue: WorkQueue | None = None
        # What the probes speak of; None until this process leads.
        self._resync: Resync | None = None
        self._activity: WatchActivity | None = None

    async def run(self) -> int:
        """From start to end. 0 after a signal, 1 when a part failed or the lease was lost."""
        self._install_signal_handlers()
        lag = asyncio.create_task(self._lag.run(), name="loop lag")
        probes = await serve(
            build_probe_app(
                health={
                    "loop": self._lag.check,
                    "watches": lambda: self._activity.silent() if self._activity else None,
                    "resync": lambda: self._resync.overdue() if self._resync else None,
                },
                ready={"caches": self._caches},
            ),
            self._config.metrics_port,
        )
        try:
            async with ApiServer(self._connection) as api:
                ref = LeaseRef(
                    self._config.operator_namespace, self._config.lease_name, self._config.identity
                )
                return await self._lead(api, Elector(api, ref))
        finally:
            await probes.cleanup()
            lag.cancel()

    async def _lead(self, api: ApiServer, elector: Elector) -> int:
        """Standby, then leader; the exit status."""
        config = self._config
        if await self._until_stopped(elector.acquire()):
            await elector.release()
            return 0
        cache = Cache(KINDS)
        client = Client(
            api, KINDS, fence=elector.fence, observe=cache.put, reporter=config.identity
        )
        holding = asyncio.create_task(elector.hold(), name="lease")
        try:
            async with self._build(client, cache, self._wake) as reconcilers:
                queue = WorkQueue(reconcilers.reconcile, workers=config.workers)
                self._queue = queue
                intake = Intake(cache, queue, reconcilers.keys_for)
                resync = Resync(api, cache, intake, config.namespaces, config.resync_seconds)
                failed = True
                try:
                    failed = await self._work(resync, intake, queue, holding)
                finally:
                    # Without the lease nothing may be finished: the fence refuses every write.
                    grace = CRASH_GRACE_SECONDS if failed else GRACE_SECONDS
                    await queue.stop(grace if elector.fence() else 0.0)
                    # A renewal at the same time would take back what is being released.
                    await _cancel(holding)
                    await elector.release()
                return 1 if failed else 0
        finally:
            await self._end_parts()
            await _cancel(holding)
            await elector.release()

    async def _work(
        self, resync: Resync, intake: Intake, queue: WorkQueue, holding: "asyncio.Task[None]"
    ) -> bool:
        """List everything, then watch and reconcile, until SIGTERM; True if a part failed."""
        self._resync = resync
        listing = asyncio.create_task(resync.list_all(), name="first list")
        self._parts = {listing}
        ended = await self._first_of({holding, listing})
        if ended != {listing} or _is_failed(listing):
            return _report_failed(ended)
        # No worker may see a half-filled cache: it would take what isn't there yet for deleted.
        queue.start()
        activity = WatchActivity(KINDS, on_gap=resync.poke)
        self._activity = activity
        watching = asyncio.create_task(
            self._watch(
                kinds=KINDS,
                observe=intake.observe,
                connection=self._connection,
                activity=activity,
                namespaces=self._config.namespaces,
                stop=self._stop_watching,
                on_spawned=self._install_signal_handlers,
            ),
            name="watches",
        )
        repeating = asyncio.create_task(resync.run(), name="resync")
        self._parts = {watching, repeating}
        logger.info("leading", extra={"identity": self._config.identity})
        return _report_failed(await self._first_of({holding, watching, repeating}))

    async def _first_of(self, parts: "set[asyncio.Task[None]]") -> "set[asyncio.Task[None]]":
        """Wait for a part to end; empty if the stop signal came first."""
        stopping = asyncio.create_task(self._stop.wait(), name="stop signal")
        try:
            await asyncio.wait({*parts, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        return set() if self._stop.is_set() else {part for part in parts if part.done()}

    async def _end_parts(self) -> None:
        """End the watches the way kopf wants it, the rest by cancellation."""
        self._stop_watching.set()
        for part in self._parts:
            if part.get_name() != "watches":
                part.cancel()
        if self._parts:
            _, hung = await asyncio.wait(self._parts, timeout=STOP_WATCHES_SECONDS)
            for part in hung:
                logger.warning("component doesn't stop", extra={"part": part.get_name()})
                part.cancel()

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Wait for `work`; True if the stop signal came first, and then `work` is cancelled."""
        task = asyncio.create_task(work)
        if task in await self._first_of({task}):
            await task
            return False
        await _cancel(task)
        return True

    def _wake(self, key: Key) -> None:
        """For reconciles, which only run once the queue is there."""
        if self._queue is not None:
            self._queue.add(key)

    def _caches(self) -> str | None:
        """A standby is ready; a leader is once it has listed everything."""
        if self._resync is not None and not self._resync.synced:
            return "initial list not finished"
        return None

    def _install_signal_handlers(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)


def _is_failed(task: "asyncio.Task[None]") -> bool:
    return task.cancelled() or task.exception() is not None


def _report_failed(ended: "set[asyncio.Task[None]]") -> bool:
    """Log why the process exits; False if it was the stop signal and no part ended."""
    for part in ended:
        error = None if part.cancelled() else part.exception()
        # These two say it all in their message.
        expected = isinstance(error, LeaseLostError | FirstListError)
        logger.error(
            "a component of the operator stopped, exiting",
            extra={"part": part.get_name(), "error": str(error) if expected else repr(error)},
            exc_info=None if expected else error,
        )
    return bool(ended)


async def _cancel(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end; what it fails with has been reported before."""
    task.cancel()
    await asyncio.wait({task})
