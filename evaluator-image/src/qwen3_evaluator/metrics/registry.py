"""The code of each metric of the API, and what the rest of the program needs to know of suites."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from qwen3_api.job.evaluate import EvalSample, EvalSuite
from qwen3_api.metrics import Metric, ScoredBy
from qwen3_evaluator.questions import Question

Score = Callable[[Question, str], float]
"""From a question and an answer to a score, 0 to 1. Raises FailureError: it can't be applied."""
Build = Callable[[EvalSuite], Score]
"""From a suite to its score function. Raises FailureError: the suite's fields can't be used."""
Read = Callable[[EvalSample, str | None], float | None]
"""The number that a sample has; None: it has none. The baseline is given per baseline only."""
_B = TypeVar("_B", bound=Build)
_R = TypeVar("_R", bound=Read)


@dataclass(frozen=True)
class Implementation:
    """The code of a metric."""

    module: str
    read: Read
    build: Build | None = None
    """None: something else than the answer's text makes the number."""


IMPLEMENTATIONS: dict[Metric, Implementation] = {}


def scorer(metric: Metric) -> Callable[[_B], _B]:
    """Declare the metric's score function, which needs only the answer's text."""

    def register(build: _B) -> _B:
        _add(metric, Implementation(build.__module__, _read_scores(metric), build))
        return build

    return register


def reader(metric: Metric) -> Callable[[_R], _R]:
    """Declare where a sample has the number of a metric that something else scores."""

    def register(read: _R) -> _R:
        _add(metric, Implementation(read.__module__, read))
        return read

    return register


def stored(module: str, *metrics: Metric) -> None:
    """Declare that something else puts the numbers of these metrics into the sample's scores."""
    for metric in metrics:
        _add(metric, Implementation(module, _read_scores(metric)))


def _add(metric: Metric, implementation: Implementation) -> None:
    if metric in IMPLEMENTATIONS:
        raise ValueError(f"{metric} is declared by {IMPLEMENTATIONS[metric].module} already")
    if (metric.facts.scored_by is ScoredBy.ANSWER) != (implementation.build is not None):
        raise ValueError(
            f"{metric} is scored by {metric.facts.scored_by}: "
            "@scorer is for the answer's text, @reader and stored for the rest"
        )
    IMPLEMENTATIONS[metric] = implementation


def _read_scores(metric: Metric) -> Read:
    return lambda sample, _: sample.scores.get(metric)


def read_score(sample: EvalSample, metric: Metric, baseline: str | None) -> float | None:
    """A sample's number by the metric; None when it has none.

    baseline: whom the answer was compared with, for a metric per baseline.
    """
    return IMPLEMENTATIONS[metric].read(sample, baseline)


class Scorer:
    """Scores answers by those metrics of a suite that the answer's text is enough for.

    Raises FailureError when made: a field of the suite can't be used.
    """

    def __init__(self, suite: EvalSuite) -> None:
        self._scores = {
            metric: build(suite)
            for metric in suite.metrics
            if (build := IMPLEMENTATIONS[metric].build) is not None
        }

    def score(self, question: Question, answer: str) -> dict[Metric, float]:
        """Score of the answer by metric.

        Raises FailureError: a pattern or schema can't be applied to it.
        """
        return {metric: score(question, answer) for metric, score in self._scores.items()}


def needs_answer(suite: EvalSuite) -> bool:
    """Whether the models have to generate answers."""
    return any(metric.facts.needs_answer for metric in suite.metrics)


def needs_loss(suite: EvalSuite) -> bool:
    """Whether the expected answer's log-probabilities are needed."""
    return any(metric.facts.scored_by is ScoredBy.LOG_PROBABILITIES for metric in suite.metrics)


def needs_pattern(suite: EvalSuite) -> bool:
    """Whether each row has a field `pattern`."""
    return any(metric.facts.needs_pattern for metric in suite.metrics)
