"""ExactMatch: the answer is the expected one."""

from qwen3_api.job.evaluate import EvalSuite
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics.registry import Score, scorer
from qwen3_evaluator.metrics.text import is_same_text


@scorer(Metric.EXACT_MATCH)
def exact_match(_: EvalSuite) -> Score:
    """1 for the expected text after normalisation, else 0; case counts."""
    return lambda question, answer: float(is_same_text(answer, question.answer))
