"""Frozen views of evaluations."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from qwen3_api.v1alpha1.evaluation import EvalSpec, EvalStatus
from qwen3_operator.resources.views import Meta, Object, explain_invalid, parse_meta, parse_time


@dataclass(frozen=True)
class Evaluation:
    """A parsed Qwen3Eval."""

    meta: Meta
    spec: EvalSpec | None
    status: EvalStatus
    error: str = ""


@dataclass(frozen=True)
class ScheduledRun:
    """A Qwen3Eval that a schedule made."""

    scheduled: datetime
    """The time that it runs for."""
    evaluation: Evaluation


def parse_evaluation(body: Object) -> Evaluation:
    """A Qwen3Eval; never raises on a bad spec."""
    status = EvalStatus.model_validate(body.get("status") or {})
    try:
        spec = EvalSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return Evaluation(parse_meta(body), None, status, explain_invalid(error))
    return Evaluation(parse_meta(body), spec, status)


def parse_run(body: Object) -> ScheduledRun | None:
    """A run of a schedule; None if it doesn't say for which time."""
    told = (body["metadata"].get("annotations") or {}).get("qwen3.dev/scheduled-time")
    try:
        scheduled = parse_time(told) if told else None
    except ValueError:
        scheduled = None
    return ScheduledRun(scheduled, parse_evaluation(body)) if scheduled is not None else None
