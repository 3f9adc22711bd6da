"""A kind of object of the Kubernetes API, and its URL paths."""

from dataclasses import dataclass
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
