"""Formats and sources: the lists of the API and the trainer's modules agree."""

from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest

from qwen3_api.data_sources import (
    SOURCES,
    DatasetSource,
    DatasetSourceType,
    DataSource,
    resolve_source,
)
from qwen3_api.job.base import S3Location
from qwen3_api.methods import METHODS, MethodType, RowKind
from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data import sources
from qwen3_trainer.data.formats import FORMATS, convert, detect_format, formats_hint
from qwen3_trainer.data.rows import Conversation, Preference, Row, decode_row, encode_row
from support.rows import to_row

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}
TYPES = {RowKind.CONVERSATION: Conversation, RowKind.PREFERENCE: Preference}
SAMPLES: dict[str, dict[str, Any]] = {
    "Messages": {"messages": [USER, ANSWER]},
    "ShareGPT": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    "Alpaca": {"instruction": "a", "output": "b"},
    "PromptCompletion": {"prompt": "a", "completion": "b"},
    "Preference": {"prompt": "a", "chosen": "b", "rejected": "c"},
}
DOCUMENTS = get_args(get_args(DataSource)[0])
"""Members of the union."""


def test_every_format_of_the_api_is_read() -> None:
    assert set(FORMATS) == set(DatasetFormat) - {DatasetFormat.AUTO}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_found_and_gives_rows_of_its_kind(name: DatasetFormat) -> None:
    kind = FORMATS[name].rows
    taking = next(m for m, declared in METHODS.items() if declared.rows is kind)
    assert detect_format(SAMPLES[name], taking) == name
    row = convert(SAMPLES[name], name)
    assert type(row) is TYPES[kind]
    assert decode_row(encode_row(row)) == row
    assert FORMATS[name].fields in formats_hint(taking)


@pytest.mark.parametrize("method", MethodType)
def test_every_method_has_a_format(method: MethodType) -> None:
    assert METHODS[method].rows in {each.rows for each in FORMATS.values()}


@pytest.mark.parametrize(
    "row",
    [
        to_row({"prompt": [USER], "completion": [ANSWER]}),
        to_row({"messages": [USER, ANSWER], "tools": [{"name": "f"}]}),
        to_row({"prompt": [USER], "chosen": [ANSWER], "rejected": [USER], "tools": [{}]}),
    ],
)
def test_a_row_survives_a_file(row: Row) -> None:
    assert decode_row(encode_row(row)) == row


def test_every_type_of_source_is_declared() -> None:
    assert set(SOURCES) == set(DatasetSourceType)
    fields = {source.field for source in SOURCES.values()}
    assert fields == set(DatasetSource.model_fields) - {"type"}


@pytest.mark.parametrize(
    "written",
    [
        {"type": "S3", "s3": {"uri": "s3://bucket/rows.jsonl"}},
        {"type": "ConfigMap", "configMap": {"name": "rows"}},
    ],
)
def test_a_source_reaches_the_pod_as_a_member_of_the_union(written: dict[str, Any]) -> None:
    storage = S3Location(endpoint=None, region=None, bucket="artifacts")
    document = resolve_source(DatasetSource.model_validate(written), "train", storage)
    assert isinstance(document, DOCUMENTS)
    assert document.name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_trainer_opens_every_source(document: Any) -> None:
    name = document.model_fields["type"].default.lower()
    assert callable(import_module(f"qwen3_trainer.data.sources.{name}").open_file)


def test_no_module_of_a_source_is_left_over() -> None:
    folder = Path(sources.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "base"}
    assert modules == {document.model_fields["type"].default.lower() for document in DOCUMENTS}
