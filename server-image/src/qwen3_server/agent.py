"""The agent: keeps vLLM's adapters and the gateway's routes as the pool's index says.

Level-based. Two loops and one task per adapter that is being brought up:

    poll   index.json, If-None-Match ─────────────► self._index   (bucket away: keep what there is)
    tick   vLLM's own list ─► start bring-ups ─► routes.json ─► unload what left ─► canaries' counts
    bring_up(id)   pull ─► verify ─► load ─► prove by one token

vLLM forgets everything when it restarts; the boot name in its answers tells, and the next tick
starts over. The agent forgets when *it* restarts, and verifies and proves again what vLLM lists.
Everything runs on one event loop: between two awaits nothing changes.
"""

import asyncio
import logging
import math
import time
from pathlib import Path

from pydantic import ValidationError

from qwen3_api.pod.failure import FailureError
from qwen3_api.serving.config import ServerConfig
from qwen3_api.serving.pool import AgentCanary, AgentStatus, PoolAdapter, PoolIndex
from qwen3_server.adapter_cache import AdapterCache
from qwen3_server.adapter_record import AdapterRecord
from qwen3_server.engine import Engine, Listing
from qwen3_server.errors import (
    AdapterError,
    EngineBusyError,
    EngineDownError,
    StorageError,
    clean_message,
    load_failed,
)
from qwen3_server.metrics import AgentMetrics
from qwen3_server.plan import (
    Readiness,
    assess_readiness,
    index_problem,
    plan_routes,
    plan_unloads,
)
from qwen3_server.routes import ROUTES_FILE, Routes
from qwen3_server.store import Store
from qwen3_server.watched_file import WatchedFile, replace_file

TICK_SECONDS = 1.0
"""Between two looks at vLLM's list."""
INDEX_FILE = "index.json"
"""In the run dir: the last good index, for an agent that restarts while the bucket is away."""
MAX_SILENCE_SECONDS = 60.0
"""A loop that has not gone round for so long is dead."""
BUSY_SECONDS = 20.0
"""A vLLM that was ready may be silent for so long."""
_PULLS_AT_ONCE = 4

_NOTHING = Listing(boot="", adapters={})
_log = logging.getLogger(__name__)


class Agent:
    """One pod's agent. `run` never returns; the other methods answer HTTP requests."""

    def __init__(
        self,
        config: ServerConfig,
        store: Store,
        engine: Engine,
        cache: AdapterCache,
        *,
        run_dir: Path,
        pod: str,
    ) -> None:
        self.metrics = AgentMetrics()
        self._config = config
        self._store = store
        self._engine = engine
        self._cache = cache
        self._routes_file = run_dir / ROUTES_FILE
        self._index_file = run_dir / INDEX_FILE
        self._pod = pod
        self._index: PoolIndex | None = None
        self._etag: str | None = None
        self._index_message = ""
        """What is wrong with the newest index in the bucket."""
        self._storage_message = ""
        """Why the bucket could not be asked."""
        self._records: dict[str, AdapterRecord] = {}
        self._bring_ups: dict[str, asyncio.Task[None]] = {}
        self._listing = _NOTHING
        self._boot = ""
        """The last vLLM process seen."""
        # An agent that restarts beside a living vLLM goes on from what the gateway was told.
        self._routes = WatchedFile(self._routes_file, Routes.model_validate_json).current()
        self._unload_due: dict[str, float] = {}
        self._pulling = asyncio.Semaphore(_PULLS_AT_ONCE)
        self._loading = asyncio.Lock()
        self._ready_at = -math.inf
        """When vLLM last answered all that readiness asks, if the answer was yes."""
        self._wake = asyncio.Event()
        self._last_tick = time.monotonic()

    async def run(self) -> None:
        """Poll and tick until cancelled."""
        await self._cache.clean()
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._run_polls())
            loops.create_task(self._run_ticks())

    # The index

    async def _run_polls(self) -> None:
        while True:
            try:
                await self._poll()
            except (StorageError, FileNotFoundError) as error:
                self._note_storage(error)
                if self._index is None and isinstance(error, StorageError):
                    self._recall_index()
            except Exception:  # noqa: BLE001 - a bug must not take a serving pod out of service
                self.metrics.loop_errors.inc()
                _log.exception("a poll of the index failed")
            await asyncio.sleep(self._config.poll_seconds)

    async def _poll(self) -> None:
        fetched = await self._store.read_if_changed(self._config.index, self._etag)
        self._storage_message = ""
        if fetched is None:
            return
        # A useless index is not fetched again until it changes.
        self._etag = fetched.etag
        if self._read_index(fetched.content):
            replace_file(self._index_file, fetched.content, 0o600)

    def _read_index(self, content: bytes) -> bool:
        """Apply an index unless something is wrong with it."""
        try:
            index = PoolIndex.model_validate_json(content)
            problem = index_problem(index, self._config)
        except ValidationError as error:
            problem = f"index.json cannot be parsed: {error}"
        if problem is not None:
            self._index_message = clean_message(problem)
            self.metrics.index_errors.labels("IndexInvalid").inc()
            _log.warning("the index stays as it is: %s", self._index_message)
            return False
        self._apply_index(index)
        return True

    def _note_storage(self, error: StorageError | FileNotFoundError) -> None:
        """Every poll counts; only news is logged."""
        if isinstance(error, StorageError):
            reason, text = str(error.reason), error.message
        else:
            reason, text = "IndexMissing", f"there is no index at {error}"
        self.metrics.index_errors.labels(reason).inc()
        if clean_message(text) != self._storage_message:
            self._storage_message = clean_message(text)
            _log.warning("the index stays as it is: %s", text)

    def _recall_index(self) -> None:
        """The last index of an earlier agent in this pod, when the bucket is away as well."""
        if self._index_file.exists():
            self._read_index(self._index_file.read_bytes())

    def _apply_index(self, index: PoolIndex) -> None:
        """Take the index and the routes that follow from it in one step.

        Without an await, so that /ready never judges the new index by the old routes.
        """
        records: dict[str, AdapterRecord] = {}
        for adapter in index.adapters:
            known = self._records.get(adapter.id)
            if known is None or known.wanted.digest != adapter.digest:
                known = AdapterRecord(wanted=adapter)
            known.wanted = adapter
            known.retry_now()
            records[adapter.id] = known
        for gone in set(self._bring_ups) - set(records):
            self._bring_ups[gone].cancel()
        self._records = records
        self._index = index
        self._index_message = ""
        self.metrics.serial.set(index.serial)
        _log.info("index %d: %d adapters", index.serial, len(index.adapters))
        self._write_routes()
        self._wake.set()

    # vLLM

    async def _run_ticks(self) -> None:
        while True:
            try:
                await self._tick()
            except EngineDownError as error:
                self._forget_engine(error)
            except Exception:  # noqa: BLE001 - a bug must not take a serving pod out of service
                self.metrics.loop_errors.inc()
                _log.exception("a round of the loop failed")
            else:
                self._last_tick = time.monotonic()
            self._count_states()
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def _tick(self) -> None:
        self._see(await self._engine.list_adapters())
        if self._index is None:
            return
        for adapter in sorted(self._index.adapters, key=lambda a: not a.required):
            self._start_bring_up(adapter)
        routes = self._write_routes()
        self._unload_due = plan_unloads(
            self._index,
            set(self._listing.adapters),
            routes,
            self._unload_due,
            time.monotonic() + self._config.drain_seconds,
        )
        for model, due in self._unload_due.items():
            if due <= time.monotonic() and model not in self._bring_ups:
                await self._engine.unload(model)
                _log.info("unloaded %s", model)
        kept = {Path(folder).name for folder in self._listing.adapters.values()}
        await self._cache.remove_except(kept | {a.digest for a in self._index.adapters})
        await self._read_canaries()

    def _see(self, listing: Listing) -> None:
        if listing.boot != self._boot:
            _log.info("vLLM process %s, which has %d adapters", listing.boot, len(listing.adapters))
            self.metrics.engine_starts.inc()
            self._unload_due = {}
            self._boot = listing.boot
        self._listing = listing

    def _forget_engine(self, error: EngineDownError) -> None:
        """The loop goes round, but nothing is known to be loaded."""
        self._last_tick = time.monotonic()
        if self._listing is not _NOTHING:
            _log.warning("vLLM does not answer: %s", error)
        self._listing = _NOTHING
        self.metrics.canaries.show({})
        for record in self._records.values():
            if record.state == "Loaded":
                record.enter("Pending")

    def _is_loaded(self, adapter: PoolAdapter, listing: Listing) -> bool:
        folder = listing.adapters.get(adapter.id)
        return folder == str(self._cache.folder(adapter.digest))

    def _answering(self, listing: Listing) -> set[str]:
        """Ids that vLLM lists with the right folder and that were proved in this process.

        An id that left the index answers as long as it is listed: its record is gone, and the
        routes that still name it were made when it had been proved.
        """
        proved = {
            model
            for model, record in self._records.items()
            if record.proved_boot == listing.boot and self._is_loaded(record.wanted, listing)
        }
        routes = self._routes
        if routes is None or routes.boot != listing.boot:
            return proved
        return proved | {
            model
            for model in routes.ids
            if model not in self._records and model in listing.adapters
        }

    def _write_routes(self) -> Routes:
        assert self._index is not None  # noqa: S101 - both callers have it
        boot = self._listing.boot
        routes = plan_routes(self._index, self._answering(self._listing), self._routes, boot)
        # While vLLM is away its old routes stay: no other process takes them for its own.
        if boot and routes != self._routes:
            replace_file(self._routes_file, routes.to_json(), 0o644)
            self._routes = routes
        return routes

    # One adapter

    def _start_bring_up(self, adapter: PoolAdapter) -> None:
        record = self._records[adapter.id]
        if adapter.id in self._answering(self._listing):
            record.enter("Loaded")
            return
        if adapter.id in self._bring_ups or time.monotonic() < record.retry_at:
            return
        record.enter("Pending")
        task = asyncio.create_task(self._bring_up(record), name=f"bring up {adapter.id}")
        self._bring_ups[adapter.id] = task
        task.add_done_callback(lambda _: self._end_bring_up(adapter.id))

    def _end_bring_up(self, model: str) -> None:
        del self._bring_ups[model]
        self._wake.set()

    async def _bring_up(self, record: AdapterRecord) -> None:
        """Pull, verify, load, prove; every failure is this adapter's alone."""
        adapter, started = record.wanted, time.monotonic()
        try:
            async with self._pulling:
                record.enter("Pulling")
                folder = await self._cache.pull(adapter)
            record.verified_digest = adapter.digest
            async with self._loading:
                record.enter("Loading")
                await self._load(adapter, folder, record)
        except FailureError as error:
            record.fail(error, time.monotonic())
            self.metrics.failures.labels(str(error.reason)).inc()
            _log.warning("%s: %s: %s", adapter.id, error.reason, error.message)
        except EngineDownError as error:
            record.enter("Pending")
            _log.info("%s waits for vLLM: %s", adapter.id, error)
        except Exception as error:  # noqa: BLE001 - whatever is in this adapter stays with it
            record.fail(load_failed(f"{type(error).__name__}: {error}"), time.monotonic())
            self.metrics.failures.labels("Unexpected").inc()
            _log.exception("%s cannot be brought up", adapter.id)
        else:
            record.failures = 0
            record.enter("Loaded")
            self.metrics.loads.inc()
            self.metrics.load_seconds.observe(time.monotonic() - started)
            _log.info("%s answers after %.2f s", adapter.id, time.monotonic() - started)

    async def _load(self, adapter: PoolAdapter, folder: Path, record: AdapterRecord) -> None:
        listing = await self._engine.list_adapters()
        if not self._is_loaded(adapter, listing):
            if adapter.id in listing.adapters:
                # The id was loaded from another folder: it is not what the index means.
                await self._engine.unload(adapter.id)
            await self._engine.load(adapter.id, folder)
        try:
            await self._engine.prove(adapter.id, self._config.smoke_prompt)
        except AdapterError:
            await self._engine.unload(adapter.id)
            raise
        record.proved_boot = listing.boot

    # What others ask

    async def check_readiness(self) -> Readiness:
        """Judge the newest index by what vLLM says at this moment.

        One that is only slow stays ready for BUSY_SECONDS, whatever index came meanwhile: without
        its only pod the Service would refuse what a busy pod answers late.
        """
        try:
            healthy = await self._engine.is_healthy()
            listing = await self._engine.list_adapters()
        except EngineDownError as error:
            slow = isinstance(error, EngineBusyError)
            if slow and time.monotonic() - self._ready_at < BUSY_SECONDS:
                return Readiness(True, ())
            return Readiness(False, (f"vLLM does not answer: {clean_message(str(error))}",))
        # From here on nothing changes. An index from before the awaits would be judged by the
        # routes of the one that came meanwhile, and a pod that answers everything lose its traffic.
        readiness = assess_readiness(
            self._index, healthy, self._answering(listing), self._routes, listing.boot
        )
        self._ready_at = time.monotonic() if readiness.ready else -math.inf
        return readiness

    async def build_status(self) -> AgentStatus:
        """The body of GET /status."""
        readiness = await self.check_readiness()
        problems = [*readiness.reasons, self._index_message, self._storage_message]
        try:
            canaries = await self._read_canaries()
        except EngineDownError as error:
            canaries = {}
            problems.append(f"the canaries cannot be asked: {clean_message(str(error))}")
        current = self._current_routes()
        return AgentStatus(
            pod=self._pod,
            ready=readiness.ready,
            serial=self._index.serial if self._index else 0,
            adapters=[record.to_status() for record in self._records.values()],
            aliases=current.aliases if current else {},
            canaries=canaries,
            message="; ".join(filter(None, problems))[:2048],
        )

    def _current_routes(self) -> Routes | None:
        """The routes if they are this vLLM process's."""
        routes = self._routes
        return routes if routes and routes.boot == self._listing.boot else None

    async def _read_canaries(self) -> dict[str, AgentCanary]:
        """How the canaries go that this pod routes, by alias; /metrics shows the same."""
        routes = self._current_routes()
        found = await self._engine.read_canaries() if routes and routes.canaries else {}
        self.metrics.canaries.show(found)
        return found

    def is_alive(self) -> bool:
        """Does the loop go round?"""
        return time.monotonic() - self._last_tick < MAX_SILENCE_SECONDS

    def _count_states(self) -> None:
        self.metrics.adapters.clear()
        for record in self._records.values():
            self.metrics.adapters.labels(record.state).inc()
