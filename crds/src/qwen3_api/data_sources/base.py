"""The declaration of a source of rows: its field in the API, and what the pods get of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from qwen3_api.job.base import S3Location
from qwen3_api.v1alpha1.meta import Rule


@dataclass(frozen=True)
class Source:
    """A source of rows. The trainer reads its document with `qwen3_trainer.data.sources.<type>`,
    the document's type in small letters."""

    type: str
    """As in the type of a DatasetSource."""
    field: str
    """Field of DatasetSource, in Python."""
    resolve: Callable[[Any, str, S3Location], Any]
    """From the field's value, the name of the part that the rows are for (train, validation or a
    suite's), and the bucket of the artifacts, to the document: a member of `DataSource`."""

    def rule(self) -> Rule:
        """The field goes with the type."""
        wire = to_camel(self.field)
        return Rule(
            cel=f"(self.type == '{self.type}') == has(self.{wire})",
            message=f"{wire} goes with type {self.type}, and only with it",
            check=lambda m: (m.type == self.type) == (getattr(m, self.field) is not None),
            field_path=f".{wire}",
        )
