"""RougeL: the longest common subsequence of words."""

from collections.abc import Sequence

from qwen3_api.job.evaluate import EvalSuite
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics.registry import Score, scorer
from qwen3_evaluator.metrics.text import f_measure, fold, split_words


@scorer(Metric.ROUGE_L)
def rouge_l(_: EvalSuite) -> Score:
    """RougeL of the answer against the expected one."""
    return lambda question, answer: compute_rouge_l(answer, question.answer)


def compute_rouge_l(answer: str, expected: str) -> float:
    """F-measure of the longest common subsequence of words; characters in Chinese and Japanese.

    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1, with β = 1 and
    without stemming, as the package rouge-score computes rougeL (its tokens are ASCII; these are
    words of any script). If either side has no words, 1 for an exact match, else 0.
    """
    answered, right = split_words(fold(answer)), split_words(fold(expected))
    common = longest_common_subsequence(answered, right)
    return f_measure(common, len(answered), len(right), answer, expected)


def longest_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel: Hyyrö 2004, "Bit-parallel LCS-length computation revisited" (AWOCA), so that an
    answer of 30,000 characters takes a fraction of a second.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(left)) - 1
    rest = every
    for word in right:
        matched = rest & places.get(word, 0)
        rest = ((rest + matched) | (rest - matched)) & every
    return len(left) - rest.bit_count()
