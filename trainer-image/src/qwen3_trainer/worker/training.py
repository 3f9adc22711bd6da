"""The training loop: TRL's trainer for the method, and what came out."""

import logging
import time
from pathlib import Path
from typing import Any

import datasets
import transformers
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PrinterCallback, TrainerState

from qwen3_api.job.train import MAX_EVALUATION_ROWS
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.data.dataset import Role, refused_rows
from qwen3_trainer.failures import classify
from qwen3_trainer.methods.base import RunInputs, TrainerMethod, load_method
from qwen3_trainer.worker.adapter import save_adapter
from qwen3_trainer.worker.best import STATE, WEIGHTS, checkpoint_folder, forget_lost_best
from qwen3_trainer.worker.callbacks import EarlyStopping, Reporting, require_finite
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.history import eval_loss_at, losses, stopped_improving
from qwen3_trainer.worker.messages import Started, Stopped, Trained, TrainPlan
from qwen3_trainer.worker.model import LoadedModel
from qwen3_trainer.worker.ranks import Ranks, rank
from qwen3_trainer.worker.sign_of_life import SignOfLife
from qwen3_trainer.worker.stop import StopFlag
from qwen3_trainer.worker.tokens import TokenizedRows, TrainingTemplate, training_template
from qwen3_trainer.worker.tracking import tracked

log = logging.getLogger(__name__)


def train(plan: TrainPlan, loaded: LoadedModel, channel: Channel, stop: StopFlag) -> None:
    """Trains to the last step, or to the step after SIGTERM; the last message tells which.

    Raises FailureError: LossNaN, OutOfMemory, DatasetInvalid, TrainerFailed.
    """
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    template = training_template(loaded.tokenizer)
    method = load_method(plan.job.method)
    train_rows, validation_rows = (
        _tokenized(method, plan, loaded, template, path)
        for path in (plan.train_rows, plan.validation_rows)
    )
    assert train_rows is not None  # noqa: S101  (its path is not optional)
    trainer = _trainer(method, plan, loaded, train_rows, validation_rows)
    trainer.add_callback(Reporting(channel, stop, Ranks(), train_rows.longest))
    trainer.add_callback(SignOfLife(channel))
    if plan.job.hyperparameters.early_stopping is not None:
        trainer.add_callback(EarlyStopping(plan.job.hyperparameters.early_stopping))
    trainer.remove_callback(PrinterCallback)
    started = time.monotonic()
    if not _take_over_finished(trainer, plan, channel):
        with tracked(plan.job, channel, stop) as callback:
            if callback is not None:
                trainer.add_callback(callback)
            _run(trainer, plan)
    state = trainer.state
    if not _is_finished(state, plan):
        _require_stop(stop, state)
        channel.send(Stopped(step=state.global_step))
        return
    best_step, eval_loss = _take_best(trainer, plan)
    adapter = Path(plan.output) / "adapter"
    if rank() == 0:
        save_adapter(trainer.model, adapter)
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
            best_step=best_step,
            train_seconds=round(time.monotonic() - started, 3),
            truncated_rows=train_rows.truncated,
            chat_template_sha256=template.base_sha256,
        )
    )


def _tokenized(
    method: TrainerMethod,
    plan: TrainPlan,
    loaded: LoadedModel,
    template: TrainingTemplate,
    path: str | None,
) -> TokenizedRows | None:
    if path is None:
        return None
    # Each process writes a table of its own: they start at the same time.
    dataset, cache = plan.job.dataset, Path(plan.output) / "datasets" / str(rank())
    role: Role = "train" if path == plan.train_rows else "validation"
    with refused_rows(dataset, role, plan.job.method):
        return method.tokenize(Path(path), loaded.tokenizer, template, plan.job, cache)


def _trainer(
    method: TrainerMethod,
    plan: TrainPlan,
    loaded: LoadedModel,
    train_rows: TokenizedRows,
    validation: TokenizedRows | None,
) -> Any:
    evaluation = None
    if validation is not None:
        count = min(len(validation.dataset), MAX_EVALUATION_ROWS)
        evaluation = validation.dataset.select(range(count))
    return method.build_trainer(RunInputs(plan, loaded, train_rows, evaluation))


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
    forget_lost_best(plan, checkpoint)
    state = TrainerState.load_from_json(str(checkpoint / STATE))
    if not _is_finished(state, plan):
        return False
    set_peft_model_state_dict(trainer.model, load_file(checkpoint / WEIGHTS))
    trainer.state = state
    channel.send(Started(step=state.global_step, total_steps=state.max_steps))
    return True


def _is_finished(state: TrainerState, plan: TrainPlan) -> bool:
    """Whether the last step was made, or the last one that early stopping lets be made."""
    rule = plan.job.hyperparameters.early_stopping
    if rule is not None and stopped_improving(state.log_history, rule):
        return True
    return bool(state.global_step >= state.max_steps)


def _require_stop(stop: StopFlag, state: TrainerState) -> None:
    if not stop.requested:
        raise FailureError(
            Reason.TRAINER_FAILED,
            f"training ended at step {state.global_step} of {state.max_steps} without a stop",
            step=state.global_step,
        )


def _take_best(trainer: Any, plan: TrainPlan) -> tuple[int | None, float | None]:
    """Loads the weights of the lowest validation loss, if they are to be the result and are not
    those of the last step. Returns their step, if so, and the validation loss of the result."""
    state = trainer.state
    best = state.best_global_step
    if plan.validation_rows is None:
        return None, None
    if plan.job.checkpoint.load_best and best is not None and best != state.global_step:
        folder = checkpoint_folder(plan, best)
        if folder is None:
            raise FailureError(
                Reason.TRAINER_FAILED, f"the best checkpoint, of step {best}, is gone", step=best
            )
        set_peft_model_state_dict(trainer.model, load_file(folder / WEIGHTS))
        log.info("the result is step %d, eval_loss %.4f", best, state.best_metric)
        return best, float(state.best_metric)
    at_end = eval_loss_at(state.log_history, state.global_step)
    return None, float(trainer.evaluate()["eval_loss"]) if at_end is None else at_end
