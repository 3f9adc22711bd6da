"""Kinds of objects of the Kubernetes API, and the set of them that a controller works with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Manifest = dict[str, Any]
"""An object as JSON: apiVersion, kind, metadata and the rest."""
Manifests = list[Manifest]


@dataclass(frozen=True)
class Kind:
    """One namespaced resource of the API."""

    name: str
    """As in `kind:`."""
    group: str
    """Empty for the core group."""
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
        """The URL path of a collection (all namespaces if None), an object or a subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace is not None:
            parts.append(f"namespaces/{namespace}")
        parts.extend(part for part in (self.plural, name, sub) if part)
        return "/".join(parts)


EVENT = Kind("Event", "", "v1", "events")
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")


@dataclass(frozen=True)
class Kinds:
    """The kinds that a controller works with, and how it knows its own objects."""

    custom: Mapping[Kind, str]
    """Custom resources, each with the kind of its key in the work queue."""
    children: tuple[Kind, ...]
    """Children that are cached and watched: those with `managed_label` only, so that a big
    cluster's own Jobs and Pods are never mirrored."""
    applied: tuple[Kind, ...]
    """Further children: applied, never read."""
    owner_labels: Mapping[str, str]
    """Labels that name the object a child is for, in the child's namespace, each with the kind of
    that object's key."""
    managed_label: str
    """"true" on every child."""
    field_manager: str
    """Of server-side apply; also the component of events."""
    domain: str
    """Prefix of the component that reports events."""

    @cached_property
    def cached(self) -> tuple[Kind, ...]:
        """Everything that is listed and watched."""
        return (*self.custom, *self.children)

    @cached_property
    def _by_type(self) -> dict[tuple[str, str], Kind]:
        kinds = (*self.cached, *self.applied, EVENT, LEASE)
        return {(kind.api_version, kind.name): kind for kind in kinds}

    @property
    def managed_selector(self) -> str:
        """The label selector of children."""
        return f"{self.managed_label}=true"

    def of(self, obj: Mapping[str, Any]) -> Kind:
        """The kind of a manifest.

        Raises:
            ValueError: the controller has no business with such objects.
        """
        found = self._by_type.get((obj.get("apiVersion", ""), obj.get("kind", "")))
        if found is None:
            raise ValueError(f"unknown kind {obj.get('apiVersion')}/{obj.get('kind')}")
        return found

    def by_plural(self, plural: str) -> Kind | None:
        """The cached kind with this plural name."""
        return next((kind for kind in self.cached if kind.plural == plural), None)

    def selector_of(self, kind: Kind) -> str | None:
        """The label selector that lists and watches of this kind use."""
        return self.managed_selector if kind in self.children else None

    def is_cached(self, kind: Kind, obj: Mapping[str, Any]) -> bool:
        """Whether an object of a cached kind is one of ours."""
        labels = obj["metadata"].get("labels") or {}
        return kind in self.custom or labels.get(self.managed_label) == "true"

    def owners_of(self, obj: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """(label, name) of what a child is for."""
        labels = obj["metadata"].get("labels") or {}
        for label in self.owner_labels:
            if label in labels:
                yield label, labels[label]
