"""Resolved custom resources and who refers to whom, kept up to date by the cache.

Every change of a custom resource is parsed once, when the cache takes it in, and its references are
entered under what they refer to. So an event costs the same among ten objects and among ten
thousand: nobody goes through a namespace to find out whom it concerns
(docs/adr/0048-index-of-references.md).
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.kind import Kind, Manifest
from qwen3_operator.evaluation.views import (
    Evaluation,
    ReadableEvaluation,
    named_fine_tunes,
    parse_evaluation,
    salvage_evaluation,
    wants_adapter,
)
from qwen3_operator.finetune.views import (
    FineTune,
    ReadableFineTune,
    UnreadableFineTune,
    parse_finetune,
    salvage_finetune,
)
from qwen3_operator.resources.kinds import EVALUATION, FINE_TUNE
from qwen3_operator.settings import Settings

T = TypeVar("T")


class Reference(NamedTuple):
    """A property that objects of a namespace can have in common."""

    relation: str
    namespace: str
    value: str


class Objects(Generic[T]):
    """The parsed objects of one kind, and the references that lead to them."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], T] = {}
        self._references: dict[tuple[str, str], frozenset[Reference]] = {}
        self._names: defaultdict[Reference, set[str]] = defaultdict(set)

    def get(self, namespace: str, name: str) -> T | None:
        """The object, or None."""
        return self._objects.get((namespace, name))

    def put(self, namespace: str, name: str, obj: T, references: frozenset[Reference]) -> None:
        """Takes an object in, in place of the one that has its name."""
        self.remove(namespace, name)
        self._objects[namespace, name] = obj
        self._references[namespace, name] = references
        for reference in references:
            self._names[reference].add(name)

    def remove(self, namespace: str, name: str) -> None:
        """Forgets an object."""
        self._objects.pop((namespace, name), None)
        for reference in self._references.pop((namespace, name), frozenset()):
            names = self._names[reference]
            names.discard(name)
            if not names:
                del self._names[reference]

    def find(self, reference: Reference) -> Iterator[T]:
        """The objects that a reference leads to, by name."""
        for name in sorted(self._names.get(reference, ())):
            yield self._objects[reference.namespace, name]


class ResourceIndex:
    """Fine-tunes and evaluations by what they have in common."""

    def __init__(self, cache: Cache, settings: Settings) -> None:
        self._settings = settings
        self._finetunes: Objects[FineTune] = Objects()
        self._evaluations: Objects[Evaluation] = Objects()
        self.parsed = 0
        """Objects parsed since the start: the work that events have cost."""
        cache.subscribe(self._observe)

    def finetune(self, namespace: str, name: str) -> FineTune | None:
        """A fine-tune by its name."""
        return self._finetunes.get(namespace, name)

    def evaluation(self, namespace: str, name: str) -> Evaluation | None:
        """An evaluation by its name."""
        return self._evaluations.get(namespace, name)

    def members(self, namespace: str, pool: str) -> list[ReadableFineTune]:
        """Fine-tunes that ask to be served by this pool and aren't being deleted."""
        found = self._finetunes.find(Reference("pool", namespace, pool))
        return [ft for ft in found if isinstance(ft, ReadableFineTune)]

    def claimants(self, namespace: str, alias: str) -> list[ReadableFineTune]:
        """Fine-tunes that ask for this public name and aren't being deleted."""
        found = self._finetunes.find(Reference("alias", namespace, alias))
        return [ft for ft in found if isinstance(ft, ReadableFineTune)]

    def lost(self, namespace: str, endpoint: str) -> list[FineTune]:
        """Fine-tunes that no pool has as a member now, by the endpoint that status records: their
        spec can't be read, or the settings have lost its bucket, a part of the pool's name."""
        return list(self._finetunes.find(Reference("lost", namespace, endpoint)))

    def evaluations_of(self, namespace: str, finetune: str) -> list[ReadableEvaluation]:
        """Evaluations that name this fine-tune."""
        found = self._evaluations.find(Reference("names", namespace, finetune))
        return [ev for ev in found if isinstance(ev, ReadableEvaluation)]

    def awaiting_adapter(self, namespace: str) -> list[ReadableEvaluation]:
        """Evaluations whose adapter has to be loaded now."""
        found = self._evaluations.find(Reference("adapter", namespace, ""))
        return [ev for ev in found if isinstance(ev, ReadableEvaluation)]

    def _observe(self, kind: Kind, namespace: str, name: str, body: Manifest | None) -> None:
        """A change of the cache. `body` is None for a deletion."""
        if kind is FINE_TUNE:
            if body is None:
                self._finetunes.remove(namespace, name)
            else:
                self.parsed += 1
                ft = self._read_finetune(body)
                self._finetunes.put(namespace, name, ft, frozenset(_references_of(ft)))
        elif kind is EVALUATION:
            if body is None:
                self._evaluations.remove(namespace, name)
            else:
                self.parsed += 1
                ev = self._read_evaluation(body)
                self._evaluations.put(namespace, name, ev, frozenset(_references_of_eval(ev)))

    def _read_finetune(self, body: Manifest) -> FineTune:
        """The cache may be in the middle of a list: what one object raises is for its own reconcile
        to report, hence the broad net."""
        try:
            return parse_finetune(body, self._settings)
        except Exception as error:  # noqa: BLE001  (raised again by reconcile_finetune)
            return salvage_finetune(body, error)

    def _read_evaluation(self, body: Manifest) -> Evaluation:
        """As `_read_finetune`."""
        try:
            return parse_evaluation(body, self._settings)
        except Exception as error:  # noqa: BLE001  (raised again by reconcile_evaluation)
            return salvage_evaluation(body, error)


def _references_of(ft: FineTune) -> Iterator[Reference]:
    namespace = ft.meta.namespace
    if ft.meta.deleting:
        return
    if isinstance(ft, ReadableFineTune) and ft.is_served:
        yield Reference("pool", namespace, ft.pool)
        yield Reference("alias", namespace, ft.alias)
    lost = isinstance(ft, UnreadableFineTune) or (ft.is_served and ft.storage is None)
    serving = ft.status.serving
    if lost and serving is not None and serving.endpoint is not None:
        yield Reference("lost", namespace, serving.endpoint)


def _references_of_eval(ev: Evaluation) -> Iterator[Reference]:
    if not isinstance(ev, ReadableEvaluation):
        return
    for name in named_fine_tunes(ev.spec):
        yield Reference("names", ev.meta.namespace, name)
    if wants_adapter(ev) is not None:
        yield Reference("adapter", ev.meta.namespace, "")
