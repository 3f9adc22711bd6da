"""Frozen views of evaluations."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from qwen3_api.v1alpha1.adapter_target import AdapterTarget
from qwen3_api.v1alpha1.evaluation import EvalSpec, EvalStatus, FineTuneTarget
from qwen3_operator.resources.placement import resolve_placement
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import (
    Meta,
    Object,
    explain_invalid,
    parse_meta,
    parse_time,
    salvage,
)
from qwen3_operator.settings import Settings


@dataclass(frozen=True)
class UnreadableEvaluation:
    """A Qwen3Eval whose stored spec breaks a rule that is newer than it."""

    meta: Meta
    status: EvalStatus
    error: str
    """The rule, with the path of the field."""
    cause: Exception | None = None
    """The exception that reading the object raised, where that isn't a broken rule; its own
    reconcile raises it again."""


@dataclass(frozen=True)
class ReadableEvaluation:
    """A Qwen3Eval, and what follows from its spec and the platform's settings alone."""

    meta: Meta
    spec: EvalSpec
    status: EvalStatus
    storage: StorageTarget | None
    """The bucket of output.s3; None while the settings don't have it."""
    pool: str | None
    """Name of the pool of target.adapter.baseModel; None where that is left out."""


Evaluation = ReadableEvaluation | UnreadableEvaluation


@dataclass(frozen=True)
class ScheduledRun:
    """A Qwen3Eval that a schedule made."""

    scheduled: datetime
    """The time that it runs for."""
    evaluation: Evaluation


def parse_evaluation(body: Object, settings: Settings) -> Evaluation:
    """A Qwen3Eval; never raises on a bad spec."""
    meta, status = parse_meta(body), EvalStatus.model_validate(body.get("status") or {})
    try:
        spec = EvalSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return UnreadableEvaluation(meta, status, explain_invalid(error))
    base = spec.target.adapter.base_model if spec.target.adapter is not None else None
    placement = resolve_placement(spec.output.s3, base, settings)
    return ReadableEvaluation(meta, spec, status, placement.storage, placement.pool)


def salvage_evaluation(body: Object, cause: Exception) -> UnreadableEvaluation:
    """An object that can't be read for a reason that nobody expected."""
    status = salvage(EvalStatus, body.get("status"), ("verdict", "conditions"))
    return UnreadableEvaluation(
        parse_meta(body), status, f"{type(cause).__name__}: {cause}", cause=cause
    )


def named_fine_tunes(spec: EvalSpec) -> set[str]:
    """Names of the fine-tunes that an evaluation queries, or whose adapter it does."""
    names = {t.name for t in fine_tune_targets(spec)}
    adapter = spec.target.adapter
    if adapter is not None and adapter.fine_tune is not None:
        names.add(adapter.fine_tune.name)
    return names


def fine_tune_targets(spec: EvalSpec) -> list[FineTuneTarget]:
    """Target and baselines that are fine-tunes."""
    found = [spec.target.fine_tune, *(b.fine_tune for b in spec.baselines)]
    return [t for t in found if t is not None]


def wants_adapter(ev: ReadableEvaluation) -> AdapterTarget | None:
    """The adapter that has to be loaded for an evaluation now; None if none has. It stays until the
    verdict: the Job may query it at any time before."""
    if ev.meta.deleting or ev.spec.suspend or ev.status.verdict is not None:
        return None
    return ev.spec.target.adapter


def parse_run(body: Object, settings: Settings) -> ScheduledRun | None:
    """A run of a schedule; None if it doesn't name its time."""
    told = (body["metadata"].get("annotations") or {}).get("qwen3.dev/scheduled-time")
    try:
        scheduled = parse_time(told) if told else None
    except ValueError:
        scheduled = None
    if scheduled is None:
        return None
    return ScheduledRun(scheduled, parse_evaluation(body, settings))
