"""A data set checked from its first to its last row and written as uniform rows below /work."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qwen3_api.job.train import DataSource, JobDataset, TrainJob
from qwen3_api.methods import METHODS, MethodType, RowKind
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.data.formats import (
    Format,
    Row,
    RowError,
    convert,
    detect_format,
    opening,
    require_format,
)
from qwen3_trainer.data.read import LineError, Source, open_source, source_name
from qwen3_trainer.data.thinking import apply_thinking
from qwen3_trainer.failures import TrainerError
from qwen3_trainer.store import Buckets

Role = Literal["train", "validation"]

_FORMATS_HINT = (
    "A row is one of: messages; conversations (ShareGPT); instruction, input, output (Alpaca); "
    "prompt and completion."
)
_PREFERENCE_HINT = (
    "dataset.format Preference: a row has prompt, chosen and rejected, each a string or a list of "
    "messages; prompt may be left out where chosen and rejected are messages with the same "
    "beginning."
)


@dataclass(frozen=True)
class Rows:
    """Rows ready to be tokenised."""

    path: Path
    """JSON lines as `formats` describes them, each at the number that it has in the source: where
    the source has blank lines, this has."""
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
    """`open_source`, with a LineError of the block as the TrainerError DatasetInvalid."""
    with open_source(source, buckets, scratch) as opened:
        try:
            yield opened
        except LineError as error:
            raise _invalid(error, role, opened.name, method) from error


@contextmanager
def refused_rows(
    dataset: JobDataset, role: Role, method: MethodType = MethodType.SFT
) -> Iterator[None]:
    """A LineError of the block, about a checked row that can't be rendered, as the TrainerError
    DatasetInvalid."""
    try:
        yield
    except LineError as error:
        source = dataset.train if role == "train" else dataset.validation
        name = "" if source is None else source_name(source)
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


def _invalid(error: LineError, role: str, name: str, method: MethodType) -> TrainerError:
    cause = error.__cause__
    hint = cause.hint if isinstance(cause, RowError) else ""
    return TrainerError(
        Reason.DATASET_INVALID,
        f"{_prefix(role)}{error} ({name})",
        hint or _formats_hint(method),
    )


def no_rows(role: str, name: str, method: MethodType = MethodType.SFT) -> TrainerError:
    """DatasetEmpty."""
    return TrainerError(
        Reason.DATASET_EMPTY, f"{_prefix(role)}no rows in {name}", _formats_hint(method)
    )


def _formats_hint(method: MethodType) -> str:
    if METHODS[method].rows is RowKind.PREFERENCE:
        return f"Method {method} takes {_PREFERENCE_HINT}"
    return _FORMATS_HINT


def _prefix(role: str) -> str:
    return "" if role == "train" else f"{role} data, "


def _write_rows(source: Source, job: TrainJob, path: Path) -> tuple[int, list[Row] | None]:
    count, line, prompt = 0, 0, None
    with path.open("w", encoding="utf-8") as target:
        for number, row in uniform_rows(source, job.dataset, job.method):
            count += 1
            prompt = opening(row) if prompt is None else prompt
            target.write("\n" * (number - line - 1) + json.dumps(row, ensure_ascii=False) + "\n")
            line = number
    return count, prompt


def row_unit(name: str) -> str:
    """What the numbers of a source's rows count."""
    return "row" if name.endswith(".parquet") else "line"


def uniform_rows(
    source: Source, dataset: JobDataset, method: MethodType = MethodType.SFT
) -> Iterator[tuple[int, Row]]:
    """Line (of Parquet: row) numbers and checked rows as `formats` describes them, their reasoning
    as `dataset.thinking` wants it. Raises LineError."""
    for number, _, row in checked_rows(source, dataset, method):
        yield number, row


def checked_rows(
    source: Source, dataset: JobDataset, method: MethodType = MethodType.SFT
) -> Iterator[tuple[int, Row, Row]]:
    """The same, with each row before its reasoning was looked at in between."""
    shape: Format | None = None if dataset.format == "Auto" else dataset.format
    unit = row_unit(source.name)
    for number, row in source.rows:
        try:
            shape = shape or detect_format(row, method)
            require_format(shape, method)
            found = convert(row, shape)
            yield number, found, apply_thinking(found, dataset.thinking)
        except RowError as error:
            raise LineError(number, str(error), unit) from error
