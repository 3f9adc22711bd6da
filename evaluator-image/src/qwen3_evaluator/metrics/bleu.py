"""BLEU of one answer, by sacrebleu."""

from functools import cache
from typing import Literal

import regex
from sacrebleu.metrics.bleu import BLEU

from qwen3_api.job.evaluate import EvalSuite
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics.registry import Score, scorer

_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_HAN = regex.compile(r"\p{Han}")


@scorer(Metric.BLEU)
def bleu(_: EvalSuite) -> Score:
    """BLEU of the answer against the expected one."""
    return lambda question, answer: compute_bleu(answer, question.answer)


def compute_bleu(answer: str, expected: str) -> float:
    """Sentence BLEU of sacrebleu over 100: effective order, exponential smoothing.

    Post 2018, "A Call for Clarity in Reporting BLEU Scores" (WMT). Tokeniser by the expected
    answer: zh with Chinese characters, char with Japanese ones, else 13a.
    """
    score: float = _bleu(_choose_tokenizer(expected)).sentence_score(answer, [expected]).score
    return min(score / 100, 1.0)  # exp and log leave 100.00000000000004


def _choose_tokenizer(expected: str) -> Literal["zh", "char", "13a"]:
    if _KANA.search(expected):
        return "char"
    return "zh" if _HAN.search(expected) else "13a"


@cache
def _bleu(tokenizer: str) -> BLEU:
    return BLEU(tokenize=tokenizer, effective_order=True, smooth_method="exp")
