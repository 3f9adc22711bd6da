"""The unit of work: one key per custom resource, or per group of them that is decided together."""

from typing import NamedTuple


class Key(NamedTuple):
    """The unit of work. Equal to the plain tuple of its fields."""

    kind: str
    """Which reconcile it is for."""
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"
