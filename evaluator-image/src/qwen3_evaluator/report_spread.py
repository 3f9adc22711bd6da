"""How scores and lengths spread: errors by category, thinking, loss per question. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from qwen3_api.job.evaluate import EvalJob, EvalSuite
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics import read_score
from qwen3_evaluator.report_answers import (
    Answers,
    choose_metric,
    clip,
    score_question,
)
from qwen3_evaluator.report_charts import (
    Axis,
    Bar,
    build_axis,
    build_bars,
    count_bins,
    format_number,
    quantile,
)

_STEPS = 10
_BINS = 20
_CATEGORIES = 30


@dataclass(frozen=True)
class Cell:
    """Errors of one model in one category."""

    share: float | None
    """1 - mean score; None when nothing was scored."""
    percent: str
    shade: int
    """0 (nothing wrong) to 10 (all wrong); colour."""


@dataclass(frozen=True)
class HeatRow:
    """One category."""

    category: str | None
    """None: the questions without one."""
    pooled: int
    """Above 0: so many small categories together."""
    n: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class HeatMap:
    """Errors of a suite: a row per category, a column per model."""

    suite: str
    metric: str
    binary: bool
    """All scores are 0 or 1: the error is the share of wrong answers."""
    models: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    total: HeatRow


@dataclass(frozen=True)
class Spread:
    """How a quantity of one model is distributed."""

    model: str
    mark: int
    count: int
    of: int
    """Answers (questions) that might have had the quantity."""
    median: str
    p90: str
    longest: str
    median_at: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class SpreadView:
    """Distributions of all models over one axis."""

    suite: str
    axis: Axis
    highest: str
    """Per cent of the values that the highest bar holds; one scale for all models."""
    spreads: tuple[Spread, ...]


def build_heat_maps(job: EvalJob, groups: Mapping[tuple[str, str], Answers]) -> list[HeatMap]:
    """A map per suite that scores answers by themselves and has more than one category."""
    maps = []
    for suite in job.suites:
        metric = choose_metric(suite)
        if not metric.facts.scores_one_answer:
            continue
        answers = {
            e.name: groups.get((suite.name, e.name), {}) for e in (job.target, *job.baselines)
        }
        categories = _categories(answers[job.target.name])
        if len(categories) > 1:
            maps.append(_heat_map(suite, metric, answers, categories))
    return maps


def _categories(answers: Answers) -> list[tuple[str | None, list[int]]]:
    """Lines by category, the largest first."""
    lines: dict[str | None, list[int]] = {}
    for line, samples in answers.items():
        lines.setdefault(samples[0].category, []).append(line)
    return sorted(lines.items(), key=lambda item: (-len(item[1]), item[0] or ""))


def _heat_map(
    suite: EvalSuite,
    metric: Metric,
    answers: Mapping[str, Answers],
    categories: Sequence[tuple[str | None, list[int]]],
) -> HeatMap:
    kept = categories if len(categories) <= _CATEGORIES else categories[: _CATEGORIES - 1]
    rest = categories[len(kept) :]
    rows = [
        _heat_row(None if c is None else clip(c, 80).text, 0, n, metric, answers) for c, n in kept
    ]
    rows.sort(key=lambda row: -(row.cells[0].share or 0.0))
    if rest:
        pooled = [line for _, lines in rest for line in lines]
        rows.append(_heat_row(None, len(rest), pooled, metric, answers))
    everything = [line for _, lines in categories for line in lines]
    scores = (
        read_score(sample, metric, None)
        for model in answers.values()
        for samples in model.values()
        for sample in samples
    )
    return HeatMap(
        suite=suite.name,
        metric=metric,
        binary=all(s in (0, 1) for s in scores if s is not None),
        models=tuple(answers),
        rows=tuple(rows),
        total=_heat_row(None, 0, everything, metric, answers),
    )


def _heat_row(
    category: str | None,
    pooled: int,
    lines: Sequence[int],
    metric: Metric,
    answers: Mapping[str, Answers],
) -> HeatRow:
    cells = tuple(_cell(lines, metric, model) for model in answers.values())
    return HeatRow(category, pooled, len(lines), cells)


def _cell(lines: Sequence[int], metric: Metric, answers: Answers) -> Cell:
    scores = [score_question(answers.get(line, ()), metric) for line in lines]
    known = [s for s in scores if s is not None]
    if not known:
        return Cell(None, "", 0)
    error = 1 - fmean(known)
    shade = min(max(round(_STEPS * error), 0), _STEPS)
    return Cell(error, format_number(100 * error, 0), shade)


def build_thinking(job: EvalJob, groups: Mapping[tuple[str, str], Answers]) -> list[SpreadView]:
    """Characters of reasoning per answer, of each suite in which a model has thought."""

    def lengths(answers: Answers) -> tuple[list[float], int]:
        every = [s for samples in answers.values() for s in samples if s.answer is not None]
        return [float(len(s.reasoning)) for s in every if s.reasoning], len(every)

    measured = {key: lengths(answers) for key, answers in groups.items()}
    return _spreads(job, measured, decimals=0)


def build_loss(job: EvalJob, groups: Mapping[tuple[str, str], Answers]) -> list[SpreadView]:
    """Loss per token of each question, of each suite that measures it."""

    def losses(answers: Answers) -> tuple[list[float], int]:
        every = [score_question(samples, Metric.ASSISTANT_LOSS) for samples in answers.values()]
        return [loss for loss in every if loss is not None], len(every)

    measured = {key: losses(answers) for key, answers in groups.items()}
    return _spreads(job, measured, decimals=2)


def _spreads(
    job: EvalJob, measured: Mapping[tuple[str, str], tuple[list[float], int]], *, decimals: int
) -> list[SpreadView]:
    views = []
    models = [e.name for e in (job.target, *job.baselines)]
    for suite in job.suites:
        found = {
            model: measured[suite.name, model]
            for model in models
            if measured.get((suite.name, model), ([], 0))[0]
        }
        if found:
            views.append(_spread_view(suite.name, models, found, decimals))
    return views


def _spread_view(
    suite: str, models: list[str], found: Mapping[str, tuple[list[float], int]], decimals: int
) -> SpreadView:
    every = [value for values, _ in found.values() for value in values]
    axis = build_axis([0.0, *every], intervals=5)
    counts = {model: count_bins(values, axis, _BINS) for model, (values, _) in found.items()}
    highest = max(max(c) / len(found[model][0]) for model, c in counts.items())
    spreads = []
    for model, (values, of) in found.items():
        ordered = sorted(values)
        median = quantile(ordered, 0.5)
        spreads.append(
            Spread(
                model=model,
                mark=models.index(model),
                count=len(values),
                of=of,
                median=format_number(median, decimals),
                p90=format_number(quantile(ordered, 0.9), decimals),
                longest=format_number(ordered[-1], decimals),
                median_at=axis.at(median),
                bars=tuple(build_bars(counts[model], highest, len(values))),
            )
        )
    return SpreadView(suite, axis, format_number(100 * highest, 0), tuple(spreads))
