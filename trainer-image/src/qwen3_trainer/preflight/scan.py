"""One pass over a data file: every row is checked, hashed, and perhaps kept for tokenising."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from qwen3_api.data_sources import DataSource
from qwen3_api.job.preflight import PreflightJob
from qwen3_api.job.train import JobDataset
from qwen3_trainer.data.dataset import no_rows, open_checked
from qwen3_trainer.data.files import Source, json_blocks, json_rows
from qwen3_trainer.data.formats import detect_format
from qwen3_trainer.preflight.blocks import (
    Block,
    BlockFacts,
    NumberedRow,
    Wanted,
    check_block,
    check_rows,
)
from qwen3_trainer.preflight.cores import Cores
from qwen3_trainer.preflight.digest import DigestBuilder
from qwen3_trainer.preflight.fingerprints import Fingerprints
from qwen3_trainer.preflight.heaviest import Heaviest
from qwen3_trainer.preflight.sample import RowSample
from qwen3_trainer.store import Buckets

BLOCK = 4 << 20
"""Bytes that one process gets at once."""
ALONE = 4
"""Blocks that are read before another process is asked for help."""
_PARQUET_ROWS = 4096


@dataclass
class Scan:
    """What one pass found so far; complete when `sha256` is set."""

    rows: int = 0
    reasoning_rows: int = 0
    """Rows whose last answer holds reasoning, before the thinking policy."""
    stripped_rows: int = 0
    """Rows that the thinking policy took reasoning from."""
    late_system_rows: int = 0
    """Rows with a system message behind another one."""
    unanswered_rows: int = 0
    """Rows that end in something else than an answer."""
    first: NumberedRow | None = None
    sha256: str | None = None
    """Over the bytes of the source as stored."""
    fingerprints: Fingerprints = field(default_factory=Fingerprints)
    heaviest: Heaviest = field(default_factory=Heaviest)
    """Of the rows that a sample was taken of."""
    digest: DigestBuilder | None = None
    """Of training rows; None: none is wanted."""


@dataclass(frozen=True)
class Scanner:
    """What every pass needs."""

    job: PreflightJob
    buckets: Buckets
    cores: Cores
    scratch: Path

    def scan(
        self, found: Scan, source: DataSource, role: str, sample: RowSample | None = None
    ) -> None:
        """Reads a source to its end into `found`, which has what came before an error too.

        Raises FailureError: DatasetNotFound, DatasetEmpty, DatasetInvalid, or the store's.
        """
        job = self.job
        with open_checked(source, role, self.buckets, self.scratch / role, job.method) as opened:
            for facts in self._facts(opened, sample, found):
                _add(found, facts, sample)
                if facts.bad is not None:
                    raise facts.bad.to_error()
            if found.first is None:
                raise no_rows(role, opened.name, job.method)
            found.sha256 = opened.sha256()

    def _facts(self, opened: Source, sample: RowSample | None, found: Scan) -> Iterator[BlockFacts]:
        job, digest = self.job, found.digest

        def wanted() -> Wanted:
            room = digest is not None and digest.has_room
            if sample is None:
                return Wanted(digest=room)
            return Wanted(sample.bar, found.heaviest.floor, room)

        if opened.lines is None:
            while rows := list(islice(opened.rows, _PARQUET_ROWS)):
                yield check_rows(iter(rows), opened.name, job.dataset, job.method, wanted())
            return
        blocks = (Block(*each) for each in json_blocks(opened.lines, BLOCK))
        dataset = job.dataset
        for alone, block in enumerate(blocks, 1):
            yield check_block(block, opened.name, dataset, job.method, wanted())
            dataset = self._with_format(dataset, block)
            if alone >= ALONE and dataset.format != "Auto":
                break
        yield from self.cores.map(
            check_block, ((b, opened.name, dataset, job.method, wanted()) for b in blocks)
        )

    def _with_format(self, dataset: JobDataset, block: Block) -> JobDataset:
        """The format of the first row is that of all: no block may find one of its own."""
        if dataset.format != "Auto":
            return dataset
        for _, row in json_rows(io.BytesIO(block.lines), block.first):
            return dataset.model_copy(update={"format": detect_format(row, self.job.method)})
        return dataset


def _add(found: Scan, facts: BlockFacts, sample: RowSample | None) -> None:
    found.rows += facts.rows
    found.reasoning_rows += facts.reasoning_rows
    found.stripped_rows += facts.stripped_rows
    found.late_system_rows += facts.late_system_rows
    found.unanswered_rows += facts.unanswered_rows
    found.first = found.first or facts.first
    found.fingerprints.extend(facts.hashes, facts.numbers)
    found.heaviest.merge(facts.heaviest)
    if found.digest is not None:
        found.digest.add(facts.rows, facts.entries)
    if sample is not None:
        for candidate in facts.candidates:
            sample.offer(candidate)
