"""What the training loop calls: reports to the parent, and reasons to stop."""

import logging
import math
import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from qwen3_api.job.train import JobEarlyStopping
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.history import stopped_improving
from qwen3_trainer.worker.memory import gpu_peak_mib
from qwen3_trainer.worker.messages import Saved, Started, Step
from qwen3_trainer.worker.ranks import Ranks
from qwen3_trainer.worker.stop import StopFlag

log = logging.getLogger(__name__)


class Reporting(TrainerCallback):  # type: ignore[misc]  # transformers is Any here
    """Sends what happens to the parent, stops the loop on SIGTERM and on a loss that is no number.

    SIGTERM: at the next optimiser step the trainer saves and stops. transformers has a switch for
    that (enable_jit_checkpoint), but its train() returns as if it had finished. Of several
    processes one gets the signal; all of them stop at the same step.
    """

    def __init__(self, channel: Channel, stop: StopFlag, ranks: Ranks, longest: int) -> None:
        self._longest = longest
        self._channel = channel
        self._stop = stop
        self._ranks = ranks

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The parent passes SIGTERM on from here."""
        self._channel.send(
            Started(
                step=state.global_step,
                total_steps=state.max_steps,
                pid=os.getpid(),
                longest=self._longest,
            )
        )

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A checkpoint and the end, if it received SIGTERM."""
        if self._ranks.any(self._stop.requested):
            self._stop.requested = True
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
        """Reports losses. Raises FailureError: LossNaN."""
        values = logs or {}
        for name in ("loss", "eval_loss"):
            require_finite(values.get(name), name, state.global_step)
        if "loss" not in values and "eval_loss" not in values:
            return
        eval_loss = values.get("eval_loss")
        best_step, best_loss = best_so_far(state, eval_loss)
        gpu_memory = self._ranks.highest(gpu_peak_mib() or 0)
        self._channel.send(
            Step(
                step=state.global_step,
                epoch=state.epoch,
                loss=values.get("loss"),
                eval_loss=eval_loss,
                best_step=best_step,
                best_eval_loss=best_loss,
                learning_rate=values.get("learning_rate"),
                tokens=int(state.num_input_tokens_seen),
                gpu_memory_mib=gpu_memory or None,
            )
        )
        if "eval_rewards/accuracies" in values:
            log.info(
                "step %d: eval_loss %.4f, the chosen answer wins in %.0f %% of the validation rows",
                *(state.global_step, eval_loss, 100 * values["eval_rewards/accuracies"]),
            )

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A checkpoint is complete in the output folder."""
        self._ranks.wait()  # each of them writes the state of its random generators
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._channel.send(Saved(step=state.global_step, folder=str(folder)))


class EarlyStopping(TrainerCallback):  # type: ignore[misc]  # transformers is Any here
    """Ends training when the validation loss has stopped improving (`history`)."""

    def __init__(self, rule: JobEarlyStopping) -> None:
        self._rule = rule

    def on_evaluate(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The evaluation is in the log already; the checkpoint of its step is still to come."""
        if stopped_improving(state.log_history, self._rule):
            log.info(
                "stopping early at step %d: no lower eval_loss in %d evaluations",
                *(state.global_step, self._rule.patience),
            )
            control.should_training_stop = True


def best_so_far(state: TrainerState, eval_loss: float | None) -> tuple[int | None, float | None]:
    """Step and loss of the best evaluation. The trainer notes one only after it was logged."""
    if eval_loss is not None and (state.best_metric is None or eval_loss < state.best_metric):
        return state.global_step, eval_loss
    return state.best_global_step, state.best_metric


def require_finite(loss: float | None, name: str, step: int) -> None:
    """Raises FailureError: LossNaN, for a loss that is NaN or infinite."""
    if loss is None or math.isfinite(loss):
        return
    raise FailureError(
        Reason.LOSS_NAN,
        f"{name} became {loss} at step {step}",
        "Lower hyperparameters.learningRate, or raise hyperparameters.warmupRatio.",
        step,
    )
