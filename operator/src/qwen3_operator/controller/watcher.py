"""kopf as a watcher: every event goes into the cache, and the keys it touches into the queue.

Only `on.event` handlers: they write no annotation, no finalizer and no progress to the objects, and
kopf ignores their errors, so they may do nothing that can fail. Everything else about kopf is
switched off (docs/adr/0002-kopf-as-watcher.md).
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import kopf

from qwen3_operator.controller.activity import INACTIVITY_SECONDS, WatchActivity
from qwen3_operator.controller.connection import Connection
from qwen3_operator.controller.kind import Kind, Kinds, Manifest
from qwen3_operator.controller.session import open_watch_session

Observe = Callable[[str | None, Manifest], None]


class NoDiffBase(kopf.DiffBaseStorage):
    """kopf copies the whole object per event to compare it with the last one; nobody here asks.

    That copy was a quarter of kopf's time per event.
    """

    def build(
        self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None
    ) -> kopf.BodyEssence:
        """Nothing of the object."""
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """No last object."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Only a handler that keeps state gets here, and there must be none."""
        raise NotImplementedError("kopf must not write to objects")


def build_settings(kinds: Kinds) -> kopf.OperatorSettings:
    """kopf's settings for a process that only watches."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    # One resource per kind, in namespaces named at start: no rights on CRDs and namespaces needed.
    settings.scanning.disabled = True
    settings.watching.inactivity_timeout = INACTIVITY_SECONDS
    settings.watching.connect_timeout = 5.0
    settings.networking.request_timeout = 60.0
    settings.networking.connect_timeout = 5.0
    # Bridges an API server's restart; then the process exits and is started afresh.
    settings.networking.error_backoffs = (1, 2, 4, 8, 8)
    settings.queueing.exit_timeout = 1.0
    settings.process.ultimate_exiting_timeout = 40.0
    # Not used by `on.event`; ours all the same, so that nothing of kopf's own name can ever appear.
    settings.persistence.finalizer = f"{kinds.domain}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=kinds.domain)
    settings.persistence.diffbase_storage = NoDiffBase()
    for kind in kinds.children:
        where = (kind.group, kind.version, kind.plural)
        settings.watching.label_selectors[where] = kinds.managed_selector
    return settings


def build_registry(
    kinds: Kinds, observe: Observe, connection: Connection, activity: WatchActivity
) -> kopf.OperatorRegistry:
    """The handlers: a login, and one event handler per kind."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return open_watch_session(connection, activity)

    for kind in kinds.cached:
        _register(registry, kind, observe)
    return registry


def _register(registry: kopf.OperatorRegistry, kind: Kind, observe: Observe) -> None:
    @kopf.on.event(
        kind.group, kind.version, kind.plural, registry=registry, id=f"observe-{kind.plural}"
    )
    async def observe_event(event: kopf.RawEvent, **_: Any) -> None:
        obj: Manifest = dict(event["object"])
        obj["apiVersion"], obj["kind"] = kind.api_version, kind.name
        observe(event["type"], obj)


async def watch(
    *,
    kinds: Kinds,
    observe: Observe,
    connection: Connection,
    activity: WatchActivity,
    namespaces: tuple[str, ...],
    stop: asyncio.Event,
    on_spawned: Callable[[], None],
) -> None:
    """Watch until `stop` is set.

    on_spawned: called once kopf has installed its signal handlers, for the caller to put its own
        back.

    Raises:
        Exception: a watch failed for good (an ERROR event, a refusal). The process has to exit.
    """
    before = asyncio.all_tasks()
    activity.expect(namespaces)
    tasks = await kopf.spawn_tasks(
        registry=build_registry(kinds, observe, connection, activity),
        settings=build_settings(kinds),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    on_spawned()
    await kopf.run_tasks(tasks, ignored=before)
