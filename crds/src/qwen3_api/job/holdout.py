"""Detection of questions in the training data, without either side seeing the other's rows. Pure.

The preflight, which reads the training data, writes a `TrainingDigest` into the revision's folder;
the evaluator, which reads the questions, looks them up in it. Both take the same *entries* of a
text:

- its tokens: NFKC, case folded, letters and digits only; a word each, in Chinese and Japanese,
  which have no spaces, a character each;
- the whole text, as one entry: the same question is found however short it is;
- every run of 13 tokens: a question inside a longer text is found too. 13 is what GPT-3 used
  (Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C).

A question counts as leaked if its whole text is among the entries, or at least 70 % of its runs
are: PaLM's share (Chowdhery et al. 2022, "PaLM", section 8, there of 8-grams). GPT-3 took any one
13-gram, which here would blame each question for a task description that all rows share.

Runs are hashed by a rolling polynomial over 64-bit hashes of the words (Karp & Rabin 1987, modulo
2^64 with an odd base). Entries are kept in a Bloom filter with two hashes as a base (Kirsch &
Mitzenmacher 2006, "Less Hashing, Same Performance"): with k = 12 and m/n >= 32 bits an entry, the
share of texts that are found though they are not there is (1 - e^(-kn/m))^k < 1e-6, and as much
again from entries whose steps agree (2kn of m starts times m/2 steps; so m is never small).
"""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pydantic import Field

from qwen3_api.job.base import CONTRACT, Document, Sha256

NGRAM = 13
"""Tokens of a run."""
SHARE = 0.7
"""Share of a question's runs from which it counts as leaked."""
HASHES = 12
"""k: bits that an entry sets."""
BITS_PER_ENTRY = 32
FEWEST_BITS, MOST_BITS = 1 << 20, 1 << 27
MOST_ENTRIES = MOST_BITS // BITS_PER_ENTRY
"""About 25 MB of text; later text isn't covered."""
_MASK = (1 << 64) - 1
_BASE = 0x9E3779B97F4A7C15
_LEAD = pow(_BASE, NGRAM - 1, 1 << 64)
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


class TrainingDigestHeader(Document):
    """First line of a digest; the filter's bits follow, the lowest bit of a byte first."""

    contract: Literal[1] = CONTRACT
    bits: int = Field(ge=FEWEST_BITS, le=MOST_BITS)
    """m, a power of two."""
    rows: int = Field(ge=0)
    covered_rows: int = Field(ge=0)
    """Number of rows in the filter, from the start."""
    dataset_sha256: Sha256


def tokenize(text: str) -> list[str]:
    """The tokens of a text."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def find_entries(text: str) -> "array[int]":
    """The entries of a text as 64-bit numbers, the whole text first; none if it has no token."""
    words = tokenize(text)
    found = array("Q")
    if not words:
        return found
    found.append(_hash("= " + " ".join(words)))
    hashes = [_word_hash(word) for word in words]
    run = 0
    for value in hashes[:NGRAM]:
        run = (run * _BASE + value) & _MASK
    if len(hashes) >= NGRAM:
        found.append(run)
    for gone, value in zip(hashes, hashes[NGRAM:], strict=False):
        run = ((run - gone * _LEAD) * _BASE + value) & _MASK
        found.append(run)
    return found


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


_word_hash = lru_cache(maxsize=1 << 15)(_hash)


def choose_bits(entries: int) -> int:
    """m of a filter for so many entries: a power of two."""
    wanted = max(FEWEST_BITS, entries * BITS_PER_ENTRY)
    return min(MOST_BITS, 1 << (wanted - 1).bit_length())


def find_bits(entry: int, bits: int) -> Iterable[int]:
    """The bits of an entry: start and odd step out of its 64 bits, modulo a power of two."""
    step = (entry >> 32) | 1
    return ((entry + i * step) & (bits - 1) for i in range(HASHES))


@dataclass(frozen=True)
class TrainingDigest:
    """Digest of a revision's training data, for lookups of single texts."""

    header: TrainingDigestHeader
    filter: bytes

    @classmethod
    def parse(cls, content: bytes) -> "TrainingDigest":
        """The digest in this content. Raises ValueError if it is invalid."""
        line, _, bits = content.partition(b"\n")
        header = TrainingDigestHeader.model_validate_json(line)
        if header.bits & (header.bits - 1) or len(bits) * 8 != header.bits:
            raise ValueError(f"a filter of {len(bits)} bytes, its header says {header.bits} bits")
        return cls(header, bits)

    def to_bytes(self) -> bytes:
        """The content of the object in the bucket."""
        return self.header.model_dump_json().encode() + b"\n" + self.filter

    def holds(self, entry: int) -> bool:
        """Whether the entry is among those of the training data."""
        return all(
            self.filter[bit >> 3] >> (bit & 7) & 1 for bit in find_bits(entry, self.header.bits)
        )

    def find_leak(self, text: str) -> Literal["Text", "NGrams"] | None:
        """Kind of match of a question with the training data; None without a match."""
        entries = find_entries(text)
        if entries and self.holds(entries[0]):
            return "Text"
        grams = entries[1:]
        found = sum(self.holds(entry) for entry in grams)
        return "NGrams" if grams and found >= SHARE * len(grams) else None
