"""One pass over a data file: every row is checked, hashed, and perhaps kept for tokenising."""

from dataclasses import dataclass, field
from pathlib import Path

from qwen3_api.job.preflight import PreflightJob
from qwen3_api.job.train import DataSource
from qwen3_trainer.data.dataset import no_rows, open_checked, uniform_rows
from qwen3_trainer.data.formats import Row
from qwen3_trainer.data.thinking import last_answer_reasons
from qwen3_trainer.preflight.fingerprints import Fingerprints
from qwen3_trainer.preflight.sample import RowSample
from qwen3_trainer.store import Buckets


@dataclass
class Scan:
    """What one pass found so far; complete when `sha256` is set."""

    rows: int = 0
    reasoning_rows: int = 0
    """Rows whose last answer holds reasoning, after the thinking policy."""
    first: Row | None = None
    sha256: str | None = None
    """Over the bytes of the source as stored."""
    fingerprints: Fingerprints = field(default_factory=Fingerprints)


def scan(
    found: Scan,
    source: DataSource,
    role: str,
    job: PreflightJob,
    buckets: Buckets,
    scratch: Path,
    sample: RowSample | None = None,
) -> None:
    """Reads a source to its end into `found`, which has what came before an error too.

    Raises TrainerError: DatasetNotFound, DatasetEmpty, DatasetInvalid, or the store's.
    """
    with open_checked(source, role, buckets, scratch, job.method) as opened:
        for number, row in uniform_rows(opened, job.dataset, job.method):
            if found.first is None:
                found.first = row
            found.rows += 1
            found.reasoning_rows += last_answer_reasons(last_answers(row))
            found.fingerprints.add(number, row)
            if sample is not None:
                sample.offer(row)
        if found.first is None:
            raise no_rows(role, opened.name, job.method)
        found.sha256 = opened.sha256()


def last_answers(row: Row) -> list[Row]:
    """The messages that end in the answer to learn: of a preference row the chosen one's."""
    for key in ("messages", "completion", "chosen"):
        if key in row:
            messages: list[Row] = row[key]
            return messages
    raise ValueError("not a uniform row")
