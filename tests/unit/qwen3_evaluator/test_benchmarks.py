"""Rows of public benchmarks, and what becomes of an evaluation whose EvalScope process ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.evaluate import EvalJob, EvalSuite
from qwen3_api.job.holdout import find_entries
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.benchmarks import Benchmark
from qwen3_evaluator.benchmark_rows import SHAPES, find_question, parse_benchmark_row
from qwen3_evaluator.benchmarks import EvalScope
from qwen3_evaluator.holdout import compare
from qwen3_evaluator.metrics import Scorer
from qwen3_evaluator.questions import Question, QuestionSet, collect_digests
from qwen3_evaluator.report import compute_fingerprint
from qwen3_evaluator.store import Store
from qwen3_trainer.preflight.digest import DigestBuilder
from support.benchmark_rows import ROWS, Row, to_jsonl


def parse(dataset: str, row: Row) -> dict[str, Any]:
    return parse_benchmark_row(dataset, json.dumps(row).encode(), 3, "s3://b/rows.jsonl")


def suite(path: Path, dataset: str = "gsm8k", **benchmark: Any) -> EvalSuite:
    return EvalSuite.model_validate(
        {
            "name": "sums",
            "data": {"type": "File", "path": str(path), "source": "ConfigMap sums, key t.jsonl"},
            "benchmark": {"dataset": dataset, **benchmark},
            "metrics": ["Accuracy"],
            "limit": None,
            "max_tokens": 9,
            "temperature": 0,
            "thinking": False,
            "seed": 1,
        }
    )


def test_every_benchmark_of_the_api_has_a_shape() -> None:
    assert set(SHAPES) == set(ROWS) == {benchmark.value for benchmark in Benchmark}


@pytest.mark.parametrize("dataset", ROWS)
def test_a_published_row_is_handed_on(dataset: str) -> None:
    parsed = parse(dataset, ROWS[dataset])
    changed = {k for k, v in ROWS[dataset].items() if parsed[k] != v}
    # AIME's answers are published as text and as numbers.
    assert changed <= {"answer"}


@pytest.mark.parametrize("dataset", ROWS)
def test_every_row_asks_something(dataset: str) -> None:
    """Held-out questions are looked for in training by it."""
    row = ROWS[dataset]
    assert find_question(parse(dataset, row)) in (row.get("question"), *row.values())
    assert len(find_question(parse(dataset, row))) > 4


def test_a_benchmarks_prompt_does_not_hide_a_leak() -> None:
    text = str(ROWS["gsm8k"]["question"])
    builder = DigestBuilder()
    builder.add(1, find_entries(text))
    asked = [
        Question(line=1, question=f"Solve: {text} Think. Answer: {'x ' * 99}", answer="1"),
        Question(line=2, question=f"Solve: {text} Think. {'x ' * 99}", answer="1", row_text=text),
    ]
    found = compare("sums", QuestionSet(asked, "0" * 64), builder.build(1, "0" * 64))
    assert found.lines == [2]


def test_numbers_become_text() -> None:
    assert parse("aime24", ROWS["aime24"])["answer"] == "2"
    assert parse("cmath", ROWS["cmath"] | {"golden": 7.5})["golden"] == "7.5"


@pytest.mark.parametrize(
    ("dataset", "changes", "words"),
    [
        ("gsm8k", {"question": None}, "field question is wrong: Input should be a valid string"),
        ("gsm8k", {"question": " "}, "field question is empty"),
        ("gsm8k", {"answer": "5"}, 'field answer is wrong: .* must end in "#### " and a number'),
        ("gsm8k", {"answer": "#### five"}, 'field answer is wrong: .* must end in "#### "'),
        ("aime24", {"answer": 1000}, "field answer is wrong: .* an integer from 0 to 999"),
        ("aime24", {"answer": True}, "field answer is wrong"),
        ("math_500", {"level": "1"}, "field level is wrong"),
        ("cmath", {"golden": "五"}, "field golden is wrong: .* must be a number"),
        ("mmlu", {"answer": 4}, "field answer is wrong: Input should be less than or equal to 3"),
        ("mmlu", {"answer": "B"}, "field answer is wrong: Input should be a valid integer"),
        ("mmlu", {"choices": ["a", "b"]}, "field choices is wrong: .*at least 4 items"),
        ("ceval", {"answer": "E"}, "field answer is wrong: Input should be 'A', 'B', 'C' or 'D'"),
        ("cmmlu", {"choices": ["a", "b", "c", "d"]}, r'field choices is wrong: .* with "\(A\)"'),
        ("arc", {"choices": ["a", "b"]}, "field choices"),
    ],
)
def test_a_row_of_another_shape_is_named(dataset: str, changes: Row, words: str) -> None:
    with pytest.raises(FailureError, match=f"line 3 of s3://b/rows.jsonl: {words}") as caught:
        parse(dataset, ROWS[dataset] | changes)
    assert caught.value.failure.reason == "DatasetInvalid"
    assert dataset in caught.value.failure.hint


@pytest.mark.parametrize(
    ("dataset", "field"),
    [
        (dataset, field)
        for dataset in ROWS
        for field in (
            f.alias or n for n, f in SHAPES[dataset].model_fields.items() if f.is_required()
        )
    ],
)
def test_a_missing_field_is_named(dataset: str, field: str) -> None:
    row = {key: value for key, value in ROWS[dataset].items() if key != field}
    with pytest.raises(FailureError, match=f"line 3 .*: field {field} is missing") as caught:
        parse(dataset, row)
    assert field in caught.value.failure.hint


async def load(asked: EvalSuite) -> QuestionSet:
    async with Store() as store, EvalScope() as evalscope:
        return await evalscope.load(asked, store)


async def test_bad_rows_are_told_before_the_process_is_started(tmp_path: Path) -> None:
    data = tmp_path / "t.jsonl"
    data.write_bytes(to_jsonl([ROWS["gsm8k"], {"question": "2 + 2?"}]))
    with pytest.raises(FailureError, match=r"line 2 of ConfigMap sums, .* answer is missing"):
        await load(suite(data))
    data.write_bytes(b"\n")
    with pytest.raises(FailureError, match="has no rows"):
        await load(suite(data))
    with pytest.raises(FailureError, match=r"ConfigMap sums, key t\.jsonl doesn't exist"):
        await load(suite(tmp_path / "nowhere"))


async def test_bad_examples_are_told_too(tmp_path: Path) -> None:
    data, examples = tmp_path / "t.jsonl", tmp_path / "e.jsonl"
    data.write_bytes(to_jsonl([ROWS["gsm8k"]]))
    examples.write_bytes(b"[]\n")
    source = {"type": "File", "path": str(examples), "source": "ConfigMap sums, key e.jsonl"}
    with pytest.raises(FailureError, match=r"line 1 of ConfigMap sums, key e\.jsonl is not a"):
        await load(suite(data, few_shot=1, examples=source))


async def test_an_unknown_benchmark_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(FailureError, match="suite sums: gsm9k is no benchmark") as caught:
        await load(suite(tmp_path / "t.jsonl", "gsm9k"))
    assert "gsm8k" in caught.value.failure.hint
    assert (caught.value.failure.reason, caught.value.exit_code) == ("InvalidSpec", 42)


async def test_a_process_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    """EvalScope is not installed in the workspace, so the real process ends at its import."""
    data = tmp_path / "t.jsonl"
    data.write_bytes(to_jsonl([ROWS["gsm8k"]]))
    with pytest.raises(FailureError, match=r"EvalScope process ended with 1: .*evalscope") as got:
        await load(suite(data))
    # The Job tries again: a process that was out of memory is no error of the user.
    assert (got.value.failure.reason, got.value.exit_code) == ("EvaluatorFailed", 1)


def test_examples_are_part_of_what_an_answer_depends_on(tmp_path: Path) -> None:
    sets = [
        {"sums": QuestionSet([Question(1, "q", "a")], "0" * 64, digest)}
        for digest in (None, "1" * 64, "2" * 64)
    ]
    assert collect_digests(sets[0]) == {"sums": "0" * 64}
    assert collect_digests(sets[1]) == {"sums": "0" * 64, "sums.examples": "1" * 64}
    job = EvalJob.model_validate(
        {
            "namespace": "n",
            "name": "e",
            "uid": "u",
            "target": {"name": "target", "base_url": "http://x/v1", "model": "m"},
            "baselines": [],
            "suites": [suite(tmp_path).model_dump()],
            "concurrency": 1,
            "output": {"endpoint": None, "region": None, "bucket": "b"},
        }
    )
    assert len({compute_fingerprint(job, collect_digests(s)) for s in sets}) == 3


def test_accuracy_is_not_scored_here(tmp_path: Path) -> None:
    assert Scorer(suite(tmp_path)).score(Question(1, "q", "5"), "5") == {}
