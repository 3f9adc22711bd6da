"""The training loop: TRL's SFTTrainer, a callback that reports and obeys, and what came out."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import datasets
import transformers
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState
from trl import SFTConfig, SFTTrainer

from qwen3_api.job.train import JobHyperparameters
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import TrainerError, classify
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import Saved, Started, Step, Stopped, Trained, TrainPlan
from qwen3_trainer.worker.model import LoadedModel
from qwen3_trainer.worker.stop import StopFlag
from qwen3_trainer.worker.tokens import (
    TokenizedRows,
    TrainingTemplate,
    tokenize,
    training_template,
)

log = logging.getLogger(__name__)

MAX_EVALUATION_ROWS = 1000
"""Validation rows used during training: an evaluation holds up a checkpoint on SIGTERM."""
LOG_RATIO = 0.001
"""Part of all steps between two log entries: every step of up to 1,000."""


class Reporting(TrainerCallback):  # type: ignore[misc]  # transformers is Any here
    """Sends what happens to the parent, stops the loop on SIGTERM and on a loss that is no number.

    SIGTERM: at the next optimiser step the trainer saves and stops. transformers has a switch for
    that (enable_jit_checkpoint), but its train() returns as if it had finished.
    """

    def __init__(self, channel: Channel, stop: StopFlag) -> None:
        self._channel = channel
        self._stop = stop

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The parent passes SIGTERM on from here."""
        self._channel.send(Started(step=state.global_step, total_steps=state.max_steps))

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A checkpoint and the end, if told to stop."""
        if self._stop.requested:
            control.should_save = True
            control.should_training_stop = True

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Reports losses. Raises TrainerError: LossNaN."""
        values = logs or {}
        for name in ("loss", "eval_loss"):
            require_finite(values.get(name), name, state.global_step)
        if "loss" in values or "eval_loss" in values:
            self._channel.send(
                Step(
                    step=state.global_step,
                    epoch=state.epoch,
                    loss=values.get("loss"),
                    eval_loss=values.get("eval_loss"),
                    learning_rate=values.get("learning_rate"),
                    tokens=int(state.num_input_tokens_seen),
                )
            )

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A checkpoint is complete in the output folder."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._channel.send(Saved(step=state.global_step, folder=str(folder)))


def require_finite(loss: float | None, name: str, step: int) -> None:
    """Raises TrainerError: LossNaN, for a loss that is NaN or infinite."""
    if loss is None or math.isfinite(loss):
        return
    raise TrainerError(
        Reason.LOSS_NAN,
        f"{name} became {loss} at step {step}",
        "Lower hyperparameters.learningRate, or raise hyperparameters.warmupRatio.",
        step,
    )


def train(plan: TrainPlan, loaded: LoadedModel, channel: Channel, stop: StopFlag) -> None:
    """Trains to the last step, or to the step after SIGTERM; the last message tells which.

    Raises TrainerError: LossNaN, OutOfMemory, DatasetInvalid, TrainerFailed.
    """
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    template = training_template(loaded.tokenizer)
    train_rows, validation_rows = (
        _tokenized(plan, loaded, template, path) for path in (plan.train_rows, plan.validation_rows)
    )
    assert train_rows is not None  # noqa: S101  (its path is not optional)
    trainer = _trainer(plan, loaded, train_rows, validation_rows)
    trainer.add_callback(Reporting(channel, stop))
    trainer.remove_callback(PrinterCallback)
    started = time.monotonic()
    if not _take_over_finished(trainer, plan, channel):
        _run(trainer, plan)
    state = trainer.state
    if state.global_step < state.max_steps:
        _require_stop(stop, state)
        channel.send(Stopped(step=state.global_step))
        return
    eval_loss = _last_eval_loss(trainer, validation_rows)
    adapter = Path(plan.output) / "adapter"
    # The class's own method: Unsloth replaces the instance's, and may fall back to pickle.
    PeftModel.save_pretrained(trainer.model, str(adapter), safe_serialization=True)
    final_loss, train_loss = losses(state.log_history)
    channel.send(
        Trained(
            adapter=str(adapter),
            steps=state.global_step,
            epochs=round(float(state.epoch or 0), 4),
            tokens=int(state.num_input_tokens_seen),
            final_loss=final_loss,
            train_loss=train_loss,
            eval_loss=eval_loss,
            train_seconds=round(time.monotonic() - started, 3),
            truncated_rows=train_rows.truncated,
            chat_template_sha256=template.base_sha256,
        )
    )


def _tokenized(
    plan: TrainPlan, loaded: LoadedModel, template: TrainingTemplate, path: str | None
) -> TokenizedRows | None:
    if path is None:
        return None
    return tokenize(
        Path(path),
        loaded.tokenizer,
        template,
        max_length=plan.job.dataset.max_sequence_length,
        assistant_only=plan.job.hyperparameters.assistant_only_loss,
        cache=Path(plan.output) / "datasets",
    )


def _trainer(
    plan: TrainPlan,
    loaded: LoadedModel,
    train_rows: TokenizedRows,
    validation: TokenizedRows | None,
) -> Any:
    evaluation = None
    if validation is not None:
        count = min(len(validation.dataset), MAX_EVALUATION_ROWS)
        evaluation = validation.dataset.select(range(count))
    return SFTTrainer(
        model=loaded.model,
        args=_config(plan, evaluates=evaluation is not None),
        train_dataset=train_rows.dataset,
        eval_dataset=evaluation,
        processing_class=loaded.tokenizer,
    )


def _config(plan: TrainPlan, *, evaluates: bool) -> SFTConfig:
    hyper, checkpoint = plan.job.hyperparameters, plan.job.checkpoint
    bf16 = plan_uses_bf16()
    return SFTConfig(
        output_dir=plan.output,
        # The rows are tokenised and cut already (`tokens`).
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=plan.job.dataset.max_sequence_length,
        packing=False,
        num_train_epochs=hyper.epochs or 1,
        max_steps=hyper.max_steps or -1,
        per_device_train_batch_size=hyper.micro_batch_size,
        per_device_eval_batch_size=hyper.micro_batch_size,
        gradient_accumulation_steps=hyper.gradient_accumulation_steps,
        gradient_checkpointing=hyper.gradient_checkpointing,
        learning_rate=hyper.learning_rate,
        lr_scheduler_type=scheduler(hyper),
        warmup_steps=warmup_steps(hyper.warmup_ratio),
        weight_decay=hyper.weight_decay,
        optim="adamw_torch_fused",
        bf16=bf16,
        fp16=not bf16,
        seed=hyper.seed,
        data_seed=hyper.seed,
        logging_steps=LOG_RATIO,
        logging_first_step=True,
        # Otherwise a NaN is logged as the mean of the steps before it.
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        eval_strategy="steps" if evaluates else "no",
        eval_steps=checkpoint.every_steps if evaluates else None,
        save_strategy="steps",
        save_steps=checkpoint.every_steps,
        # The parent removes checkpoints: one may be on its way to the bucket.
        save_total_limit=None,
        report_to="none",
        disable_tqdm=True,
    )


def plan_uses_bf16() -> bool:
    """Whether the device computes in bfloat16; Unsloth's CPU backend corrects it for CPUs."""
    import torch  # noqa: PLC0415

    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported()


def scheduler(hyper: JobHyperparameters) -> str:
    """The name that transformers knows; its `constant` ignores the warm-up."""
    return "constant_with_warmup" if hyper.scheduler == "constant" else hyper.scheduler


def warmup_steps(ratio: float) -> float:
    """transformers takes a fraction below 1 as a part of all steps."""
    return min(ratio, math.nextafter(1.0, 0.0))


def _run(trainer: Any, plan: TrainPlan) -> None:
    try:
        output = trainer.train(resume_from_checkpoint=plan.resume_from)
    except Exception as error:
        raise classify(error, plan.job, trainer.state.global_step) from error
    # The log may leave out the last steps.
    require_finite(output.training_loss, "the mean loss", trainer.state.global_step)


def _take_over_finished(trainer: Any, plan: TrainPlan, channel: Channel) -> bool:
    """Loads a checkpoint of the last step: an attempt that ended between training and commit.

    transformers would go on from it in the middle of an epoch and make one step too many.
    """
    if plan.resume_from is None:
        return False
    checkpoint = Path(plan.resume_from)
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    if state.global_step < state.max_steps:
        return False
    weights = load_file(checkpoint / "adapter_model.safetensors")
    set_peft_model_state_dict(trainer.model, weights)
    trainer.state = state
    channel.send(Started(step=state.global_step, total_steps=state.max_steps))
    return True


def _require_stop(stop: StopFlag, state: TrainerState) -> None:
    if not stop.requested:
        raise TrainerError(
            Reason.TRAINER_FAILED,
            f"training ended at step {state.global_step} of {state.max_steps} by itself",
            step=state.global_step,
        )


def _last_eval_loss(trainer: Any, validation: TokenizedRows | None) -> float | None:
    if validation is None:
        return None
    for entry in reversed(trainer.state.log_history):
        if "eval_loss" in entry:
            if entry["step"] == trainer.state.global_step:
                return float(entry["eval_loss"])
            break
    return float(trainer.evaluate()["eval_loss"])


def losses(log_history: list[dict[str, Any]]) -> tuple[float, float]:
    """Final and mean training loss out of the log, which a checkpoint carries on.

    transformers' own mean divides the loss since the resume by all steps.
    """
    entries = [e for e in log_history if "loss" in e]
    total, previous = 0.0, 0
    for entry in entries:
        total += entry["loss"] * (entry["step"] - previous)
        previous = entry["step"]
    return float(entries[-1]["loss"]), total / previous
