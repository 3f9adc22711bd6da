"""What the operator knows of the cluster, in memory: its custom resources and its children.

Three sources fill it, in any order and with any delay: watch events, the periodic LIST, and the
answers to our own writes. One rule makes them agree: **a resourceVersion never goes back.** So a
reconcile always reads at least what it wrote itself, and a late event can't undo that.

A deletion leaves a tombstone with its resourceVersion behind, or else the answer to a write that
was overtaken by the deletion would bring the object back for ever.

Objects are shared, not copied: readers must not change them. The event loop is the only user, so
there are no locks.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from qwen3_operator.controller.kind import Kind, Kinds, Manifest, Manifests
from qwen3_operator.controller.metrics import CACHED_OBJECTS

TOMBSTONES = 20_000
"""How many deletions are remembered. A write is answered within its timeout, 20 s, so this stands
for 1,000 deletions a second: more than an API server on this scale does."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Drift:
    """What a LIST found to be different from the cache.

    changed: objects that are new or newer in the LIST: their watch events were late or lost.
    vanished: last known form of objects that the LIST no longer holds.
    """

    changed: Manifests
    vanished: Manifests


Listener = Callable[[Kind, str, str, Manifest | None], None]
"""Called with kind, namespace, name and the object; None once it is deleted."""


class Cache:
    """Objects of the cached kinds; of children only those labelled as managed."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        # kind -> namespace -> name -> object
        self._objects: dict[Kind, dict[str, dict[str, Manifest]]] = {
            kind: {} for kind in kinds.cached
        }
        self._counts = dict.fromkeys(kinds.cached, 0)
        self._listeners: list[Listener] = []
        # (kind, namespace, owner label, owner name) -> names of children
        self._owned: defaultdict[tuple[Kind, str, str, str], set[str]] = defaultdict(set)
        self._tombstones: OrderedDict[tuple[Kind, str, str], int] = OrderedDict()

    def subscribe(self, listener: Listener) -> None:
        """Reports every object to `listener`: those that are here now, and each change from now on,
        before anybody else reads it."""
        self._listeners.append(listener)
        for kind, namespaces in self._objects.items():
            for namespace, objects in namespaces.items():
                for name, obj in objects.items():
                    listener(kind, namespace, name, obj)

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """The object, or None."""
        return self._objects[kind].get(namespace, {}).get(name)

    def list(self, kind: Kind, namespace: str | None = None) -> Manifests:
        """All objects of a kind, of one namespace or of all."""
        if namespace is not None:
            return [*self._objects[kind].get(namespace, {}).values()]
        return [obj for objects in self._objects[kind].values() for obj in objects.values()]

    def newest_version(self, kind: Kind, metadata: Mapping[str, str]) -> int:
        """The highest resourceVersion known of an object or of its deletion; -1 if unknown."""
        namespace, name = metadata["namespace"], metadata["name"]
        known = self.get(kind, namespace, name)
        buried = self._tombstones.get((kind, namespace, name), -1)
        return max(buried, version_of(known)) if known is not None else buried

    def by_owner(self, kind: Kind, namespace: str, label: str, owner: str) -> Manifests:
        """Children of a kind whose owner label has this value, by name."""
        found = self._objects[kind].get(namespace, {})
        names = self._owned.get((kind, namespace, label, owner), ())
        return [found[name] for name in sorted(names)]

    def put(self, obj: Manifest) -> bool:
        """Take an object in unless something newer is known; True if the cache changed.

        Objects that don't belong here (another kind, a child without the label) are left out, so
        that every answer to a write can be handed in. `obj` is trimmed in place.
        """
        kind = self.kinds.of(obj)
        if kind not in self._objects or not self.kinds.is_cached(kind, obj):
            return False
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        if self.newest_version(kind, obj["metadata"]) >= version_of(obj):
            return False
        old = self.get(kind, namespace, name)
        if old is not None:
            self._unlink(kind, old)
        trim(obj)
        self._objects[kind].setdefault(namespace, {})[name] = obj
        for label, owner in self.kinds.owners_of(obj):
            self._owned[kind, namespace, label, owner].add(name)
        self._count(kind, 0 if old is not None else 1)
        self._report(kind, namespace, name, obj)
        return True

    def _count(self, kind: Kind, more: int) -> None:
        self._counts[kind] += more
        CACHED_OBJECTS.labels(kind.name).set(self._counts[kind])

    def _report(self, kind: Kind, namespace: str, name: str, obj: Manifest | None) -> None:
        for listener in self._listeners:
            listener(kind, namespace, name, obj)

    def remove(self, obj: Manifest) -> bool:
        """The object is gone, or left our selection, at its resourceVersion; True if it was known.

        An event older than what is cached (of a namesake that has been re-created since) changes
        nothing.
        """
        metadata = obj["metadata"]
        return self._bury(
            self.kinds.of(obj), metadata["namespace"], metadata["name"], version_of(obj)
        )

    def prune(
        self, kind: Kind, namespace: str | None, listed: Iterable[Manifest], list_version: str
    ) -> Manifests:
        """Removes what a LIST of one kind in one namespace (None: all) lacks, unless it is newer
        than the LIST; returns its last known form."""
        names = {(o["metadata"]["namespace"], o["metadata"]["name"]) for o in listed}
        version = int(list_version)
        vanished = [
            obj
            for obj in self.list(kind, namespace)
            if (obj["metadata"]["namespace"], obj["metadata"]["name"]) not in names
            and version_of(obj) <= version
        ]
        for obj in vanished:
            self._bury(kind, obj["metadata"]["namespace"], obj["metadata"]["name"], version)
        return vanished

    def _bury(self, kind: Kind, namespace: str, name: str, version: int) -> bool:
        if kind not in self._objects:
            return False
        key = (kind, namespace, name)
        self._tombstones[key] = max(version, self._tombstones.pop(key, -1))
        while len(self._tombstones) > TOMBSTONES:
            self._tombstones.popitem(last=False)
        known = self.get(kind, namespace, name)
        if known is None or version_of(known) > version:
            return False
        self._unlink(kind, known)
        objects = self._objects[kind][namespace]
        del objects[name]
        if not objects:
            del self._objects[kind][namespace]
        self._count(kind, -1)
        self._report(kind, namespace, name, None)
        return True

    def _unlink(self, kind: Kind, obj: Manifest) -> None:
        """Take an object out of the index by owner."""
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        for label, owner in self.kinds.owners_of(obj):
            names = self._owned[kind, namespace, label, owner]
            names.discard(name)
            if not names:
                del self._owned[kind, namespace, label, owner]


def is_stale(cache: Cache, kind: Kind, obj: Manifest) -> bool:
    """Whether the cache knows a newer state of this object, or its deletion."""
    return cache.newest_version(kind, obj["metadata"]) > version_of(obj)


def version_of(obj: Manifest) -> int:
    """The resourceVersion as a number.

    Kubernetes promises since 1.35 (KEP-5504) what etcd always did: within a resource these are
    decimal numbers that grow.
    """
    return int(obj["metadata"]["resourceVersion"])


def trim(obj: Manifest) -> None:
    """Drop what no decision reads and what makes up half of an object's size."""
    obj["metadata"].pop("managedFields", None)
    annotations = obj["metadata"].get("annotations")
    if annotations:
        annotations.pop(LAST_APPLIED, None)
