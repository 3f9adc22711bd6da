"""JSONValid: whole answers against schemas of tenants."""

import pytest

from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.metrics import Scorer
from qwen3_evaluator.metrics.json_valid import build_validator, is_valid_json
from support.metrics import build_suite, score

SCHEMA = (
    '{"type": "object", "required": ["n"], "properties": {"n": {"$ref": "#/$defs/n"}},'
    ' "$defs": {"n": {"type": "integer", "minimum": 1}}}'
)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ('{"n": 1}', 1),
        (' \n{"n": 1, "m": null}\n', 1),
        ('{"n": 0}', 0),
        ('{"n": "1"}', 0),
        ("{}", 0),
        ("[]", 0),
        ('{"n": 1}!', 0),
        ('```json\n{"n": 1}\n```', 0),
        ('{"n": NaN}', 0),
        ("", 0),
        ("[" * 100_000, 0),
        ("1" * 10_000, 0),
    ],
)
def test_the_whole_answer_must_be_json_that_the_schema_allows(answer: str, right: float) -> None:
    assert score("JSONValid", answer, json_schema=SCHEMA) == right


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{", "JSONDecodeError"),
        ("5", "neither an object nor"),
        ('{"type": "nope"}', r"\$\.type: 'nope'"),
        ('{"pattern": "("}', r"\$\.pattern: '\('"),
        ('{"$ref": "#/nope"}', "/nope"),
        ('{"$ref": "http://127.0.0.1:1/x"}', "outside of the schema"),
        ('{"$ref": "file:///etc/passwd"}', "outside of the schema"),
        ("[" * 100_000, "RecursionError"),
    ],
)
def test_a_schema_that_cant_be_used_is_refused_before_anything_is_asked(
    schema: str, words: str
) -> None:
    with pytest.raises(FailureError, match=f"suite one: jsonSchema.*{words}") as caught:
        Scorer(build_suite("JSONValid", json_schema=schema))
    assert caught.value.failure.reason == "InvalidSpec"
    assert caught.value.exit_code == 42


@pytest.mark.parametrize(
    ("schema", "answer"),
    [('{"pattern": "^(a|aa|aaa)+$"}', '"' + "a" * 60 + 'b"'), ('{"$ref": "#"}', "1")],
)
def test_a_schema_that_never_ends_is_an_error(schema: str, answer: str) -> None:
    with pytest.raises(FailureError, match="jsonSchema can't be applied") as caught:
        score("JSONValid", answer, json_schema=schema)
    assert caught.value.failure.reason == "InvalidSpec"


def test_an_older_draft_is_told_by_its_name() -> None:
    draft = '"$schema": "http://json-schema.org/draft-04/schema#"'
    old = build_validator("s", f'{{{draft}, "minimum": 1, "exclusiveMinimum": true}}')
    assert [is_valid_json(text, old) for text in ("1", "2")] == [False, True]
