"""From samples to scores by question, and from those to results and comparisons. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from qwen3_api.job.evaluate import EvalComparison, EvalJob, EvalResult, EvalSample
from qwen3_api.metrics import Aggregation, Metric
from qwen3_evaluator.metrics import read_score
from qwen3_evaluator.statistics import (
    Difference,
    Floats,
    Loss,
    LossDifference,
    Mean,
    MeanDifference,
    Quantity,
)

LEVEL = 0.95
"""Of the intervals in results and comparisons."""


@dataclass(frozen=True)
class Scores:
    """Samples of a whole evaluation, by suite and model, then by line."""

    samples: Mapping[tuple[str, str], Mapping[int, list[EvalSample]]]

    @classmethod
    def from_samples(cls, samples: Iterable[EvalSample]) -> "Scores":
        """Sort the samples."""
        groups: dict[tuple[str, str], dict[int, list[EvalSample]]] = {}
        for sample in samples:
            group = groups.setdefault((sample.suite, sample.model), {})
            group.setdefault(sample.line, []).append(sample)
        return cls(groups)

    def value(
        self, suite: str, metric: Metric, model: str, baseline: str | None = None
    ) -> Quantity | None:
        """The metric of a model; None when nothing was scored.

        baseline: only for a metric per baseline, whom the model was compared with.
        """
        if metric.facts.aggregation is Aggregation.WEIGHTED_BY_LENGTH:
            losses = self._losses(suite, model)
            return _loss(losses, sorted(losses)) if losses else None
        scores = self._scores(suite, metric, model, baseline)
        return Mean(_column(scores, sorted(scores))) if scores else None

    def difference(
        self, suite: str, metric: Metric, target: str, baseline: str
    ) -> Difference | None:
        """Target minus baseline, over the questions that both have a score of; None without any."""
        if metric.facts.aggregation is Aggregation.WEIGHTED_BY_LENGTH:
            mine, theirs = self._losses(suite, target), self._losses(suite, baseline)
            lines = sorted(mine.keys() & theirs.keys())
            return LossDifference(_loss(mine, lines), _loss(theirs, lines)) if lines else None
        ours = self._scores(suite, metric, target, None)
        others = self._scores(suite, metric, baseline, None)
        lines = sorted(ours.keys() & others.keys())
        return MeanDifference(_column(ours, lines), _column(others, lines)) if lines else None

    def _scores(
        self, suite: str, metric: Metric, model: str, baseline: str | None
    ) -> dict[int, float]:
        """Mean over the answers to each question, by line."""
        found = {}
        for line, samples in self.samples.get((suite, model), {}).items():
            known = [s for x in samples if (s := read_score(x, metric, baseline)) is not None]
            if known:
                found[line] = fmean(known)
        return found

    def _losses(self, suite: str, model: str) -> dict[int, tuple[float, int]]:
        """Nats and tokens of each expected answer, by line."""
        return {
            line: (sample.loss, sample.answer_tokens)
            for line, samples in self.samples.get((suite, model), {}).items()
            for sample in samples
            if sample.loss is not None and sample.answer_tokens
        }


def _column(scores: Mapping[int, float], lines: list[int]) -> Floats:
    return np.array([scores[line] for line in lines], dtype=np.float64)


def _loss(losses: Mapping[int, tuple[float, int]], lines: list[int]) -> Loss:
    pairs = np.array([losses[line] for line in lines], dtype=np.float64)
    return Loss(pairs[:, 0], pairs[:, 1])


def build_results(job: EvalJob, scores: Scores) -> list[EvalResult]:
    """One result per suite, model and metric, in the order of the job; what was scored only."""
    results = []
    for suite in job.suites:
        for endpoint in (job.target, *job.baselines):
            for metric in suite.metrics:
                if not metric.facts.per_baseline:
                    value = scores.value(suite.name, metric, endpoint.name)
                    results.append(_result(suite.name, metric, endpoint.name, None, value))
                elif endpoint is job.target:
                    results += [
                        _result(
                            *(suite.name, metric, job.target.name, b.name),
                            scores.value(suite.name, metric, job.target.name, b.name),
                        )
                        for b in job.baselines
                    ]
    return [result for result in results if result is not None]


def _result(
    suite: str, metric: Metric, model: str, baseline: str | None, value: Quantity | None
) -> EvalResult | None:
    if value is None:
        return None
    interval = value.interval(LEVEL)
    return EvalResult(
        suite=suite,
        metric=metric,
        model=model,
        baseline=baseline,
        value=value.estimate,
        low=interval and interval.low,
        high=interval and interval.high,
        samples=value.n,
    )


def build_comparisons(job: EvalJob, scores: Scores) -> list[EvalComparison]:
    """The target against each baseline by each metric that isn't a comparison by itself."""
    comparisons = []
    for suite in job.suites:
        for baseline in job.baselines:
            for metric in suite.metrics:
                if metric.facts.per_baseline:
                    continue
                found = scores.difference(suite.name, metric, job.target.name, baseline.name)
                if found is not None:
                    comparisons.append(_comparison(suite.name, metric, baseline.name, found))
    return comparisons


def _comparison(suite: str, metric: Metric, baseline: str, found: Difference) -> EvalComparison:
    interval = found.interval(LEVEL)
    return EvalComparison(
        suite=suite,
        metric=metric,
        baseline=baseline,
        delta=found.estimate,
        low=interval and interval.low,
        high=interval and interval.high,
        p_value=found.p_value(),
        better=found.better,
        worse=found.worse,
        samples=found.n,
    )
