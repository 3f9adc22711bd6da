"""From what the preflight found to a run that fits the card: sizes, an estimate, a price. Pure."""

from dataclasses import dataclass

from qwen3_api.job.preflight import Preflight
from qwen3_api.job.report import Sizing
from qwen3_api.job.train import MAX_EVALUATION_ROWS
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_operator.finetune.gpu import resolve_card
from qwen3_operator.finetune.training.job_spec import is_quantized, resolve_epochs
from qwen3_operator.settings import Settings
from qwen3_sizing.plan import (
    DoesNotFit,
    Estimate,
    SizingRequest,
    estimate_run,
    plan_sizing,
)


@dataclass(frozen=True)
class FittedRun:
    """A run as it will be ordered."""

    sizing: Sizing
    longest: int
    """Tokens of the longest row that it is for."""
    memory_mib: int | None
    gpu: str | None
    estimate: Estimate
    message: str
    """Why it is cut this way."""


def fit_run(
    spec: FineTuneSpec, preflight: Preflight, settings: Settings, *, begun: bool | None = None
) -> FittedRun | FailureStatus:
    """Sizes for the card, or why none fit.

    begun: the revision has learnt with a base in 4 bits (True) or in 16 (False). Where the user
    names neither, that stays: what was learnt so far belongs to it.
    """
    if preflight.shape is None:
        return FailureStatus.of(
            Reason.TRAINER_FAILED,
            "preflight.json has no model shape",
            "Trainer image and operator have different versions; contact the platform team.",
            user=False,
        )
    card, hyper = resolve_card(spec, settings), spec.hyperparameters
    chosen = is_quantized(spec)
    request = SizingRequest(
        shape=preflight.shape,
        rank=spec.adapter.rank,
        target_modules=tuple(spec.adapter.target_modules),
        quantized=begun if chosen is None else chosen,
        method=spec.method.type,
        max_sequence_length=spec.dataset.max_sequence_length,
        lengths=preflight.lengths,
        rows=preflight.rows,
        tokens=preflight.tokens,
        effective_batch_size=hyper.effective_batch_size,
        # On a GPU-less platform a run with gpus 2 still trains side by side.
        gpus=max(1, spec.resources.gpus),
        micro_batch_size=hyper.micro_batch_size or None,
        gradient_checkpointing=hyper.gradient_checkpointing,
        epochs=resolve_epochs(hyper),
        max_steps=hyper.max_steps,
        validation_rows=min(preflight.validation_rows, MAX_EVALUATION_ROWS),
        evaluate_steps=spec.checkpoint.every_steps,
    )
    plan = plan_sizing(request, card)
    if isinstance(plan, DoesNotFit):
        return FailureStatus.of(Reason.DOES_NOT_FIT, plan.message, plan.hint)
    return FittedRun(
        sizing=Sizing(
            micro_batch_size=plan.micro_batch_size,
            gradient_accumulation_steps=plan.gradient_accumulation_steps,
            gradient_checkpointing=plan.gradient_checkpointing,
            quantized=plan.quantized,
            padding_free=plan.padding_free,
        ),
        longest=request.longest,
        memory_mib=plan.memory_mib if card else None,
        gpu=card.name if card else None,
        estimate=estimate_run(request, plan, card),
        message=plan.message,
    )
