"""A suite with the metrics of a test, and the score of one answer."""

from typing import Any

from qwen3_api.data_sources import FileData
from qwen3_api.job.evaluate import EvalSuite
from qwen3_evaluator.metrics import Scorer
from qwen3_evaluator.questions import Question


def build_suite(*metrics: str, **fields: Any) -> EvalSuite:
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


def score(metric: str, answer: str, *, pattern: str | None = None, **fields: Any) -> float:
    question = Question(3, "q", "a", pattern=pattern)
    (value,) = Scorer(build_suite(metric, **fields)).score(question, answer).values()
    return value
