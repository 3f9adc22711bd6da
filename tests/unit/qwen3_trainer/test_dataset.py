"""Data sets from files: endings, encodings, digests, and what is said about broken ones."""

import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.data.dataset import PreparedData, Role, prepare, refused_rows
from qwen3_trainer.data.files import MAX_LINE
from qwen3_trainer.data.rows import LineError
from qwen3_trainer.store import Buckets
from support.train_jobs import LOCATION, train_job

ROWS = [{"instruction": f"frage {i} 什么", "input": "", "output": f"{i}"} for i in range(5)]
LINES = [json.dumps(row, ensure_ascii=False).encode() for row in ROWS]


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _prepare(
    tmp_path: Path,
    name: str,
    body: bytes,
    validation: bytes | None = None,
    shape: str = "Auto",
    **changes: Any,
) -> PreparedData:
    def source(role: str, content: bytes) -> dict[str, str]:
        tmp_path.mkdir(exist_ok=True)
        path = tmp_path / f"{role}-{name}"
        path.write_bytes(content)
        return {"type": "File", "path": str(path), "source": f"ConfigMap data, key {name}"}

    job = train_job(
        **{
            "dataset.train": source("train", body),
            "dataset.validation": source("validation", validation) if validation else None,
            "dataset.format": shape,
            **changes,
        }
    )
    return prepare(job, Buckets(), tmp_path / "work")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("rows.jsonl", b"\n".join(LINES)),
        ("rows.jsonl", b"\n".join(LINES) + b"\n\n  \n"),
        ("rows.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(LINES) + b"\r\n"),
        ("rows.jsonl.gz", gzip.compress(b"\n".join(LINES))),
        ("rows.json.gz", gzip.compress(LINES[0]) + gzip.compress(b"\n" + b"\n".join(LINES[1:]))),
        ("rows.parquet", _parquet(ROWS)),
        ("any-key-of-a-config-map", b"\n".join(LINES)),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, body: bytes) -> None:
    data = _prepare(tmp_path, name, body)

    assert data.validation is None
    assert data.train.count == len(ROWS)
    assert data.train.sha256 == hashlib.sha256(body).hexdigest()
    written = [json.loads(line) for line in data.train.path.read_text().splitlines()]
    assert [row["messages"][0]["content"] for row in written] == [r["instruction"] for r in ROWS]
    assert data.train.first_prompt == [{"role": "user", "content": "frage 0 什么"}]


def test_written_rows_stand_at_the_numbers_of_their_source(tmp_path: Path) -> None:
    body = b"\n".join([b"", LINES[0], b" ", b"", LINES[1]])
    written = _prepare(tmp_path, "rows.jsonl", body).train.path.read_text().split("\n")
    assert [number for number, line in enumerate(written, 1) if line] == [2, 5]


@pytest.mark.parametrize(
    ("name", "words"),
    [("rows.jsonl", "line 7: messages[1]: no"), ("rows.parquet", "row 7: messages[1]: no")],
)
@pytest.mark.parametrize("role", ["train", "validation"])
def test_a_row_that_cannot_be_rendered_is_told_like_one_of_a_wrong_shape(
    role: Role, name: str, words: str
) -> None:
    source = {"type": "S3", "location": {**LOCATION.model_dump(), "prefix": f"data/{name}"}}
    dataset = train_job(**{f"dataset.{role}": source}).dataset
    with pytest.raises(FailureError) as failed, refused_rows(dataset, role):
        raise LineError(7, "messages[1]: no")
    assert failed.value.reason == Reason.DATASET_INVALID
    prefix = "" if role == "train" else "validation data, "
    assert failed.value.message == f"{prefix}{words} (s3://{LOCATION.bucket}/data/{name})"
    assert "A row is one of" in failed.value.hint


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        (
            "rows.jsonl",
            b"\n".join([*LINES[:2], b'{"instruction": "a" "output": "b"}', LINES[3]]),
            "line 3: not JSON: Expecting ',' delimiter at column 21",
        ),
        ("rows.jsonl", b"\n\n" + LINES[0] + b"\n{", "line 4: not JSON"),
        ("rows.jsonl", LINES[0] + b'\n{"instruction": "a"}', "line 2: output: missing"),
        ("rows.jsonl", b'{"q": 1}', "line 1: no known format has these keys: q"),
        ("rows.jsonl", b'[{"instruction": "a"}]', "line 1: a JSON array"),
        ("rows.jsonl", b"3", "line 1: a JSON object is expected"),
        ("rows.jsonl", b'{"instruction": NaN}', "line 1: not JSON: NaN is not a JSON number"),
        ("rows.jsonl", LINES[0] + b"\n\xff\xfe", "line 2: not UTF-8 at byte 1"),
        ("rows.jsonl", b"[" * 200_000, "line 1: not JSON: nested too deeply"),
        ("rows.jsonl", b'{"instruction": "\\ud83d"}', "line 1: half a surrogate pair"),
        ("rows.jsonl", b" " * (MAX_LINE + 1), "line 1: longer than 32 MiB"),
        (
            "rows.jsonl.gz",
            b"\n".join(LINES),
            "line 1: gzip data is broken here or later: Not a gzipped file",
        ),
        (
            "rows.jsonl.gz",
            gzip.compress(b"\n".join(LINES), mtime=0)[:-9],
            "line 5: gzip data is broken here or later: Compressed file ended",
        ),
        ("rows.parquet", b"PAR1", "row 1: not Parquet"),
        (
            "rows.parquet",
            _parquet([*ROWS, {"instruction": "a", "input": "", "output": None}]),
            "row 6: output: missing",
        ),
    ],
)
def test_a_broken_file_names_line_and_field(
    tmp_path: Path, name: str, body: bytes, message: str
) -> None:
    with pytest.raises(FailureError) as caught:
        _prepare(tmp_path, name, body)
    assert caught.value.reason == Reason.DATASET_INVALID
    assert caught.value.message.startswith(message)
    assert f"(ConfigMap data, key {name})" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("body", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_is_empty(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(FailureError) as caught:
        _prepare(tmp_path, "rows.jsonl", body)
    assert caught.value.reason == Reason.DATASET_EMPTY


def test_the_first_row_decides_the_format_for_all(tmp_path: Path) -> None:
    with pytest.raises(FailureError, match="line 2: instruction: missing"):
        _prepare(tmp_path, "rows.jsonl", LINES[0] + b'\n{"prompt": "a", "completion": "b"}')


def test_a_stated_format_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(FailureError, match="line 1: messages: missing"):
        _prepare(tmp_path, "rows.jsonl", LINES[0], shape="Messages")


PAIRS = [{"prompt": f"frage {i}", "chosen": "ja", "rejected": "nein"} for i in range(3)]


def test_dpo_reads_preference_rows(tmp_path: Path) -> None:
    body = b"\n".join(json.dumps(pair).encode() for pair in PAIRS)
    data = _prepare(tmp_path, "rows.jsonl", body, method="DPO")
    first = json.loads(data.train.path.read_text().splitlines()[0])
    assert first == {
        "type": "Preference",
        "prompt": [{"role": "user", "content": "frage 0"}],
        "chosen": [{"role": "assistant", "content": "ja"}],
        "rejected": [{"role": "assistant", "content": "nein"}],
    }
    assert data.train.first_prompt == first["prompt"]


@pytest.mark.parametrize(
    ("row", "shape", "method", "problem", "hint"),
    [
        (ROWS[0], "Auto", "DPO", "line 1: not a preference row", "dataset.format Preference"),
        (ROWS[0], "Alpaca", "DPO", "line 1: method DPO can't learn", "dataset.format Preference"),
        (PAIRS[0], "Auto", "SFT", "line 1: a preference row", "A row is one of"),
        (PAIRS[0], "Preference", "SFT", "line 1: method SFT can't learn", "A row is one of"),
        ({**PAIRS[0], "chosen": 1}, "Auto", "DPO", "line 1: chosen: a string", "prompt, chosen"),
    ],
)
def test_rows_must_fit_the_method(
    tmp_path: Path, row: dict[str, Any], shape: str, method: str, problem: str, hint: str
) -> None:
    with pytest.raises(FailureError) as caught:
        _prepare(tmp_path, "rows.jsonl", json.dumps(row).encode(), shape=shape, method=method)
    assert caught.value.reason == Reason.DATASET_INVALID
    assert caught.value.message.startswith(problem)
    assert hint in caught.value.hint


def test_rows_must_fit_the_thinking_policy(tmp_path: Path) -> None:
    thoughtful = {"instruction": "a", "output": "<think>\nhm\n</think>\n\nb"}
    body = json.dumps(thoughtful).encode() + b"\n" + LINES[1]
    with pytest.raises(FailureError, match="the last answer has no reasoning") as caught:
        _prepare(tmp_path, "rows.jsonl", body, **{"dataset.thinking": "Enabled"})
    assert caught.value.reason == Reason.DATASET_INVALID
    assert caught.value.message.startswith("line 2: ")
    assert "chatTemplate.thinking" in caught.value.hint

    data = _prepare(tmp_path, "rows.jsonl", body, **{"dataset.thinking": "Disabled"})
    first = json.loads(data.train.path.read_text().splitlines()[0])
    assert first["messages"][1]["content"] == "b"


def test_validation_data_is_checked_too(tmp_path: Path) -> None:
    good = _prepare(tmp_path / "good", "rows.jsonl", LINES[0], b"\n".join(LINES[:2]))
    assert good.validation is not None
    assert good.validation.count == 2

    refused = r"^DatasetInvalid: validation data, line 1: output: empty"
    with pytest.raises(FailureError, match=refused):
        _prepare(tmp_path / "bad", "rows.jsonl", LINES[0], b'{"instruction": "a", "output": ""}')


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    source = {"type": "File", "path": str(tmp_path / "none"), "source": "ConfigMap data, key x"}
    with pytest.raises(FailureError) as caught:
        prepare(train_job(**{"dataset.train": source}), Buckets(), tmp_path / "work")
    assert caught.value.reason == Reason.DATASET_NOT_FOUND
    assert "ConfigMap data, key x" in caught.value.message
