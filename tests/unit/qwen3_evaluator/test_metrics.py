"""Metrics of an answer by itself: against published packages, in both languages, and at the edges.

The values of RougeL are those of rouge-score 0.1.2 (no stemmer), those of BLEU sacrebleu's own.
"""

import random
import time
from itertools import combinations
from typing import Any

import pytest
import sacrebleu

from qwen3_api.data_sources import FileData
from qwen3_api.job.evaluate import EvalSuite
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.metrics import (
    Scorer,
    build_validator,
    compute_bleu,
    compute_f1,
    compute_rouge_l,
    is_exact_match,
    is_valid_json,
    longest_common_subsequence,
    needs_answer,
)
from qwen3_evaluator.questions import Question


def suite(*metrics: str, **fields: Any) -> EvalSuite:
    return EvalSuite.model_validate(
        {
            "name": "one",
            "data": FileData(path="/x", source="x"),
            "metrics": metrics,
            "limit": None,
            "max_tokens": 8,
            "temperature": 0,
            "thinking": False,
            "seed": 1,
        }
        | fields
    )


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("Berlin", "Berlin", True),
        (" Berlin\n", "Berlin", True),
        ("Berlin", "\tBerlin ", True),
        ("berlin", "Berlin", False),
        ("Berlin.", "Berlin", False),
        ("ABC１２３！", "ABC123!", True),
        ("ﬁve", "five", True),
        ("e\u0301", "é", True),
        ("答案：四", "答案:四", True),
        ("", "Berlin", False),
    ],
)
def test_exact_match_compares_normalised_and_trimmed_text(
    answer: str, expected: str, right: bool
) -> None:
    assert is_exact_match(answer, expected) is right


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0),
        ("in Paris, France", "Paris", 0.5),
        ("Paris Paris", "Paris", 2 / 3),
        ("London", "Paris", 0.0),
        ("", "Paris", 0.0),
        ("东京是日本的首都。", "日本的首都是东京", 1.0),
        ("答案是四", "四", 0.4),
        ("答案 是 42", "答案是42。", 1.0),
        ("ＡＢＣ", "abc", 1.0),
        ("the", "the", 1.0),
        ("?", "!", 0.0),
    ],
)
def test_f1_counts_words_and_chinese_characters(answer: str, expected: str, score: float) -> None:
    assert compute_f1(answer, expected) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("the cat was found under the bed", "the cat was under the bed", 0.923076923076923),
        ("It's 42, isn't it? Yes: 42.", "Is it 42? Yes, it's 42.", 0.5333333333333333),
        ("police killed the gunman", "police kill the gunman", 0.75),
        ("", "x", 0.0),
        ("A B C D E F G", "g a b X c Y d", 0.5714285714285714),
        (
            "The U.S. economy grew 3.5% in 2019",
            "the US economy grew by 3.5 % in 2019.",
            0.7777777777777778,
        ),
    ],
)
def test_rouge_l_is_that_of_rouge_score(answer: str, expected: str, score: float) -> None:
    assert compute_rouge_l(answer, expected) == pytest.approx(score)


def test_rouge_l_counts_chinese_by_characters() -> None:
    assert compute_rouge_l("东京是日本的首都。", "东京是日本首都") == pytest.approx(14 / 15)
    assert compute_rouge_l("首都东京", "东京首都") == pytest.approx(0.5)


def test_the_subsequence_is_the_longest() -> None:
    rng = random.Random(7)  # noqa: S311  # test data
    for _ in range(200):
        left, right = (rng.choices("abc", k=rng.randint(0, 7)) for _ in range(2))
        parts = {p for k in range(8) for p in combinations(left, k)}
        longest = max(len(p) for k in range(8) for p in combinations(right, k) if p in parts)
        assert longest_common_subsequence(left, right) == longest


def test_an_endless_answer_is_scored_at_once() -> None:
    rng = random.Random(7)  # noqa: S311  # test data
    answer, expected = ("".join(rng.choices("的一是不了", k=k)) for k in (30_000, 8_000))
    began = time.process_time()
    assert 0 < compute_rouge_l(answer, expected) < 1
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("answer", "expected", "tokenizer"),
    [
        ("the cat sat on the mat", "the cat sat on a mat", "13a"),
        ("the cat", "the cat sat on a mat", "13a"),
        ("东京是日本的首都", "东京是日本首都", "zh"),
        ("首都は東京です", "日本の首都は東京です", "char"),
    ],
)
def test_bleu_is_that_of_sacrebleu(answer: str, expected: str, tokenizer: str) -> None:
    right = sacrebleu.sentence_bleu(
        answer, [expected], tokenize=tokenizer, use_effective_order=True, smooth_method="exp"
    )
    assert compute_bleu(answer, expected) == pytest.approx(right.score / 100)
    assert 0 < right.score < 100


def test_bleu_of_the_same_text_is_one_and_of_none_is_zero() -> None:
    # Fewer than four words: without the effective order this would be next to nothing.
    assert compute_bleu("Berlin", "Berlin") == 1
    assert compute_bleu("这是四", "这是四") == 1
    assert compute_bleu("", "Berlin") == 0


def score(metric: str, answer: str, *, pattern: str | None = None, **fields: Any) -> float:
    question = Question(3, "q", "a", pattern=pattern)
    (value,) = Scorer(suite(metric, **fields)).score(question, answer).values()
    return value


def test_the_pattern_is_found_anywhere() -> None:
    assert score("RegexMatch", "so it is 42.", pattern=r"\b42\b") == 1
    assert score("RegexMatch", "so it is 421.", pattern=r"\b42\b") == 0
    assert score("RegexMatch", "答案：四", pattern=r"答案[:：]\s*四") == 1


def test_a_pattern_that_never_ends_is_named() -> None:
    with pytest.raises(FailureError, match=r"one, line 3: field pattern takes longer") as caught:
        score("RegexMatch", "a" * 60 + "b", pattern=r"^(a|aa|aaa)+$")
    assert caught.value.failure.reason == "DatasetInvalid"


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
        Scorer(suite("JSONValid", json_schema=schema))
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


def test_one_answer_is_scored_by_all_metrics_of_its_suite() -> None:
    chosen = suite("F1", "ExactMatch", "BLEU", "RougeL", "AssistantLoss", "JudgeScore", "JudgeWin")
    scores = Scorer(chosen).score(Question(1, "q", "so it is"), "so it is")
    assert scores == {"F1": 1, "ExactMatch": 1, "BLEU": 1, "RougeL": 1}


def test_only_the_loss_needs_no_answer() -> None:
    assert not needs_answer(suite("AssistantLoss"))
    assert needs_answer(suite("AssistantLoss", "JudgeWin"))
