"""Rows as 8-byte hashes: equal rows are found in 8 bytes of memory each.

Two different rows get the same hash with probability 2^-64; among 10 million rows any two do with
3e-6 (n²/2^65).
"""

import hashlib
from array import array
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from qwen3_trainer.data.rows import Preference, Row

_ENCODE = msgspec.json.Encoder(order="deterministic").encode


class Fingerprints:
    """The hashes of a file's rows, in order, and where they stand."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._numbers = array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def extend(self, hashes: "array[int]", numbers: "array[int]") -> None:
        """Notes the hashes of rows and their line numbers."""
        self._hashes.extend(hashes)
        self._numbers.extend(numbers)

    def sealed(self) -> "SealedFingerprints":
        """The same to be searched; this object is empty afterwards, which saves a copy."""
        hashes, self._hashes, self._numbers = self._hashes, array("Q"), array("Q")
        return SealedFingerprints(np.frombuffer(hashes, dtype=np.uint64))

    def contained_in(self, others: "SealedFingerprints") -> list[int]:
        """Line numbers of the rows that are among the others too."""
        found = others.contain(np.frombuffer(self._hashes, dtype=np.uint64))
        return [int(n) for n in np.frombuffer(self._numbers, dtype=np.uint64)[found]]


class SealedFingerprints:
    """A sorted set of hashes."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        hashes.sort()
        self._sorted = hashes

    def duplicates(self) -> int:
        """Rows that repeat another one."""
        return int(np.count_nonzero(self._sorted[1:] == self._sorted[:-1]))

    def contain(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the hashes are in the set."""
        if not len(self._sorted):
            return np.zeros(len(hashes), dtype=np.bool_)
        at = np.searchsorted(self._sorted, hashes).clip(max=len(self._sorted) - 1)
        found: NDArray[np.bool_] = self._sorted[at] == hashes
        return found


def fingerprint(row: Row) -> int:
    """Hash of a row."""
    return hash_of(canonical(row))


def canonical(row: Row) -> bytes:
    """JSON of a row, the same for equal rows. A prompt and its completion count as the messages
    that they are."""
    texts: dict[str, Any] = {"tools": row.tools} if row.tools else {}
    if isinstance(row, Preference):
        texts |= {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
    else:
        texts["messages"] = row.messages
    return _ENCODE(texts)


def hash_of(encoded: bytes) -> int:
    """8 bytes of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")
