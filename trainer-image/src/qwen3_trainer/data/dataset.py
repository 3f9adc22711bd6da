"""A data set checked from its first to its last row and written as uniform rows below /work."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qwen3_api.job.train import DataSource, JobDataset, TrainJob
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.data.formats import Format, Row, RowError, convert, detect_format, opening
from qwen3_trainer.data.read import LineError, Source, open_source
from qwen3_trainer.failures import TrainerError
from qwen3_trainer.store import Buckets

_FORMATS_HINT = (
    "A row is one of: messages; conversations (ShareGPT); instruction, input, output (Alpaca); "
    "prompt and completion."
)


@dataclass(frozen=True)
class Rows:
    """Rows ready to be tokenised."""

    path: Path
    """JSON lines as `formats` describes them."""
    count: int
    sha256: str
    """Over the bytes of the source as stored."""
    first_prompt: list[Row]
    """The messages before the first answer."""


@dataclass(frozen=True)
class PreparedData:
    """Both parts of a data set."""

    train: Rows
    validation: Rows | None


def prepare(job: TrainJob, buckets: Buckets, folder: Path) -> PreparedData:
    """Reads and checks everything. Raises TrainerError: DatasetNotFound, DatasetEmpty,
    DatasetInvalid, or the store's."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = job.dataset
    train = _prepare_part(dataset.train, dataset, "train", buckets, folder)
    if dataset.validation is None:
        return PreparedData(train, None)
    return PreparedData(
        train, _prepare_part(dataset.validation, dataset, "validation", buckets, folder)
    )


def _prepare_part(
    source: DataSource, dataset: JobDataset, role: str, buckets: Buckets, folder: Path
) -> Rows:
    path = folder / f"{role}.jsonl"
    with open_checked(source, role, buckets, folder / role) as opened:
        count, prompt = _write_rows(opened, dataset, path)
        if prompt is None:
            raise no_rows(role, opened.name)
        return Rows(path=path, count=count, sha256=opened.sha256(), first_prompt=prompt)


@contextmanager
def open_checked(
    source: DataSource, role: str, buckets: Buckets, scratch: Path
) -> Iterator[Source]:
    """`open_source`, with a LineError of the block as the TrainerError DatasetInvalid."""
    with open_source(source, buckets, scratch) as opened:
        try:
            yield opened
        except LineError as error:
            raise TrainerError(
                Reason.DATASET_INVALID, f"{_prefix(role)}{error} ({opened.name})", _FORMATS_HINT
            ) from error


def no_rows(role: str, name: str) -> TrainerError:
    """DatasetEmpty."""
    return TrainerError(Reason.DATASET_EMPTY, f"{_prefix(role)}no rows in {name}", _FORMATS_HINT)


def _prefix(role: str) -> str:
    return "" if role == "train" else f"{role} data, "


def _write_rows(source: Source, dataset: JobDataset, path: Path) -> tuple[int, list[Row] | None]:
    count, prompt = 0, None
    with path.open("w", encoding="utf-8") as target:
        for _, row in uniform_rows(source, dataset):
            count += 1
            prompt = opening(row) if prompt is None else prompt
            target.write(json.dumps(row, ensure_ascii=False) + "\n")
    return count, prompt


def uniform_rows(source: Source, dataset: JobDataset) -> Iterator[tuple[int, Row]]:
    """Line (of Parquet: row) numbers and checked rows as `formats` describes them. Raises
    LineError."""
    shape: Format | None = None if dataset.format == "Auto" else dataset.format
    unit = "row" if source.name.endswith(".parquet") else "line"
    for number, row in source.rows:
        try:
            shape = shape or detect_format(row)
            yield number, convert(row, shape)
        except RowError as error:
            raise LineError(number, str(error), unit) from error
