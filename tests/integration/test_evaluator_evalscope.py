"""EvalScope itself, as the evaluator uses it: every benchmark, and what only it can refuse.

Needs QWEN3_EVALUATOR_PYTHON, the interpreter of the evaluator's image.
"""

from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.evaluate import EvalSuite
from qwen3_api.v1alpha1.benchmarks import FEW_SHOT
from support.benchmark_rows import ROWS, Row, run_script, to_jsonl

pytestmark = pytest.mark.integration


def suite(path: Path, dataset: str, rows: list[Row], examples: list[Row] | None) -> dict[str, Any]:
    """A suite of a file as a ConfigMap would be mounted."""
    path.mkdir()
    source = {}
    for name, content in (("rows", rows), ("examples", examples or [])):
        file = path / f"{name}.jsonl"
        file.write_bytes(to_jsonl(content))
        source[name] = {"type": "File", "path": str(file), "source": name}
    benchmark = {"dataset": dataset, "few_shot": 0 if examples is None else 1}
    if examples is not None:
        benchmark["examples"] = source["examples"]
    made = {
        "name": path.name,
        "data": source["rows"],
        "benchmark": benchmark,
        "metrics": ["Accuracy"],
        "limit": None,
        "max_tokens": 9,
        "temperature": 0,
        "thinking": False,
        "seed": 1,
    }
    return EvalSuite.model_validate(made).model_dump(mode="json")


def test_every_benchmark_tells_right_from_wrong(tmp_path: Path) -> None:
    suites, answers = [], {}
    for dataset, row in ROWS.items():
        name = dataset.replace("_", "-")
        examples = [row] if dataset in FEW_SHOT else None
        suites.append(suite(tmp_path / name, dataset, [row], examples))
        # gpqa_diamond's choices are shuffled by the question; its A is the right one here.
        right = {"aime24": "2", "aime25": "100", "math_500": "\\frac{6}{8}", "gpqa_diamond": "A"}
        choice = right.get(dataset) or ("5" if dataset in ("gsm8k", "cmath", "aime26") else "B")
        answers[name] = [
            [1, f"So \\boxed{{{choice}}}"]
            if choice not in ("A", "B")
            else [1, f"ANSWER: {choice}\n答案：{choice}"],
            [1, "So \\boxed{77}\nANSWER: C\n答案：C"],
            [1, ""],
        ]
    found = run_script("benchmark_probe.py", {"suites": suites, "answers": answers})
    assert {s["name"]: each.get("scores", each) for s, each in zip(suites, found, strict=True)} == {
        s["name"]: [1.0, 0.0, 0.0] for s in suites
    }
    for each, made in zip(found, suites, strict=True):
        (question,) = each["questions"]
        few_shot = made["benchmark"]["few_shot"]
        row = ROWS[made["benchmark"]["dataset"]]
        text = next(row[k] for k in ("question", "problem", "Question") if k in row)
        assert question["question"].count(text) == 1 + few_shot, question
        assert question["line"] == 1


REFUSED: dict[str, tuple[str, list[Row], list[Row] | None, str]] = {
    "subject": (
        "mmlu",
        [ROWS["mmlu"], ROWS["mmlu"] | {"subject": "alchemy"}],
        None,
        "line 2 of rows: field subject says alchemy, which is none of: abstract_algebra",
    ),
    "choice": (
        "arc",
        [ROWS["arc"] | {"answerKey": "C"}],
        None,
        "line 1 of rows: field answerKey is 'C', none of the choices A to B",
    ),
    "too-few-examples": (
        "mmlu",
        [ROWS["mmlu"]],
        [ROWS["mmlu"] | {"subject": "anatomy"}],
        "examples has 0 rows of college_chemistry and fewShot is 1",
    ),
    "subject-of-examples": (
        "ceval",
        [ROWS["ceval"]],
        [ROWS["ceval"] | {"subject": "alchemy"}],
        "line 1 of examples: field subject says alchemy",
    ),
    "mathematics": (
        "math_500",
        [ROWS["math_500"] | {"answer": "\\"}],
        None,
        "line 1 of rows: field answer can't be read as mathematics",
    ),
}
"""Dataset, rows, examples and what is said of them."""


def test_what_only_evalscope_knows_is_told_with_line_and_field(tmp_path: Path) -> None:
    suites = [
        suite(tmp_path / name, dataset, rows, examples)
        for name, (dataset, rows, examples, _) in REFUSED.items()
    ]
    answers = {name: [[1, "x"]] for name in REFUSED}
    found = run_script("benchmark_probe.py", {"suites": suites, "answers": answers})
    for (_, _, _, words), told in zip(REFUSED.values(), found, strict=True):
        assert words in told["error"]
        assert told["reason"] == "DatasetInvalid"
