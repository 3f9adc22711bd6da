"""Samples by question: the score of a question, its representative answer, texts cut to fit."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from qwen3_api.job.evaluate import EvalSample, EvalSuite
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics import read_score

Answers = Mapping[int, Sequence[EvalSample]]
"""Answers of one model to one suite: by line of the data, in the order of `sample`."""

_HAN = re.compile(r"[㐀-䶿一-鿿豈-﫿]")
_KANA = re.compile(r"[぀-ヿ]")
_HANGUL = re.compile(r"[가-힯]")
_LATIN = re.compile(r"[A-Za-z]")
# All but tab and newline: no browser shows them, and HTML forbids most.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Clipped:
    """A text cut to fit."""

    text: str
    left_out: int
    """Characters that are not in `text`."""
    lang: str | None
    """BCP 47, where the script tells it."""


def clip(text: str, limit: int) -> Clipped:
    """The first `limit` characters. Control characters and lone surrogates become U+FFFD."""
    kept = _CONTROL.sub("\ufffd", text[:limit].replace("\r\n", "\n"))
    return Clipped(kept, max(0, len(text) - limit), detect_language(text[:2000]))


def detect_language(text: str) -> str | None:
    """zh-Hans, ja or ko where the script is telling, else None.

    It picks glyphs and line breaking, so a wrong guess costs little. One Han character says as
    much as about three Latin letters.
    """
    han = len(_HAN.findall(text))
    if _KANA.search(text):
        return "ja"
    if _HANGUL.search(text):
        return "ko"
    return "zh-Hans" if han and 3 * han >= len(_LATIN.findall(text)) else None


def group_answers(
    samples: Iterable[EvalSample],
) -> dict[tuple[str, str], dict[int, list[EvalSample]]]:
    """Answers by suite and model, then by line; lines and samples in ascending order."""
    groups: dict[tuple[str, str], dict[int, list[EvalSample]]] = {}
    for sample in sorted(samples, key=lambda s: (s.line, s.sample)):
        group = groups.setdefault((sample.suite, sample.model), {})
        group.setdefault(sample.line, []).append(sample)
    return groups


def choose_metric(suite: EvalSuite) -> Metric:
    """What the suite's questions are sorted by: its first metric that scores an answer by itself;
    else one of pairs of answers; else one that needs no answer."""
    alone = [m for m in suite.metrics if m.facts.scores_one_answer]
    return (alone or sorted(suite.metrics, key=lambda m: not m.facts.needs_answer))[0]


def score_question(
    answers: Sequence[EvalSample], metric: Metric, baseline: str | None = None
) -> float | None:
    """Mean score of the answers to one question; None when none is scored."""
    scores = [read_score(s, metric, baseline) for s in answers]
    known = [s for s in scores if s is not None]
    return fmean(known) if known else None


def choose_answer(
    answers: Sequence[EvalSample],
    metric: Metric,
    baseline: str | None = None,
    *,
    best: bool = False,
) -> EvalSample:
    """The answer that stands for its question: its score is the nearest to their mean.

    Of several that are as near, the best or the worst: of 0 and 1 with a mean of 0.5, the one that
    shows what the question is listed for.
    """
    mean = score_question(answers, metric, baseline)
    sign = -1 if best != metric.facts.lower_is_better else 1

    def rank(sample: EvalSample) -> tuple[float, float]:
        score = read_score(sample, metric, baseline)
        if score is None or mean is None:
            return math.inf, 0.0
        # Rounded: means of thirds make equal distances differ in the last bit.
        return round(abs(score - mean), 9), sign * score

    return min(answers, key=rank)
