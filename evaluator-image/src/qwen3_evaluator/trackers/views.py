"""What the trackers are shown, as plain values. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from qwen3_api.job.evaluate import EvalJob, EvalReport, EvalSample
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics import read_score

MOST_ROWS = 10_000
"""Rows of the table at W&B (its own advice), and answers of one evaluation at Weave."""
_COLUMNS = (
    *("suite", "model", "line", "sample", "category", "question", "expected", "answer"),
    "reasoning",
)


@dataclass(frozen=True)
class EvaluatedSuite:
    """One suite put to one model: an evaluation at Weave."""

    suite: str
    model: str
    """`target`, or the baseline's name."""
    model_id: str
    rows: list[dict[str, Any]]
    """The questions: the same for every model of the suite, whatever it answered."""
    answers: list["Answer"]
    left_out: int
    """Answers beyond MOST_ROWS."""
    summary: dict[str, Any]
    """Of the report: by metric, value, interval and difference."""


@dataclass(frozen=True)
class Answer:
    """An answer and its scores."""

    row: int
    """Index into the rows."""
    output: dict[str, Any]
    scores: dict[str, float]


def build_summary(report: EvalReport) -> dict[str, str | float | int]:
    """Every figure of the report under a name of its own: suite/metric/model."""
    summary: dict[str, str | float | int] = {"verdict": report.verdict}
    for r in report.results:
        name = f"{r.suite}/{r.metric}/{r.model}" + (f"-against-{r.baseline}" if r.baseline else "")
        summary[name] = r.value
    for c in report.comparisons:
        summary[f"{c.suite}/{c.metric}/delta-{c.baseline}"] = c.delta
    for gate in report.gates:
        summary[f"gates/{gate.name}"] = gate.verdict
    for usage in report.usage:
        summary[f"tokens/{usage.model}/prompt"] = usage.prompt_tokens
        summary[f"tokens/{usage.model}/completion"] = usage.completion_tokens
    if report.judge is not None:
        summary["tokens/judges/prompt"] = report.judge.prompt_tokens
        summary["tokens/judges/completion"] = report.judge.completion_tokens
    return summary


def build_table(
    job: EvalJob, samples: Sequence[EvalSample]
) -> tuple[list[str], list[list[str | float | int | None]]]:
    """Columns and rows of the table of answers, the first MOST_ROWS."""
    scored = [
        (metric, baseline)
        for metric in dict.fromkeys(m for suite in job.suites for m in suite.metrics)
        for baseline in ([b.name for b in job.baselines] if metric.facts.per_baseline else [None])
    ]
    columns = [*_COLUMNS, *(_score_name(m, b) for m, b in scored)]
    return columns, [
        [
            *(getattr(sample, name) for name in _COLUMNS),
            *(read_score(sample, m, b) for m, b in scored),
        ]
        for sample in samples[:MOST_ROWS]
    ]


def build_evaluated(
    job: EvalJob, report: EvalReport, samples: Sequence[EvalSample]
) -> Iterator[EvaluatedSuite]:
    """Every suite put to every model, the target first."""
    by_suite: dict[tuple[str, str], list[EvalSample]] = {}
    for sample in samples:
        by_suite.setdefault((sample.suite, sample.model), []).append(sample)
    for suite in job.suites:
        # Questions of the target: every model is asked the same.
        questions = {s.line: s for s in by_suite.get((suite.name, job.target.name), ())}
        places = {line: n for n, line in enumerate(questions)}
        rows = [
            {
                "line": s.line,
                "question": s.question,
                "expected": s.expected,
                "category": s.category,
            }
            for s in questions.values()
        ]
        for endpoint in (job.target, *job.baselines):
            found = by_suite.get((suite.name, endpoint.name), [])
            yield EvaluatedSuite(
                suite=suite.name,
                model=endpoint.name,
                model_id=endpoint.model,
                rows=rows,
                answers=[
                    Answer(
                        row=places[s.line],
                        output={"answer": s.answer, "reasoning": s.reasoning},
                        scores=_scores(job, s, suite.metrics),
                    )
                    for s in found[:MOST_ROWS]
                ],
                left_out=max(0, len(found) - MOST_ROWS),
                summary=_summary(report, suite.name, endpoint.name),
            )


def _scores(job: EvalJob, sample: EvalSample, metrics: Sequence[Metric]) -> dict[str, float]:
    return {
        _score_name(metric, baseline): score
        for metric in metrics
        for baseline in ([b.name for b in job.baselines] if metric.facts.per_baseline else [None])
        if (score := read_score(sample, metric, baseline)) is not None
    }


def _score_name(metric: Metric, baseline: str | None) -> str:
    """Weave takes letters, digits and underscores, and drops the rest."""
    # A plain str: W&B refuses columns of a subclass, as members of an enum are.
    return metric.value if baseline is None else f"{metric}_{baseline.replace('-', '_')}"


def _summary(report: EvalReport, suite: str, model: str) -> dict[str, Any]:
    figures: dict[str, Any] = {
        _score_name(r.metric, r.baseline): {
            "value": r.value,
            "low": r.low,
            "high": r.high,
            "questions": r.samples,
        }
        for r in report.results
        if (r.suite, r.model) == (suite, model)
    }
    against: dict[str, Any] = {
        f"{_score_name(c.metric, c.baseline)}_delta": {
            "delta": c.delta,
            "low": c.low,
            "high": c.high,
            "p": c.p_value,
        }
        for c in report.comparisons
        if c.suite == suite and model == "target"
    }
    return figures | against | {"verdict": report.verdict}
