"""Questions: JSONL rows, from a bucket or a mounted file, all checked before anything is asked."""

import gzip
import hashlib
import json
import tempfile
import zlib
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Protocol, TypeVar

import regex
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from qwen3_api.data_sources import DataSource, FileData, S3Data
from qwen3_api.job import layout
from qwen3_api.job.base import Sha256
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.store import Store

LINE_LIMIT = 1 << 20
"""Bytes of a row; bounds memory against a gzip bomb."""
SPOOL_LIMIT = 16 << 20
"""Bytes of data kept in memory; more goes to the pod's scratch space."""
PATTERN_LIMIT = 4096
"""Characters of a row's regular expression; bounds what compiling it takes."""
_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_ROW_HINT = (
    'Each line is a JSON object with text in "question" and "answer"; "category" and "system" '
    'are optional, and so is "pattern" unless a metric needs it, as RegexMatch does.'
)

Text = Annotated[str, StringConstraints(pattern=r"\S")]
"""Not blank."""
_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)


class _Row(BaseModel):
    """A row as the user writes it. Other fields are allowed and ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    question: Text
    answer: Text
    category: str | None = None
    system: str | None = None
    pattern: str | None = None


class Lines(Protocol):
    """A binary stream that is read line by line."""

    def readline(self, size: int, /) -> bytes:
        """The next line, at most `size` bytes of it; empty at the end."""


@dataclass(frozen=True)
class Question:
    """A row with its place in the file."""

    line: int
    """1-based."""
    question: str
    answer: str
    category: str | None = None
    system: str | None = None
    pattern: str | None = None
    """Regular expression; checked to be one where a metric needs it."""
    row_text: str | None = None
    """What the row itself asks, where `question` is a benchmark's prompt around it."""


@dataclass(frozen=True)
class QuestionSet:
    """The questions of a suite and the digest of the bytes that they came from."""

    questions: list[Question]
    sha256: Sha256
    examples_sha256: Sha256 | None = None
    """Of a benchmark's worked examples; None without any."""


def collect_digests(sets: Mapping[str, QuestionSet]) -> dict[str, Sha256]:
    """Digests of everything that was read, by suite; see `EvalReport.data_sha256`."""
    digests = {name: found.sha256 for name, found in sets.items()}
    for name, found in sets.items():
        if found.examples_sha256 is not None:
            digests[f"{name}.examples"] = found.examples_sha256
    return digests


async def read_questions(
    source: DataSource, limit: int | None, store: Store, *, with_pattern: bool = False
) -> QuestionSet:
    """Read the whole source, check its first `limit` rows (all without one).

    with_pattern: whether each row must have a regular expression.

    Raises FailureError: DatasetNotFound, DatasetEmpty, DatasetInvalid (names line and field),
    and the store's reasons.
    """
    questions, sha256 = await read_rows(
        source, store, _row_parser(describe(source), with_pattern), limit
    )
    return QuestionSet(questions, sha256)


async def read_rows(
    source: DataSource, store: Store, parse: Callable[[bytes, int], _T], limit: int | None = None
) -> tuple[list[_T], Sha256]:
    """What `parse` makes of each of the first `limit` rows (all without one), by line and its
    1-based number, and the digest of all bytes. Raises what `read_questions` and `parse` raise."""
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_LIMIT, dir=_scratch_folder()) as spool:
        sha256 = await _copy(_chunks(source, store), spool)
        spool.seek(0)
        compressed = spool.read(2) == _GZIP_MAGIC
        spool.seek(0)
        lines = gzip.GzipFile(fileobj=spool, mode="rb") if compressed else spool
        return _parse_rows(lines, limit, describe(source), parse), sha256


def _scratch_folder() -> str | None:
    """The pod's emptyDir; outside a pod the system's default."""
    return layout.WORK_DIR if Path(layout.WORK_DIR).is_dir() else None


def describe(source: DataSource) -> str:
    """What the user calls the source."""
    return source.location.uri if isinstance(source, S3Data) else source.source


def parse_questions(
    lines: Lines, limit: int | None, name: str, *, with_pattern: bool = False
) -> list[Question]:
    """Check and keep the first `limit` rows of a JSONL stream; blank lines are skipped.

    Raises FailureError: DatasetInvalid (names line and field), DatasetEmpty.
    """
    return _parse_rows(lines, limit, name, _row_parser(name, with_pattern))


def _row_parser(name: str, with_pattern: bool) -> Callable[[bytes, int], Question]:
    """Parses a row of questions of the user's own; `name` is what he calls the file."""

    def parse(line: bytes, number: int) -> Question:
        row = parse_row(_Row, line, number, name, _ROW_HINT)
        question = Question(
            line=number,
            question=row.question,
            answer=row.answer,
            category=row.category,
            system=row.system,
            pattern=row.pattern,
        )
        if with_pattern:
            _check_pattern(question, name)
        return question

    return parse


def _parse_rows(
    lines: Lines, limit: int | None, name: str, parse: Callable[[bytes, int], _T]
) -> list[_T]:
    rows: list[_T] = []
    for number, line in enumerate(_bounded(lines, name), start=1):
        if limit is not None and len(rows) == limit:
            break
        if line.strip():
            rows.append(parse(line, number))
    if not rows:
        raise FailureError(
            Reason.DATASET_EMPTY, f"{name} has no rows", hint="Give it at least one question."
        )
    return rows


def _bounded(lines: Lines, name: str) -> Iterable[bytes]:
    number = 0
    try:
        while line := lines.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                raise invalid_row(name, number, None, f"is longer than {LINE_LIMIT} bytes")
            # A byte order mark is what Windows editors leave; it is no part of the first row.
            yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise invalid_row(name, number + 1, None, f"can't be unpacked: {error}") from error


def parse_row(model: type[_M], line: bytes, number: int, name: str, hint: str) -> _M:
    """The row as `model`, which is strict. Raises FailureError: DatasetInvalid."""
    try:
        return model.model_validate(json.loads(line.decode()))
    except UnicodeDecodeError as error:
        complaint = f"is not UTF-8 at byte {error.start}"
        raise invalid_row(name, number, None, complaint, hint) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise invalid_row(name, number, None, f"is not JSON: {error}", hint) from error
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        raise invalid_row(name, number, field, _complaint(first), hint) from error


def _check_pattern(question: Question, name: str) -> None:
    if question.pattern is None:
        raise invalid_row(name, question.line, "pattern", "is missing; RegexMatch needs it")
    if len(question.pattern) > PATTERN_LIMIT:
        complaint = f"is longer than {PATTERN_LIMIT} characters"
        raise invalid_row(name, question.line, "pattern", complaint)
    try:
        regex.compile(question.pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        complaint = f"is no regular expression: {error}"
        raise invalid_row(name, question.line, "pattern", complaint) from error


def _complaint(error: dict[str, Any]) -> str:
    match error["type"]:
        case "missing":
            return "is missing"
        case "string_pattern_mismatch":
            return "is empty"
        case "model_type":
            return "is not a JSON object"
        case _:
            return f"is wrong: {error['msg']}"


def invalid_row(
    name: str, line: int, field: str | None, complaint: str, hint: str = _ROW_HINT
) -> FailureError:
    """What is wrong with a line of a file, or with a field of it."""
    where = f"line {line} of {name}" + (f": field {field}" if field else "")
    return FailureError(Reason.DATASET_INVALID, f"{where} {complaint}", hint=hint)


async def _copy(chunks: AsyncIterable[bytes], target: IO[bytes]) -> Sha256:
    digest = hashlib.sha256()
    async for chunk in chunks:
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _chunks(source: DataSource, store: Store) -> AsyncIterable[bytes]:
    if isinstance(source, FileData):
        return _file_chunks(source)
    key = source.location.prefix
    if not key.endswith((".jsonl", ".jsonl.gz")):
        raise FailureError(
            Reason.DATASET_INVALID,
            f"{source.location.uri} is neither .jsonl nor .jsonl.gz",
            hint="Questions are JSON lines; name the object accordingly.",
        )
    return store.read_data(source.location)


async def _file_chunks(source: FileData) -> AsyncIterable[bytes]:
    try:
        with Path(source.path).open("rb") as file:  # noqa: ASYNC230  # a small local file
            while chunk := file.read(_CHUNK):
                yield chunk
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise FailureError(
            Reason.DATASET_NOT_FOUND,
            f"{source.source} doesn't exist",
            hint="Check the name of the ConfigMap and its key.",
        ) from error
