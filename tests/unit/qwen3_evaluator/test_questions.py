"""Reading questions: what is taken, and what is said about a broken row."""

import gzip
import hashlib
import io
from pathlib import Path

import pytest

from qwen3_api.data_sources import FileData, S3Data
from qwen3_api.job.base import S3Location
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.questions import LINE_LIMIT, Question, parse_questions, read_questions
from qwen3_evaluator.store import Store

GOOD = b'{"question": "2+2?", "answer": "4"}\n'


def parse(data: bytes, limit: int | None = None) -> list[Question]:
    return parse_questions(io.BytesIO(data), limit, "s3://b/q.jsonl")


def test_rows_keep_their_line_numbers_and_optional_fields() -> None:
    rows = parse(
        b"\xef\xbb\xbf"
        + GOOD
        + b"\n   \n"
        + '{"question": "首都？", "answer": "北京", "category": "zh", "system": "s", '.encode()
        + b'"id": 7}'
    )
    assert rows == [
        Question(1, "2+2?", "4"),
        Question(4, "首都？", "北京", category="zh", system="s"),
    ]


def test_the_limit_stops_before_later_rows_are_looked_at() -> None:
    assert len(parse(GOOD * 2 + b"broken", limit=2)) == 2


@pytest.mark.parametrize(
    ("third", "words"),
    [
        (b"{", "line 3 of s3://b/q.jsonl is not JSON"),
        (b"[" * 100_000, "line 3 of s3://b/q.jsonl is not JSON"),
        (b"[1]", "line 3 of s3://b/q.jsonl is not a JSON object"),
        (b"\xff\xfe", "line 3 of s3://b/q.jsonl is not UTF-8 at byte 0"),
        (b'{"question": "a"}', "line 3 of s3://b/q.jsonl: field answer is missing"),
        (b'{"question": "a", "answer": "  "}', "field answer is empty"),
        (b'{"question": "a", "answer": 4}', "field answer is wrong: .*string"),
        (b'{"question": null, "answer": "4"}', "field question is wrong: .*string"),
        (b'{"question": "\\ud800", "answer": "4"}', "field question is wrong: .*unicode"),
        (b'{"question": "a", "answer": "4", "system": 1}', "field system is wrong"),
        (b'"' + b"x" * LINE_LIMIT, "line 3 .* is longer than 1048576 bytes"),
    ],
)
def test_a_broken_row_is_named_by_line_and_field(third: bytes, words: str) -> None:
    with pytest.raises(FailureError, match=words) as caught:
        parse(GOOD + GOOD + third + b"\n" + GOOD)
    assert caught.value.failure.reason == "DatasetInvalid"
    assert caught.value.exit_code == 42
    assert '"question"' in caught.value.failure.hint


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_no_rows_are_an_error(data: bytes) -> None:
    with pytest.raises(FailureError, match="has no rows") as caught:
        parse(data)
    assert caught.value.failure.reason == "DatasetEmpty"


async def test_a_file_is_unpacked_and_hashed_as_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "q"
    # Two gzip members, as `cat a.gz b.gz` makes them.
    path.write_bytes(gzip.compress(GOOD) + gzip.compress(GOOD))
    async with Store() as store:
        read = await read_questions(FileData(path=str(path), source="ConfigMap q"), None, store)
    assert [q.line for q in read.questions] == [1, 2]
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


async def test_the_digest_covers_rows_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "q"
    path.write_bytes(GOOD * 3)
    async with Store() as store:
        read = await read_questions(FileData(path=str(path), source="ConfigMap q"), 1, store)
    assert len(read.questions) == 1
    assert read.sha256 == hashlib.sha256(GOOD * 3).hexdigest()


PACKED = gzip.compress(GOOD * 100)


@pytest.mark.parametrize(
    "damaged",
    [
        PACKED[:-9],
        PACKED[:12] + bytes(len(PACKED) - 12),
        PACKED[:-8] + bytes(8),
        PACKED + b"rubbish",
    ],
    ids=["cut off", "bad deflate", "bad checksum", "rubbish at the end"],
)
async def test_a_damaged_archive_is_a_data_error(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "q"
    path.write_bytes(damaged)
    async with Store() as store:
        with pytest.raises(FailureError, match="of ConfigMap q can't be unpacked") as caught:
            await read_questions(FileData(path=str(path), source="ConfigMap q"), None, store)
    assert caught.value.failure.reason == "DatasetInvalid"


async def test_a_missing_file_is_named_as_the_user_does(tmp_path: Path) -> None:
    source = FileData(path=str(tmp_path / "none"), source="ConfigMap q, key k")
    async with Store() as store:
        with pytest.raises(FailureError, match="ConfigMap q, key k doesn't exist") as caught:
            await read_questions(source, None, store)
    assert caught.value.failure.reason == "DatasetNotFound"


async def test_an_object_of_another_kind_is_refused_before_it_is_fetched() -> None:
    at = S3Location(endpoint="http://127.0.0.1:1", region=None, bucket="b", prefix="q.parquet")
    async with Store() as store:
        with pytest.raises(FailureError, match=r"neither .jsonl nor .jsonl.gz"):
            await read_questions(S3Data(location=at), None, store)


def parse_with_pattern(row: str) -> list[Question]:
    return parse_questions(
        io.BytesIO(GOOD[:-2] + b', "pattern": "4"}\n' + row.encode()), None, "q", with_pattern=True
    )


def test_a_pattern_is_kept() -> None:
    row = '{"question": "q", "answer": "a", "pattern": "\\\\p{Han}+"}'
    assert [q.pattern for q in parse_with_pattern(row)] == ["4", r"\p{Han}+"]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("", "field pattern is missing; RegexMatch needs it"),
        (', "pattern": null', "field pattern is missing"),
        (', "pattern": 4', "field pattern is wrong"),
        (', "pattern": "(4"', r"field pattern is no regular expression: missing \)"),
        (', "pattern": "' + "x" * 4097 + '"', "field pattern is longer than 4096 characters"),
    ],
)
def test_a_row_whose_pattern_cant_be_used_is_named(field: str, words: str) -> None:
    with pytest.raises(FailureError, match=f"line 2 of q: {words}") as caught:
        parse_with_pattern('{"question": "q", "answer": "a"' + field + "}")
    assert caught.value.failure.reason == "DatasetInvalid"
