"""A block of a data file to its facts: what a process of its own computes. Pure.

Everything that crosses to a process and back is plain and small: bytes of hashes, not rows.
"""

import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from qwen3_api.job.holdout import find_entries
from qwen3_api.job.train import JobDataset
from qwen3_api.methods import MethodType
from qwen3_trainer.data.dataset import checked_rows
from qwen3_trainer.data.files import Source, json_rows
from qwen3_trainer.data.rows import (
    LineError,
    Preference,
    RawRow,
    Row,
    RowError,
    encode_row,
    ends_unanswered,
    has_late_system,
)
from qwen3_trainer.data.thinking import any_answer_reasons, last_answer_reasons
from qwen3_trainer.preflight.fingerprints import canonical, hash_of
from qwen3_trainer.preflight.heaviest import Heaviest, Heavy, weigh
from qwen3_trainer.preflight.sample import Candidate, sample_key

_ENCODE = msgspec.json.encode


@dataclass(frozen=True)
class Block:
    """Whole JSON lines."""

    first: int
    """Number of the first line."""
    lines: bytes


@dataclass(frozen=True)
class NumberedRow:
    """A checked row and its line."""

    number: int
    row: Row


@dataclass(frozen=True)
class BadRow:
    """The parts of a LineError and the hint that goes with it."""

    number: int
    problem: str
    unit: str
    hint: str

    def to_error(self) -> LineError:
        """The error, with its hint where `data.dataset` looks for it."""
        error = LineError(self.number, self.problem, self.unit)
        error.__cause__ = RowError("", self.problem, self.hint)
        return error


@dataclass(frozen=True)
class Wanted:
    """What of a block is wanted beside its checks."""

    bar: int = 0
    """Rows with a lower key are candidates for the sample."""
    floor: int | None = None
    """Heavier rows are candidates for the heaviest; None: none are."""
    digest: bool = False
    """The rows' entries of the training digest."""


@dataclass
class BlockFacts:
    """What a block holds, up to its first bad row."""

    rows: int = 0
    reasoning_rows: int = 0
    """Before the thinking policy, like those that it took reasoning from."""
    stripped_rows: int = 0
    late_system_rows: int = 0
    unanswered_rows: int = 0
    hashes: "array[int]" = field(default_factory=lambda: array("Q"))
    numbers: "array[int]" = field(default_factory=lambda: array("Q"))
    entries: "array[int]" = field(default_factory=lambda: array("Q"))
    """For the training digest, if they were asked for."""
    candidates: list[Candidate] = field(default_factory=list)
    heaviest: Heaviest = field(default_factory=Heaviest)
    first: NumberedRow | None = None
    bad: BadRow | None = None


def check_block(
    block: Block, name: str, dataset: JobDataset, method: MethodType, wanted: Wanted
) -> BlockFacts:
    """Checks and hashes the rows of a block."""
    rows = json_rows(io.BytesIO(block.lines), block.first)
    return check_rows(rows, name, dataset, method, wanted)


def check_rows(
    rows: Iterator[tuple[int, RawRow]],
    name: str,
    dataset: JobDataset,
    method: MethodType,
    wanted: Wanted,
) -> BlockFacts:
    """The same for rows that were read already."""
    facts = BlockFacts(heaviest=Heaviest(wanted.floor or 0))
    source = Source(name, rows, None, None)
    try:
        for number, found, row in checked_rows(source, dataset, method):
            if facts.first is None:
                facts.first = NumberedRow(number, row)
            facts.rows += 1
            facts.reasoning_rows += last_answer_reasons(found)
            facts.stripped_rows += dataset.thinking == "Disabled" and any_answer_reasons(found)
            facts.late_system_rows += has_late_system(row)
            facts.unanswered_rows += ends_unanswered(row)
            encoded = canonical(row)
            facts.hashes.append(hash_of(encoded))
            facts.numbers.append(number)
            if wanted.digest:
                for text in said_texts(row):
                    facts.entries.extend(find_entries(text))
            key = sample_key(number)
            if key < wanted.bar:
                facts.candidates.append(Candidate(key, number, encode_row(row)))
            if wanted.floor is not None:
                _offer(facts.heaviest, number, row, weight_of(row, encoded))
    except LineError as error:
        cause = error.__cause__
        hint = cause.hint if isinstance(cause, RowError) else ""
        problem = error.problem
        if isinstance(cause, RowError):  # behind it more can be read
            bad, seen = _count_bad(source, dataset, method)
            if bad:
                problem += f"; {bad} of the {seen} rows read after it are bad too"
        facts.bad = BadRow(error.number, problem, error.unit, hint)
    return facts


def _count_bad(source: Source, dataset: JobDataset, method: MethodType) -> tuple[int, int]:
    """Bad rows among those that are left, and how many these are, up to one that is no JSON. Where
    the format is to be found each row may have its own, so it may be some more."""
    bad = seen = 0
    while True:
        try:
            for _ in checked_rows(source, dataset, method):
                seen += 1
        except LineError as error:
            if not isinstance(error.__cause__, RowError):
                return bad, seen
            bad, seen = bad + 1, seen + 1
        else:
            return bad, seen


def _offer(heaviest: Heaviest, number: int, row: Row, weight: int) -> None:
    if weight > heaviest.floor:
        heaviest.offer(Heavy(weight, -number, encode_row(row)))
    else:
        heaviest.pass_over(weight)


def weight_of(row: Row, encoded: bytes) -> int:
    """A guess at the tokens of a row with its JSON; of a preference row, as it is counted: with the
    longer answer."""
    if not isinstance(row, Preference):
        return weigh(encoded)
    rest = {"prompt": row.prompt} | ({"tools": row.tools} if row.tools else {})
    return weigh(_ENCODE(rest)) + max(weigh(_ENCODE(a)) for a in (row.chosen, row.rejected))


def said_texts(row: Row) -> Iterator[str]:
    """What users and the model say in a row, of a preference row both answers. What the system says
    is the same in many rows and no question."""
    for message in row.spoken():
        if message["role"] in ("user", "assistant") and isinstance(message["content"], str):
            yield message["content"]
