"""The rows that probably have the most tokens. Of a large data set the sample misses most of them,
and one is enough to fill a GPU.

A row's weight is a guess at its tokens from its bytes alone, so that every row can be weighed: a
Qwen3 tokenizer makes about a token of each digit, of four small letters, of one to three letters of
other scripts. The heaviest are kept and counted; how far the guess is off there bounds the rest.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

MAX_ROWS = 64
MAX_BYTES = 8 << 20
"""Of JSON. Counting them takes a core 3 s."""
_UNIT = 16


def _costs() -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    """Parts of a token for each byte, in 1/_UNIT."""
    costs = np.full(256, 8, dtype=np.uint8)
    costs[ord("0") : ord("9") + 1] = 16
    costs[ord("a") : ord("z") + 1] = 4
    costs[ord(" ")] = 2
    # Other scripts by the first byte of a character; those that follow it are free.
    costs[0x80:0xC0] = 0
    costs[0xC0:0xE0] = 14  # of two bytes: Greek, Hebrew, letters with marks
    costs[0xD0:0xD2] = 6  # Cyrillic
    costs[0xD8:0xDC] = 6  # Arabic
    costs[0xE0] = 12  # Thai, and the scripts of India
    costs[0xE1:0xF0] = 12  # Chinese, Japanese, Korean, Vietnamese, punctuation
    costs[0xF0:] = 32  # emoji
    return costs


_COSTS = _costs()


def weigh(text: bytes) -> int:
    """A guess at the tokens of a text."""
    costs = _COSTS[np.frombuffer(text, dtype=np.uint8)]
    return 1 + int(costs.sum(dtype=np.int64)) // _UNIT


@dataclass(frozen=True, order=True)
class Heavy:
    """A row that may be kept."""

    weight: int
    rank: int
    """Minus its line: of equal weights the first rows stay."""
    row: bytes = field(compare=False)
    """JSON."""


@dataclass
class Heaviest:
    """The heaviest of the rows that are offered, as many as fit the limits, but at least one."""

    floor: int = 0
    """A row that is no heavier isn't taken."""
    left_out: int = 0
    """Weight of the heaviest row that isn't kept."""
    max_rows: int = MAX_ROWS
    max_bytes: int = MAX_BYTES
    _kept: list[Heavy] = field(default_factory=list)
    _size: int = 0

    def pass_over(self, weight: int) -> None:
        """Notes a row that is no heavier than `floor`."""
        self.left_out = max(self.left_out, weight)

    def offer(self, heavy: Heavy) -> None:
        """Takes the row if it is heavier than `floor`; a lighter one may have to go."""
        if heavy.weight <= self.floor:
            self.pass_over(heavy.weight)
            return
        heapq.heappush(self._kept, heavy)
        self._size += len(heavy.row)
        while len(self._kept) > 1 and (
            len(self._kept) > self.max_rows or self._size > self.max_bytes
        ):
            gone = heapq.heappop(self._kept)
            self._size -= len(gone.row)
            self.pass_over(gone.weight)
            self.floor = max(self.floor, gone.weight)

    def merge(self, others: "Heaviest") -> None:
        """Takes what another part of the data has."""
        self.pass_over(others.left_out)
        for heavy in others._kept:
            self.offer(heavy)

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """Lines and JSON of the rows, the heaviest first."""
        for heavy in sorted(self._kept, reverse=True):
            yield -heavy.rank, heavy.row
