"""What is reconciled: one key per custom resource or pool."""

from typing import NamedTuple

FINE_TUNE = "finetune"
EVAL = "eval"
POOL = "pool"


class Key(NamedTuple):
    """The unit of work. Equal to the plain tuple of its fields."""

    kind: str
    """finetune, eval or pool."""
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"
