"""Rows of the shapes of public benchmarks, written for these tests: no benchmark's data."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]

ROWS: dict[str, Row] = {
    "aime24": {"problem": "Find the remainder when $7 + 5$ is divided by $5$.", "answer": 2},
    "aime25": {"problem": "Find $10^2$.", "answer": "100"},
    "aime26": {"problem": "Find $2 + 3$.", "answer": "005"},
    "arc": {
        "id": "own-1",
        "question": "Which of these conducts electricity?",
        "choices": {"text": ["wood", "iron"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "ceval": {
        "id": 0,
        "question": "哪个是金属？",
        "A": "木",
        "B": "铁",
        "C": "玻璃",
        "D": "羊毛",
        "answer": "B",
        "subject": "college_chemistry",
    },
    "cmath": {"question": "小明有2个苹果，又买了3个，一共几个？", "golden": "5", "grade": 1},
    "cmmlu": {
        "question": "哪个是金属？",
        "choices": ["(A) 木", "(B) 铁", "(C) 玻璃", "(D) 羊毛"],
        "answer": "(B)",
        "category": "college_medicine",
    },
    "commonsense_qa": {
        "question": "Where does one keep milk cold?",
        "choices": ["oven", "fridge", "roof"],
        "answer": "B",
    },
    "general_mcq": {"question": "Which is a metal?", "A": "wood", "B": "iron", "answer": "B"},
    "gpqa_diamond": {
        "Question": "Which is a metal?",
        "Correct Answer": "iron",
        "Incorrect Answer 1": "wood",
        "Incorrect Answer 2": "glass",
        "Incorrect Answer 3": "wool",
    },
    "gsm8k": {
        "question": "Tom has 2 pears and buys 3. How many?",
        "answer": "2 + 3 = 5\n#### 5",
    },
    "math_500": {
        "problem": "Find $\\frac12 + \\frac14$.",
        "answer": "\\frac{3}{4}",
        "level": 1,
        "subject": "Prealgebra",
    },
    "mmlu": {
        "question": "Which is a metal?",
        "choices": ["wood", "iron", "glass", "wool"],
        "answer": 1,
        "subject": "college_chemistry",
    },
    "mmlu_pro": {
        "question": "Which is a metal?",
        "options": ["wood", "iron", "glass"],
        "answer": "B",
        "category": "chemistry",
        "cot_content": "A: Iron is one. The answer is (B).",
    },
    "mmlu_redux": {
        "question": "Which is a metal?",
        "choices": ["wood", "iron", "glass", "wool"],
        "answer": 0,
        "error_type": "wrong_groundtruth",
        "correct_answer": "1",
    },
}
"""One row of each benchmark that the API names."""


def to_jsonl(rows: Iterable[Row]) -> bytes:
    """Rows as a file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def run_script(name: str, order: dict[str, Any]) -> Any:
    """What a script of this folder says to the order, run by the evaluator image's Python."""
    done = subprocess.run(
        [os.environ["QWEN3_EVALUATOR_PYTHON"], str(Path(__file__).with_name(name))],
        input=json.dumps(order).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout)
