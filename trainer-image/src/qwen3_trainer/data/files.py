"""Rows out of a source, one at a time, with their line numbers. Memory is bounded by one line.

JSONL is read as a stream, so that a broken line 3 of a huge file is reported within seconds;
Parquet needs random access, so it is downloaded first.
"""

import gzip
import io
import itertools
import json
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from qwen3_api.data_sources import DataSource
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.data.rows import LineError, RawRow
from qwen3_trainer.data.sources import open_file
from qwen3_trainer.data.sources.base import DigestingReader
from qwen3_trainer.store import CHUNK, Buckets, ObjectReader

MAX_LINE = 32 << 20
"""Longest line in bytes."""
_PARQUET_BATCH = 256
_DECODER = msgspec.json.Decoder()
_BOM = b"\xef\xbb\xbf"
_BROKEN_GZIP = (gzip.BadGzipFile, EOFError, zlib.error)
_JSON_ENDINGS = (".jsonl", ".json", ".ndjson")


@dataclass(frozen=True)
class Source:
    """An open source. Iterate `rows` to the end, then `sha256()` is that of the whole file."""

    name: str
    """The name that the user knows."""
    rows: Iterator[tuple[int, RawRow]]
    """1-based line (of Parquet: row) number and the row."""
    lines: BinaryIO | None
    """The JSON lines that `rows` reads, for whoever reads them in blocks instead; None of
    Parquet."""
    reader: ObjectReader | DigestingReader | None
    """The stream that counts the bytes; None of a part of a file."""

    def sha256(self) -> str:
        """Digest over the bytes as stored; reads what is left of them."""
        if self.reader is None:
            raise ValueError("a part of a file has no digest")
        while self.reader.read(CHUNK):
            pass
        return self.reader.sha256


@contextmanager
def open_source(source: DataSource, buckets: Buckets, scratch: Path) -> Iterator[Source]:
    """Opens a data source. Raises FailureError (DatasetNotFound, DatasetInvalid, the store's)."""
    file = open_file(source, buckets)
    path, takes_all = file.path, file.json_by_default
    with file.reader:
        # Referred to until the end: a buffer that is collected closes what it reads from.
        stream = io.BufferedReader(file.reader, CHUNK)
        lines: BinaryIO | None = stream
        if path.endswith(".parquet"):
            lines, rows = None, _parquet_rows(_downloaded(stream, scratch))
        elif path.endswith(".gz") and (takes_all or path[:-3].endswith(_JSON_ENDINGS)):
            lines = cast("BinaryIO", gzip.GzipFile(fileobj=stream))
            rows = json_rows(lines)
        elif takes_all or path.endswith(_JSON_ENDINGS):
            rows = json_rows(stream)
        else:
            raise FailureError(
                Reason.DATASET_INVALID,
                f"{source.name}: unknown kind of file",
                "Store rows as .jsonl, .jsonl.gz or .parquet.",
            )
        yield Source(name=source.name, rows=rows, lines=lines, reader=file.reader)


def json_rows(stream: BinaryIO, first: int = 1) -> Iterator[tuple[int, RawRow]]:
    """Rows of JSON lines, of which the stream's first one is line number `first`; blank lines are
    skipped, a BOM and CRLF are fine. Raises LineError."""
    for number in itertools.count(first):
        try:
            line = stream.readline(MAX_LINE + 1)
        except _BROKEN_GZIP as error:
            raise _broken(number, error) from error
        if len(line) > MAX_LINE:
            raise LineError(number, f"longer than {MAX_LINE >> 20} MiB")
        if not line:
            return
        if number == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            yield number, _parse(line, number)


def json_blocks(stream: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """JSON lines in blocks of about `size` bytes that end with a line, each with the number of its
    first one. Raises LineError."""
    number, rest = 1, b""
    while True:
        try:
            read = stream.read(size)
        except _BROKEN_GZIP as error:
            raise _broken(number, error) from error
        if not read:
            break
        end = read.rfind(b"\n") + 1
        if not end:
            rest += read
            if len(rest) > MAX_LINE:
                raise LineError(number, f"longer than {MAX_LINE >> 20} MiB")
            continue
        block = rest + read[:end]
        yield number, block
        number += block.count(b"\n")
        rest = read[end:]
    if rest:
        yield number, rest


def _broken(number: int, error: Exception) -> LineError:
    return LineError(number, f"gzip data is broken here or later: {error}")


def _parse(line: bytes, number: int) -> RawRow:
    try:
        value = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Few lines come here, and json says better what is wrong with them.
        value = _parse_slowly(line, number)
    if isinstance(value, list):
        raise LineError(number, "a JSON array; one JSON object per line is expected")
    if not isinstance(value, dict):
        raise LineError(number, "a JSON object is expected")
    return value


def _parse_slowly(line: bytes, number: int) -> Any:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineError(number, f"not UTF-8 at byte {error.start + 1}") from error
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise LineError(number, "not JSON: nested too deeply") from error
    except json.JSONDecodeError as error:
        raise LineError(number, f"not JSON: {error.msg} at column {error.colno}") from error
    except UnicodeEncodeError as error:
        raise LineError(number, "half a surrogate pair (\\ud800 to \\udfff alone)") from error
    except ValueError as error:
        raise LineError(number, f"not JSON: {error}") from error
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _downloaded(stream: BinaryIO, scratch: Path) -> Path:
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / "rows.parquet"
    with path.open("wb") as target:
        shutil.copyfileobj(stream, target, CHUNK)
    return path


def _parquet_rows(path: Path) -> Iterator[tuple[int, RawRow]]:
    import pyarrow  # noqa: PLC0415  (0.3 s that JSONL need not pay)
    from pyarrow import parquet  # noqa: PLC0415

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pyarrow.ArrowException as error:
        raise LineError(number + 1, f"not Parquet: {error}", "row") from error
