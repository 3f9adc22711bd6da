"""An evenly spread sample of a stream of unknown length, kept on the disk.

A row is kept when a hash of its line number is below a bar; when the sample outgrows its limits,
the bar is halved and the rows above it are forgotten. So each row has the same chance wherever it
stands, which every n-th row would not give to data that alternates between kinds, and equal data
gives an equal sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

MAX_ROWS = 20_000
MAX_BYTES = 32 << 20
"""Of JSON. It bounds the time of tokenising, about 3 MB/s and core."""
_SPAN = 1 << 64


@dataclass(frozen=True)
class Candidate:
    """A row that may be kept."""

    key: int
    number: int
    """Its line."""
    row: bytes
    """JSON."""


@dataclass(frozen=True)
class _Kept:
    key: int
    number: int
    start: int
    size: int


class RowSample:
    """A sample of the rows that are offered, all of them as long as they fit the limits."""

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self._file = path.open("w+b")
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._kept: list[_Kept] = []
        self._end = 0
        self.bar = _SPAN
        """Candidates have a lower key."""
        self.size = 0
        """Bytes of the rows that are kept."""

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
    def is_whole(self) -> bool:
        """Every row that was offered is kept."""
        return self.bar == _SPAN

    def offer(self, candidate: Candidate) -> None:
        """Takes the row, or not: the bar may be lower than when it was chosen."""
        if candidate.key >= self.bar:
            return
        self._file.write(candidate.row)
        self._kept.append(_Kept(candidate.key, candidate.number, self._end, len(candidate.row)))
        self._end += len(candidate.row)
        self.size += len(candidate.row)
        while len(self._kept) > 1 and (
            len(self._kept) > self._max_rows or self.size > self._max_bytes
        ):
            self._thin()

    def _thin(self) -> None:
        self.bar //= 2
        first = self._kept[:1]
        self._kept = [k for k in self._kept if k.key < self.bar] or first
        self.size = sum(k.size for k in self._kept)

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """The rows in order: their lines and JSON."""
        for kept in self._kept:
            self._file.seek(kept.start)
            yield kept.number, self._file.read(kept.size)


def sample_key(number: int) -> int:
    """A 64-bit hash of a number (splitmix64's finaliser, Steele et al. 2014)."""
    z = number & (_SPAN - 1)
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (_SPAN - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (_SPAN - 1)
    return z ^ (z >> 31)
