"""The declaration of a format: how its rows are recognised, described and converted."""

from collections.abc import Callable
from dataclasses import dataclass

from qwen3_api.methods import RowKind
from qwen3_api.v1alpha1.training import PREFERENCE_FORMATS, DatasetFormat
from qwen3_trainer.data.rows import RawRow, Row


@dataclass(frozen=True)
class Format:
    """A shape of rows on disk."""

    name: DatasetFormat
    keys: tuple[str, ...]
    """A row that has them all is of this format, where none before it in the list fits."""
    fields: str
    """The fields of a row, for hints."""
    convert: Callable[[RawRow], Row]
    """Raises RowError. Tools of the row are added behind it."""

    @property
    def rows(self) -> RowKind:
        """Kind of the converted rows."""
        preferences = self.name in PREFERENCE_FORMATS
        return RowKind.PREFERENCE if preferences else RowKind.CONVERSATION
