"""A data set checked from its first to its last row and written as uniform rows below /work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qwen3_api.data_sources import DataSource
from qwen3_api.job.train import JobDataset, TrainJob
from qwen3_api.methods import MethodType
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data.files import Source, open_source
from qwen3_trainer.data.formats import convert, detect_format, formats_hint, require_format
from qwen3_trainer.data.rows import LineError, Message, Row, RowError, encode_row
from qwen3_trainer.data.thinking import apply_thinking
from qwen3_trainer.store import Buckets

Role = Literal["train", "validation"]


@dataclass(frozen=True)
class Rows:
    """Rows ready to be tokenised."""

    path: Path
    """JSON lines of `data.rows`, each at the number that it has in the source: where
    the source has blank lines, this has."""
    count: int
    sha256: str
    """Over the bytes of the source as stored."""
    first_prompt: list[Message]
    """The messages before the first answer."""


@dataclass(frozen=True)
class PreparedData:
    """Both parts of a data set."""

    train: Rows
    validation: Rows | None


def prepare(job: TrainJob, buckets: Buckets, folder: Path) -> PreparedData:
    """Reads and checks everything. Raises FailureError: DatasetNotFound, DatasetEmpty,
    DatasetInvalid, or the store's."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = job.dataset
    train = _prepare_part(dataset.train, job, "train", buckets, folder)
    if dataset.validation is None:
        return PreparedData(train, None)
    return PreparedData(
        train, _prepare_part(dataset.validation, job, "validation", buckets, folder)
    )


def _prepare_part(
    source: DataSource, job: TrainJob, role: str, buckets: Buckets, folder: Path
) -> Rows:
    path = folder / f"{role}.jsonl"
    with open_checked(source, role, buckets, folder / role, job.method) as opened:
        count, prompt = _write_rows(opened, job, path)
        if prompt is None:
            raise no_rows(role, opened.name, job.method)
        return Rows(path=path, count=count, sha256=opened.sha256(), first_prompt=prompt)


@contextmanager
def open_checked(
    source: DataSource,
    role: str,
    buckets: Buckets,
    scratch: Path,
    method: MethodType = MethodType.SFT,
) -> Iterator[Source]:
    """`open_source`, with a LineError of the block as the FailureError DatasetInvalid."""
    with open_source(source, buckets, scratch) as opened:
        try:
            yield opened
        except LineError as error:
            raise _invalid(error, role, opened.name, method) from error


@contextmanager
def refused_rows(
    dataset: JobDataset, role: Role, method: MethodType = MethodType.SFT
) -> Iterator[None]:
    """A LineError of the block, about a checked row that can't be rendered, as the FailureError
    DatasetInvalid."""
    try:
        yield
    except LineError as error:
        source = dataset.train if role == "train" else dataset.validation
        name = "" if source is None else source.name
        line = LineError(error.number, error.problem, row_unit(name))
        line.__cause__ = error.__cause__
        raise _invalid(line, role, name, method) from error


@contextmanager
def numbered(number: int) -> Iterator[None]:
    """A RowError of the block, about the row of this number, as LineError."""
    try:
        yield
    except RowError as error:
        raise LineError(number, str(error)) from error


def _invalid(error: LineError, role: str, name: str, method: MethodType) -> FailureError:
    cause = error.__cause__
    hint = cause.hint if isinstance(cause, RowError) else ""
    return FailureError(
        Reason.DATASET_INVALID,
        f"{_prefix(role)}{error} ({name})",
        hint or formats_hint(method),
    )


def no_rows(role: str, name: str, method: MethodType = MethodType.SFT) -> FailureError:
    """DatasetEmpty."""
    return FailureError(
        Reason.DATASET_EMPTY, f"{_prefix(role)}no rows in {name}", formats_hint(method)
    )


def _prefix(role: str) -> str:
    return "" if role == "train" else f"{role} data, "


def _write_rows(source: Source, job: TrainJob, path: Path) -> tuple[int, list[Message] | None]:
    count, line, prompt = 0, 0, None
    with path.open("wb") as target:
        for number, row in uniform_rows(source, job.dataset, job.method):
            count += 1
            prompt = row.prompt if prompt is None else prompt
            target.write(b"\n" * (number - line - 1) + encode_row(row) + b"\n")
            line = number
    return count, prompt


def row_unit(name: str) -> str:
    """Unit of the numbers of a source's rows."""
    return "row" if name.endswith(".parquet") else "line"


def uniform_rows(
    source: Source, dataset: JobDataset, method: MethodType = MethodType.SFT
) -> Iterator[tuple[int, Row]]:
    """Line (of Parquet: row) numbers and checked rows, their reasoning as `dataset.thinking` wants
    it. Raises LineError."""
    for number, _, row in checked_rows(source, dataset, method):
        yield number, row


def checked_rows(
    source: Source, dataset: JobDataset, method: MethodType = MethodType.SFT
) -> Iterator[tuple[int, Row, Row]]:
    """The same, with each row before its reasoning was looked at in between."""
    shape: DatasetFormat | None = None if dataset.format is DatasetFormat.AUTO else dataset.format
    unit = row_unit(source.name)
    for number, row in source.rows:
        try:
            shape = shape or detect_format(row, method)
            require_format(shape, method)
            found = convert(row, shape)
            yield number, found, apply_thinking(found, dataset.thinking)
        except RowError as error:
            raise LineError(number, str(error), unit) from error
