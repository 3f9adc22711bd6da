"""The operator in the simulated world: its reconciles are real; see operator_simulator.py."""

import copy
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from qwen3_api.job.base import S3Location
from qwen3_api.serving.pool import AgentStatus
from qwen3_operator.artifacts.client import Fetched, ObjectStore, StorageProblem
from qwen3_operator.artifacts.documents import Artifacts
from qwen3_operator.context import Context
from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.client import Client
from qwen3_operator.controller.errors import Conflict, OperatorError, Transient
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.kind import Kind
from qwen3_operator.dispatch import Reconcilers
from qwen3_operator.resources.kinds import KINDS, kind_of
from qwen3_operator.resources.labels import FIELD_MANAGER
from qwen3_operator.serving.sidecars import Agents
from qwen3_operator.settings import Settings
from support.operator_world import SETTINGS
from support.simulated_api import Body

if TYPE_CHECKING:
    from support.operator_simulator import World


class Crash(BaseException):
    """SIGKILL: no handler of the operator may see it."""


class PoisonError(Exception):
    """An exception that no part of the operator expects."""


class StoreModel:
    """`ObjectStore` over a `Bucket`."""

    def __init__(self, operator: "Operator") -> None:
        self._operator = operator
        self._bucket = operator.world.bucket

    async def get(self, location: S3Location) -> Fetched | None:
        self._knock()
        if any(uid in location.prefix for uid in self._bucket.poisoned):
            raise PoisonError(location.prefix)
        found = self._bucket.objects.get(location.prefix)
        return Fetched(*found) if found else None

    def _knock(self) -> None:
        if self._bucket.away:
            raise Transient("StorageUnavailable", "nobody answers")
        if self._bucket.refuses is not None:
            raise StorageProblem(self._bucket.refuses)

    async def stream(self, location: S3Location) -> AsyncIterator[bytes]:
        self._knock()
        found = self._bucket.objects.get(location.prefix)
        if self._bucket.held is not None:
            await self._bucket.held.wait()
        if found:
            yield found[0]

    async def list_folder(self, location: S3Location, most: int) -> dict[str, int]:
        self._knock()
        folder = f"{location.prefix}/"
        keys = sorted(k for k in self._bucket.objects if k.startswith(folder))
        return {k.removeprefix(folder): len(self._bucket.objects[k][0]) for k in keys[:most]}

    async def put_if(self, location: S3Location, body: bytes, etag: str | None) -> bool:
        self._knock()
        with self._operator.write("put"):
            found = self._bucket.objects.get(location.prefix)
            if (found[1] if found else None) != etag:
                return False
            self._bucket.put(location.prefix, body)
            return True

    async def delete_prefix(self, location: S3Location) -> int:
        self._knock()
        with self._operator.write("delete-prefix"):
            keys = [k for k in self._bucket.objects if k.startswith(f"{location.prefix}/")]
            for key in keys:
                del self._bucket.objects[key]
            return len(keys)


class ClientModel:
    """`Client` over an `ApiModel`; answers go into the cache, as the real one's do."""

    def __init__(self, operator: "Operator") -> None:
        self._operator = operator
        self._api = operator.world.api

    def _observe(self, body: Body) -> Body:
        self._operator.cache.put(copy.deepcopy(body))
        return copy.deepcopy(body)

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None:
        return copy.deepcopy(self._api.get(kind.name, name))

    async def apply(
        self, obj: Body, field_manager: str = FIELD_MANAGER, force: bool = True
    ) -> Body:
        with self._operator.write(f"apply {obj['kind']}"):
            return self._observe(self._api.apply(obj, field_manager))

    async def apply_status(self, obj: Body) -> Body | None:
        with self._operator.write("status"):
            body = self._api.get(obj["kind"], obj["metadata"]["name"])
            if body is None:
                return None
            if body["metadata"]["uid"] != obj["metadata"]["uid"]:
                raise Conflict("Conflict", "uid mismatch")
            if body.get("status") != obj["status"]:
                body["status"] = copy.deepcopy(obj["status"])
                self._api.changed(body)
            self._operator.world.on_status(body)
            return self._observe(body)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str | None = None
    ) -> None:
        with self._operator.write(f"delete {kind.name}"):
            body = self._api.get(kind.name, name)
            if body is None:
                return
            if uid is not None and body["metadata"]["uid"] != uid:
                raise Conflict("UidMismatch", name)
            self._api.delete(body)

    async def patch_finalizers(
        self, kind: Kind, namespace: str, name: str, finalizers: list[str], version: str
    ) -> Body | None:
        with self._operator.write("finalizers"):
            body = self._api.get(kind.name, name)
            if body is None:
                return None
            if body["metadata"]["resourceVersion"] != version:
                raise Conflict("Conflict", "stale")
            body["metadata"]["finalizers"] = list(finalizers)
            if not finalizers and "deletionTimestamp" in body["metadata"]:
                self._api.remove(body)
                return None
            return self._observe(self._api.changed(body))

    async def create_event(self, about: Body, *, type_: str, reason: str, message: str) -> None:
        with self._operator.write("event"):
            self._operator.world.events[reason] += 1


class AgentsModel:
    """`Agents` over the pods of the world."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def ask(self, ip: str) -> AgentStatus | None:
        server = next((s for s in self._world.servers.values() if s.ip == ip), None)
        return server.status() if server else None


class _Write:
    """One write: it may be the last thing that the process does, before or after its effect."""

    def __init__(self, operator: "Operator", what: str) -> None:
        self._operator, self._what = operator, what

    def __enter__(self) -> None:
        self._operator.writes[self._what] += 1
        self._operator.burn()

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._operator.burn()


@dataclass
class Operator:
    """The operator's process."""

    world: "World"
    fuse: int | None = None
    """Steps (before a write, after it, …) until the process dies."""
    writes: Counter[str] = field(default_factory=Counter)
    errors: list[OperatorError] = field(default_factory=list)
    tolerant: bool = False
    """An exception that nobody expected goes into `crashes`, as the queue would take it."""
    crashes: list[tuple[Key, Exception]] = field(default_factory=list)
    woken: set[Key] = field(default_factory=set)
    settings: Settings = SETTINGS
    patience: float = 5.0
    """Seconds that a reconcile waits for a check of files; nothing here takes as long."""

    def __post_init__(self) -> None:
        self.cache = Cache(KINDS)
        self.context = Context(
            client=cast(Client, ClientModel(self)),
            cache=self.cache,
            artifacts=Artifacts(
                cast(ObjectStore, StoreModel(self)),
                lambda asker: self.woken.add(cast(Key, asker)),
                self.patience,
            ),
            agents=cast(Agents, AgentsModel(self.world)),
            settings=self.settings,
            now=lambda: self.world.api.now,
            wake=self.woken.add,
        )
        self.reconcilers = Reconcilers(self.context)
        for body in self.world.api.objects.values():
            if kind_of(body) in KINDS.cached:
                self.cache.put(copy.deepcopy(body))
        self.world.api.pending.clear()

    def write(self, what: str) -> Any:
        return _Write(self, what)

    def burn(self) -> None:
        if self.fuse is not None:
            if self.fuse == 0:
                raise Crash
            self.fuse -= 1

    def deliver(self) -> None:
        """All that the watches have to tell."""
        pending, self.world.api.pending = self.world.api.pending, []
        for what, body in pending:
            if kind_of(body) not in KINDS.cached:
                continue
            changed = self.cache.put(body) if what == "put" else self.cache.remove(body)
            if changed:
                self.woken.update(self.reconcilers.keys_for(body))

    def resync(self) -> None:
        """A routine look at everything."""
        for kind in KINDS.cached:
            for body in self.cache.list(kind):
                self.woken.update(self.reconcilers.keys_for(body))

    def reconcile(self, key: Key) -> float | None:
        """One reconcile; an error of ours is the queue's to retry. Raises Crash."""
        self.woken.discard(key)
        try:
            return self.world.loop.run_until_complete(self.reconcilers.reconcile(key)).requeue_after
        except OperatorError as error:
            self.errors.append(error)
            self.woken.add(key)
            return 1.0
        except Exception as error:
            if not self.tolerant:
                raise
            self.crashes.append((key, error))
            return 1.0

    def work(self, limit: int = 60) -> None:
        """Until nothing is woken any more, or too often."""
        for _ in range(limit):
            if not self.woken:
                return
            self.reconcile(sorted(self.woken)[0])
