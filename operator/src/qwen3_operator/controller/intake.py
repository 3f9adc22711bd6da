"""From an object that changed to the keys that have to be looked at."""

from collections.abc import Callable, Iterable, Sequence

from qwen3_operator.controller.cache import Cache, is_stale
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.kind import Kinds, Manifest
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.metrics import WATCH_EVENTS
from qwen3_operator.controller.queue import WorkQueue

KeysFor = Callable[[Manifest], Iterable[Key]]

logger = get_logger(__name__)


class Intake:
    """Takes watch events and the findings of a resync; feeds the cache and the queue."""

    def __init__(self, cache: Cache, queue: WorkQueue, keys_for: KeysFor) -> None:
        self._cache = cache
        self._queue = queue
        self._keys_for = keys_for

    def observe(self, event_type: str | None, obj: Manifest) -> None:
        """One watch event. `event_type` is None for an object of the watcher's own listing.

        An event older than the cache says nothing new and is dropped. One of the same version is
        not: it may be the echo of our own write, and whoever wrote may be waiting for it.
        """
        kind = self._cache.kinds.of(obj)
        WATCH_EVENTS.labels(kind.name, event_type or "LISTED").inc()
        if event_type == "DELETED":
            self._cache.remove(obj)
        elif is_stale(self._cache, kind, obj):
            return
        elif not self._cache.put(obj) and event_type is None:
            # The watcher begins with a listing of what our own first list has just told.
            return
        self.enqueue(obj)

    def enqueue(self, obj: Manifest) -> None:
        """Have everything looked at that this object matters to."""
        urgent = is_unanswered(self._cache.kinds, obj)
        for key in self._keys(obj):
            self._queue.add(key, urgent=urgent)

    def enqueue_within(self, obj: Manifest, seconds: float) -> None:
        """The same, some time within `seconds`: for a routine look."""
        for key in self._keys(obj):
            self._queue.add_after(key, seconds)

    def _keys(self, obj: Manifest) -> Iterable[Key]:
        """What `keys_for` says; should it stumble over an object, what its labels say.

        It reads all of an object, and one that it can't read must not take the watch or the
        resync down, hence the broad net.
        """
        try:
            return list(self._keys_for(obj))
        except Exception:
            metadata = obj["metadata"]
            where = f"{obj['kind']} {metadata['namespace']}/{metadata['name']}"
            logger.exception("cannot determine the keys of an object", extra={"object": where})
            return plain_keys(self._cache.kinds, obj)


def is_unanswered(kinds: Kinds, obj: Manifest) -> bool:
    """A custom resource whose present spec no reconcile has answered yet.

    Those come first: a new fine-tune gets its Job before the running ones are polled.
    """
    if kinds.of(obj) not in kinds.custom:
        return False
    observed = (obj.get("status") or {}).get("observedGeneration")
    return bool(observed != obj["metadata"].get("generation"))


def plain_keys(kinds: Kinds, obj: Manifest) -> Sequence[Key]:
    """The key of a custom resource, or those that a child's owner labels name."""
    metadata = obj["metadata"]
    own = kinds.custom.get(kinds.of(obj))
    if own is not None:
        return [Key(own, metadata["namespace"], metadata["name"])]
    labels = metadata.get("labels") or {}
    return [
        Key(kind, metadata["namespace"], labels[label])
        for label, kind in kinds.owner_labels.items()
        if label in labels
    ]
