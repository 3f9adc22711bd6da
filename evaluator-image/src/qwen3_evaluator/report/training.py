"""How the target was trained and what all of it cost, as the page shows it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from qwen3_api.job.evaluate import EvalJob, EvalReport
from qwen3_evaluator.report.charts import Axis, build_axis, format_number
from qwen3_evaluator.training import Curve, TrainingRecord

MOST_POINTS = 400
"""Of a curve: more than a phone has pixels for."""


@dataclass(frozen=True)
class CurveView:
    """A line of the chart."""

    key: str
    """Of its name: curve_loss or curve_eval_loss."""
    mark: int
    path: str
    """SVG path in a square of 100 by 100, y downwards."""
    dots: tuple[tuple[float, float], ...]
    """Its points where it has few, in per cent of width and height."""
    last: str
    lowest: str


@dataclass(frozen=True)
class TrainingView:
    """The section about the target's training."""

    revision: str
    facts: tuple[tuple[str, str], ...]
    """Keys of names, and values."""
    steps: Axis | None
    """None: there are no curves."""
    loss: Axis | None
    curves: tuple[CurveView, ...]
    best_at: float | None
    """Where the step lies whose weights were committed, if that is not the last."""


@dataclass(frozen=True)
class UsageRow:
    """Tokens of a model, or of the judges."""

    model: str | None
    """None: the judges."""
    mark: int
    prompt: str
    completion: str


def build_training(job: EvalJob, record: TrainingRecord | None) -> TrainingView | None:
    """Figures and curves; None without a record."""
    if job.training is None or record is None:
        return None
    metrics = record.commit.metrics
    hours = metrics.gpu_seconds / 3600
    facts = [
        ("training_steps", format_number(metrics.steps, 0)),
        ("training_epochs", f"{metrics.epochs:g}"),
        ("training_tokens", format_number(metrics.tokens, 0)),
        ("training_rows", format_number(metrics.rows, 0)),
        ("training_loss", format_number(metrics.final_loss)),
    ]
    if metrics.eval_loss is not None:
        facts.append(("training_eval_loss", format_number(metrics.eval_loss)))
    if metrics.gpu_seconds > 0:
        facts.append(("training_gpu", format_duration(metrics.gpu_seconds)))
        if job.training.price_per_gpu_hour is not None:
            cost = format_number(job.training.price_per_gpu_hour * hours, 2)
            facts.append(("training_cost", f"{cost} {job.training.currency}".strip()))
    curves = [c for c in (record.loss, record.eval_loss) if c]
    if not curves:
        return TrainingView(job.training.revision, tuple(facts), None, None, (), None)
    last = max(step for c in curves for step, _ in c)
    steps = build_axis([0.0, float(max(last, 1))])
    loss = build_axis([value for c in curves for _, value in c])
    return TrainingView(
        revision=job.training.revision,
        facts=tuple(facts),
        steps=steps,
        loss=loss,
        curves=tuple(
            _curve(key, mark, c, steps, loss)
            for mark, (key, c) in enumerate(
                (("curve_loss", record.loss), ("curve_eval_loss", record.eval_loss))
            )
            if c
        ),
        best_at=None if metrics.best_step is None else steps.at(metrics.best_step),
    )


def _curve(key: str, mark: int, curve: Curve, steps: Axis, loss: Axis) -> CurveView:
    points = [(steps.at(step), round(100 - loss.at(value), 2)) for step, value in thin(curve)]
    return CurveView(
        key=key,
        mark=mark,
        path="M" + "L".join(f"{x:g} {y:g}" for x, y in points),
        dots=tuple(points) if len(points) <= 12 else (),
        last=format_number(curve[-1][1]),
        lowest=format_number(min(value for _, value in curve)),
    )


def thin(curve: Curve, most: int = MOST_POINTS) -> Curve:
    """At most so many points, evenly spaced by their number, the first and the last among them."""
    if len(curve) <= most:
        return curve
    return [curve[round(k * (len(curve) - 1) / (most - 1))] for k in range(most)]


def build_usage(job: EvalJob, report: EvalReport) -> Sequence[UsageRow]:
    """Tokens by model in the order of the job, then the judges'."""
    marks = {e.name: k for k, e in enumerate((job.target, *job.baselines))}
    rows = [
        UsageRow(
            usage.model,
            marks.get(usage.model, 0),
            format_number(usage.prompt_tokens, 0),
            format_number(usage.completion_tokens, 0),
        )
        for usage in report.usage
    ]
    if report.judge is not None:
        prompt, completion = report.judge.prompt_tokens, report.judge.completion_tokens
        rows.append(UsageRow(None, 0, format_number(prompt, 0), format_number(completion, 0)))
    return rows


def format_duration(seconds: float) -> str:
    """Of GPU time: 45 s, 12.5 min, 3.2 h; the same in both languages."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{format_number(seconds / 3600, 1)} h"
