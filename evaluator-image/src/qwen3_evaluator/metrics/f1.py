"""F1 over words, as in SQuAD."""

from collections import Counter

import regex

from qwen3_api.job.evaluate import EvalSuite
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics.registry import Score, scorer
from qwen3_evaluator.metrics.text import f_measure, fold, split_words

_PUNCTUATION = regex.compile(r"[\p{P}\p{S}]")
_ARTICLES = frozenset({"a", "an", "the"})


@scorer(Metric.F1)
def f1(_: EvalSuite) -> Score:
    """F1 of the answer against the expected one."""
    return lambda question, answer: compute_f1(answer, question.answer)


def compute_f1(answer: str, expected: str) -> float:
    """Harmonic mean of precision and recall over words, as in SQuAD.

    Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (EMNLP),
    official script v1.1: lower case, no punctuation, no articles, bags of words. Chinese and
    Japanese count by characters, as in CMRC 2018 (Cui et al. 2019). If either side has no words,
    1 for an exact match, else 0.
    """
    answered, right = (
        [word for word in split_words(_PUNCTUATION.sub("", fold(text))) if word not in _ARTICLES]
        for text in (answer, expected)
    )
    common = (Counter(answered) & Counter(right)).total()
    return f_measure(common, len(answered), len(right), answer, expected)
