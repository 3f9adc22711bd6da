"""RegexMatch: the row's pattern is found in the answer."""

from qwen3_api.job.evaluate import EvalSuite
from qwen3_api.metrics import Metric
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.metrics.registry import Score, scorer
from qwen3_evaluator.metrics.text import PATTERN_SECONDS, matches
from qwen3_evaluator.questions import Question


@scorer(Metric.REGEX_MATCH)
def regex_match(suite: EvalSuite) -> Score:
    """1 where the pattern is found, else 0; a pattern without an end is the row's fault."""

    def score(question: Question, answer: str) -> float:
        assert question.pattern is not None  # noqa: S101  # read_questions refuses such a row
        try:
            return float(matches(question.pattern, answer))
        except TimeoutError as error:
            raise FailureError(
                Reason.DATASET_INVALID,
                f"suite {suite.name}, line {question.line}: field pattern takes longer than "
                f"{PATTERN_SECONDS:g} s on an answer of {len(answer)} characters",
                hint="Repeats within repeats, as in (a+)+, take exponential time; write it "
                "without.",
            ) from error

    return score
