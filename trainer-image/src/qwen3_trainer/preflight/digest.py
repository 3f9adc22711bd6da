"""The training digest: what an evaluator looks its questions up in (`qwen3_api.job.holdout`)."""

from array import array

import numpy as np

from qwen3_api.job.holdout import (
    HASHES,
    MOST_ENTRIES,
    TrainingDigest,
    TrainingDigestHeader,
    choose_bits,
)


class DigestBuilder:
    """Takes the entries of rows in their order, until there is no room for more.

    Memory: 8 bytes an entry, 32 MiB at most; for a moment m bytes more when it is built (128 MiB).
    """

    def __init__(self, limit: int = MOST_ENTRIES) -> None:
        self._entries = array("Q")
        self._limit = limit
        self._covered = 0
        self._full = False

    @property
    def has_room(self) -> bool:
        """More entries are wanted."""
        return not self._full

    def add(self, rows: int, entries: "array[int]") -> None:
        """The next rows. Those that don't fit as a whole are left out, and so are all that follow:
        the digest is of the first rows. (Blocks that were under way come with entries even then.)
        """
        self._full = self._full or len(self._entries) + len(entries) > self._limit
        if not self._full:
            self._entries.extend(entries)
            self._covered += rows

    def build(self, rows: int, dataset_sha256: str) -> TrainingDigest:
        """The digest of a data set of so many rows."""
        bits = choose_bits(len(self._entries))
        starts = np.frombuffer(self._entries, dtype=np.uint64)
        steps = (starts >> np.uint64(32)) | np.uint64(1)
        found = np.zeros(bits, dtype=np.bool_)
        for number in range(HASHES):
            found[(starts + np.uint64(number) * steps) & np.uint64(bits - 1)] = True
        header = TrainingDigestHeader(
            bits=bits, rows=rows, covered_rows=self._covered, dataset_sha256=dataset_sha256
        )
        return TrainingDigest(header, np.packbits(found, bitorder="little").tobytes())
