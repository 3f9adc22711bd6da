"""An evenly spread sample of a stream of unknown length, kept on the disk.

A row is kept when a hash of its number is below a bar; when the sample outgrows its limits, the bar
is halved and the rows above it are forgotten. So each row has the same chance wherever it stands,
which every n-th row would not give to data that alternates between kinds, and equal data gives an
equal sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from qwen3_trainer.data.formats import Row

MAX_ROWS = 20_000
MAX_BYTES = 32 << 20
"""Of JSON. It bounds the time of tokenising, about 3 MB/s and core."""
_ENCODE = msgspec.json.encode
_DECODE = msgspec.json.decode
_SPAN = 1 << 64


@dataclass(frozen=True)
class _Kept:
    key: int
    start: int
    size: int


class RowSample:
    """A sample of the rows that are offered, all of them as long as they fit the limits."""

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self._file = path.open("w+b")
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._bar = _SPAN
        self._kept: list[_Kept] = []
        self._bytes = 0
        self._end = 0
        self._offered = 0

    def __enter__(self) -> "RowSample":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def complete(self) -> bool:
        """Whether every row that was offered is in it."""
        return len(self._kept) == self._offered

    def offer(self, row: Row) -> None:
        """Takes the row, or not."""
        key = _mix(self._offered)
        self._offered += 1
        if key >= self._bar:
            return
        encoded = _ENCODE(row)
        self._file.write(encoded)
        self._kept.append(_Kept(key, self._end, len(encoded)))
        self._end += len(encoded)
        self._bytes += len(encoded)
        while len(self._kept) > 1 and (
            len(self._kept) > self._max_rows or self._bytes > self._max_bytes
        ):
            self._thin()

    def _thin(self) -> None:
        self._bar //= 2
        # One row at least: the first of the data has the lowest key (`_mix`).
        self._kept = [k for k in self._kept if k.key < self._bar]
        self._bytes = sum(k.size for k in self._kept)

    def rows(self) -> Iterator[Row]:
        """The rows, in order."""
        for kept in self._kept:
            self._file.seek(kept.start)
            row: Row = _DECODE(self._file.read(kept.size))
            yield row


def _mix(number: int) -> int:
    """A 64-bit hash of a number, 0 of 0 (splitmix64's finaliser, Steele et al. 2014)."""
    z = number & (_SPAN - 1)
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (_SPAN - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (_SPAN - 1)
    return z ^ (z >> 31)
