"""What the page shows, as values: headline, gates, scores, provenance and the rest. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qwen3_api.job.base import Failure
from qwen3_api.job.evaluate import (
    EvalComparison,
    EvalGate,
    EvalGateResult,
    EvalJob,
    EvalReport,
    EvalResult,
    EvalSample,
    EvalSuite,
    JudgeUsage,
)
from qwen3_api.metrics import OF_WEAVE, Metric, Unit
from qwen3_evaluator.questions import describe
from qwen3_evaluator.report_answers import group_answers
from qwen3_evaluator.report_changes import ChangesView, Limits, build_changes
from qwen3_evaluator.report_charts import (
    Axis,
    Tick,
    Whisker,
    build_axis,
    build_whisker,
    format_number,
    format_signed,
)
from qwen3_evaluator.report_spread import (
    HeatMap,
    SpreadView,
    build_heat_maps,
    build_loss,
    build_thinking,
)
from qwen3_evaluator.report_texts import Phrase
from qwen3_evaluator.report_training import TrainingView, UsageRow, build_training, build_usage
from qwen3_evaluator.trackers.environment import evaluations_url, run_url
from qwen3_evaluator.training import TrainingRecord

Word = Literal["Passed", "Failed", "Inconclusive", "Completed", "Error"]


@dataclass(frozen=True)
class Headline:
    """The verdict in words."""

    word: Word
    lead: Phrase
    failure: Failure | None


@dataclass(frozen=True)
class GateView:
    """A gate: what was asked for, what was found."""

    name: str
    verdict: str
    condition: Phrase | None
    confidence: str | None
    against_baseline: bool
    estimate: str | None
    bounds: str | None
    samples: str
    needed: str | None
    message: str
    axis: Axis | None
    whisker: Whisker | None
    bound_at: float | None
    """Where the condition lies on the axis."""
    effect_at: float | None
    """Where the smallest improvement worth having lies."""


@dataclass(frozen=True)
class ScoreRow:
    """A metric of a model (of a pair, for a metric per baseline)."""

    model: str
    baseline: str | None
    mark: int
    value: str
    interval: str | None
    samples: str
    whisker: Whisker


@dataclass(frozen=True)
class DifferenceRow:
    """The target minus a baseline."""

    baseline: str
    mark: int
    delta: str
    interval: str | None
    p: str | None
    better: str
    worse: str
    samples: str


@dataclass(frozen=True)
class MetricScores:
    """A metric of a suite: a panel of the chart, a group of rows of the table."""

    metric: Metric
    unit: str
    """Key of the text that says what the axis shows."""
    axis: Axis
    reference_at: float | None
    """A line that means no difference."""
    rows: tuple[ScoreRow, ...]
    differences: tuple[DifferenceRow, ...]


@dataclass(frozen=True)
class SuiteScores:
    """All metrics of a suite."""

    suite: str
    metrics: tuple[MetricScores, ...]

    @property
    def compared(self) -> bool:
        """Whether there is a difference to show."""
        return any(m.differences for m in self.metrics)


@dataclass(frozen=True)
class SuiteSource:
    """Where a suite's questions came from and how they were asked."""

    suite: EvalSuite
    source: str
    sha256: str | None
    examples: str | None
    """Where a benchmark's worked examples came from."""
    examples_sha256: str | None


@dataclass(frozen=True)
class Page:
    """Everything that the template needs."""

    job: EvalJob
    report: EvalReport
    headline: Headline
    questions: str
    gates: tuple[GateView, ...]
    scores: tuple[SuiteScores, ...]
    changes: tuple[ChangesView, ...]
    heat_maps: tuple[HeatMap, ...]
    thinking: tuple[SpreadView, ...]
    loss: tuple[SpreadView, ...]
    training: TrainingView | None
    usage: tuple[UsageRow, ...]
    judge: JudgeUsage | None
    links: tuple[tuple[str, str], ...]
    """Names and addresses at the trackers, those that are known beforehand."""
    sources: tuple[SuiteSource, ...]
    traced: tuple[str, int]
    """Suite and line of the example of how to trace a figure."""


def build_page(
    job: EvalJob,
    report: EvalReport,
    samples: Sequence[EvalSample],
    limits: Limits,
    training: TrainingRecord | None = None,
) -> Page:
    """The page of a report. A failed one has headline and provenance only."""
    groups = group_answers(samples) if report.outcome == "Completed" else {}
    changes = build_changes(job, groups, limits)
    lines = {(s.suite, s.line) for s in samples}
    return Page(
        job=job,
        report=report,
        headline=build_headline(report),
        questions=format_number(len(lines), 0),
        gates=tuple(build_gate(job, gate) for gate in report.gates),
        scores=tuple(build_scores(job, report)),
        changes=tuple(changes),
        heat_maps=tuple(build_heat_maps(job, groups)),
        thinking=tuple(build_thinking(job, groups)),
        loss=tuple(build_loss(job, groups)),
        training=build_training(job, training),
        usage=tuple(build_usage(job, report)),
        judge=report.judge,
        links=tuple(
            (name, url)
            for name, url in (("W&B", run_url(job)), ("Weave", evaluations_url(job)))
            if url is not None and report.outcome == "Completed"
        ),
        sources=tuple(build_source(suite, report) for suite in job.suites),
        traced=_example(job, changes),
    )


def build_headline(report: EvalReport) -> Headline:
    """The verdict and a sentence that says how it came about."""
    if report.outcome == "Failed":
        return Headline("Error", Phrase("lead_error"), report.failure)
    n = len(report.gates)
    count = {"n": n, "k": sum(gate.verdict == report.verdict for gate in report.gates)}
    lead = {
        "Passed": Phrase("lead_passed_one") if n == 1 else Phrase("lead_passed", count),
        "Failed": Phrase("lead_failed", count),
        "Inconclusive": Phrase("lead_inconclusive", count),
        "Completed": Phrase("lead_completed"),
    }[report.verdict]
    return Headline(report.verdict, lead, None)


def build_gate(job: EvalJob, result: EvalGateResult) -> GateView:
    """A gate's result beside the condition that the order set."""
    gate = next((g for g in job.gates if g.name == result.name), None)
    bound = None if gate is None else _bound(gate)
    effect = None if gate is None else gate.minimum_effect
    place = None if bound is None else bound[1]
    numbers = (result.estimate, result.low, result.high, place, effect)
    known = [x for x in numbers if x is not None]
    axis = build_axis(known) if result.estimate is not None else None
    against = gate is not None and gate.baseline is not None
    number = format_signed if against else format_number
    return GateView(
        name=result.name,
        verdict=result.verdict,
        condition=None if gate is None or bound is None else _condition(gate, bound[0]),
        confidence=None if gate is None else format_number(100 * gate.confidence, 0),
        against_baseline=against,
        estimate=None if result.estimate is None else number(result.estimate),
        bounds=_interval(result.low, result.high, signed=against),
        samples=format_number(result.samples, 0),
        needed=None if result.needed_samples is None else format_number(result.needed_samples, 0),
        message=result.message,
        axis=axis,
        whisker=None
        if axis is None or result.estimate is None
        else build_whisker(axis, result.estimate, result.low, result.high),
        bound_at=None if axis is None or place is None else axis.at(place),
        effect_at=None if axis is None or effect is None else axis.at(effect),
    )


def _bound(gate: EvalGate) -> tuple[str, float] | None:
    """The field that is set, and where the condition lies on the axis of the estimate.

    maxRegression: an improvement of at least minus that. minimumEffect: passed above no
    improvement at all, so the line is at 0.
    """
    if gate.minimum is not None:
        return "minimum", gate.minimum
    if gate.maximum is not None:
        return "maximum", gate.maximum
    if gate.max_regression is not None:
        return "max_regression", -gate.max_regression
    return None if gate.minimum_effect is None else ("minimum_effect", 0.0)


def _condition(gate: EvalGate, field: str) -> Phrase:
    bound: float = getattr(gate, field)
    return Phrase(
        f"gate_{field}",
        {
            "metric": gate.metric,
            "suite": gate.suite,
            "baseline": gate.baseline or "",
            "bound": f"{bound:g}",
        },
    )


def build_scores(job: EvalJob, report: EvalReport) -> list[SuiteScores]:
    """Panels and tables in the order of the job; what has no result is left out."""
    marks = {e.name: k for k, e in enumerate((job.target, *job.baselines))}
    suites = []
    for suite in job.suites:
        metrics = [
            _metric_scores(metric, results, report.comparisons, marks)
            for metric in suite.metrics
            if (results := _results_of(report, suite.name, metric))
        ]
        if metrics:
            suites.append(SuiteScores(suite.name, tuple(metrics)))
    return suites


def _results_of(report: EvalReport, suite: str, metric: Metric) -> list[EvalResult]:
    return [r for r in report.results if r.suite == suite and r.metric == metric]


def _metric_scores(
    metric: Metric,
    results: Sequence[EvalResult],
    comparisons: Sequence[EvalComparison],
    marks: dict[str, int],
) -> MetricScores:
    numbers = [x for r in results for x in (r.value, r.low, r.high) if x is not None]
    # A score's axis is all that it can be; a loss has no upper end.
    axis = build_axis(numbers) if metric.facts.unit is Unit.NATS else UNIT_AXIS
    return MetricScores(
        metric=metric,
        unit="unit_weave" if metric in OF_WEAVE else UNIT_TEXTS[metric.facts.unit],
        axis=axis,
        reference_at=50.0 if metric.facts.unit is Unit.WINS else None,
        rows=tuple(_score_row(r, axis, marks) for r in results),
        differences=tuple(
            _difference_row(c, marks)
            for c in comparisons
            if c.suite == results[0].suite and c.metric == metric
        ),
    )


UNIT_TEXTS = {Unit.SHARE: "unit_score", Unit.NATS: "unit_loss", Unit.WINS: "unit_win"}
UNIT_AXIS = Axis(0.0, 1.0, tuple(Tick(100.0 * k / 4, format_number(k / 4, 2)) for k in range(5)))


def _score_row(result: EvalResult, axis: Axis, marks: dict[str, int]) -> ScoreRow:
    return ScoreRow(
        model=result.model,
        baseline=result.baseline,
        mark=marks.get(result.model if result.baseline is None else result.baseline, 0),
        value=format_number(result.value),
        interval=_interval(result.low, result.high),
        samples=format_number(result.samples, 0),
        whisker=build_whisker(axis, result.value, result.low, result.high),
    )


def _difference_row(comparison: EvalComparison, marks: dict[str, int]) -> DifferenceRow:
    return DifferenceRow(
        baseline=comparison.baseline,
        mark=marks.get(comparison.baseline, 0),
        delta=format_signed(comparison.delta),
        interval=_interval(comparison.low, comparison.high, signed=True),
        p=None if comparison.p_value is None else format_p(comparison.p_value),
        better=format_number(comparison.better, 0),
        worse=format_number(comparison.worse, 0),
        samples=format_number(comparison.samples, 0),
    )


def format_p(p: float) -> str:
    """Three decimals; what is smaller is only called so."""
    return "<0.001" if p < 0.001 else format_number(p)


def _interval(low: float | None, high: float | None, *, signed: bool = False) -> str | None:
    """Both ends; an end that is not known is open."""
    if low is None and high is None:
        return None
    number = format_signed if signed else format_number
    return f"[{'…' if low is None else number(low)}, {'…' if high is None else number(high)}]"


def build_source(suite: EvalSuite, report: EvalReport) -> SuiteSource:
    """Where the questions of a suite are."""
    examples = suite.benchmark.examples if suite.benchmark is not None else None
    return SuiteSource(
        suite,
        describe(suite.data),
        report.data_sha256.get(suite.name),
        describe(examples) if examples is not None else None,
        report.data_sha256.get(f"{suite.name}.examples"),
    )


def _example(job: EvalJob, changes: Sequence[ChangesView]) -> tuple[str, int]:
    for view in changes:
        for found in view.lists:
            for item in found.items:
                return view.suite, item.line
    return job.suites[0].name, 1
