"""SFT on a GPU without padding (docs/adr/0044-without-padding.md). On the CPU Unsloth always pads.

Unsloth lays the rows of a batch one behind the other. Positions begin anew with each row, and
attention ends at its bounds (torch's varlen kernel). On one GPU the rows of a whole optimiser step
are one batch, which Unsloth cuts between rows into passes of at most UNSLOTH_TOKEN_BUDGET tokens:
as many as the planned micro-batch has when all its rows are as long as the longest. Each pass
divides its loss by the labels of the whole step, so the gradient is that of padded micro-batches.

The planner decides (`JobHyperparameters.padding_free`): with padding Unsloth compiles whole
transformer blocks, which is faster where Python is the limit or little would be padded.
Several GPUs keep their micro-batches: Unsloth doesn't cut a step whose processes would need
different numbers of passes.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from qwen3_api.job.train import JobHyperparameters
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import TrainerError
from qwen3_trainer.worker.ranks import world_size

log = logging.getLogger(__name__)

BUDGET = "UNSLOTH_TOKEN_BUDGET"
_CLAIM = "_unsloth_truncated_to"
"""Where Unsloth looks for what a dataset's rows were cut to. Without it, it reads every row of a
tokenised dataset and pads."""


def arguments(hyper: JobHyperparameters) -> dict[str, Any]:
    """What SFTConfig gets over the arguments of every trainer."""
    if not (hyper.padding_free and torch.cuda.is_available()):
        return {"padding_free": False}
    if world_size() > 1:
        return {"padding_free": True}
    rows = hyper.micro_batch_size * hyper.gradient_accumulation_steps
    return {
        "padding_free": True,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": 1,
    }


def claim(dataset: Any, max_length: int) -> None:
    """Gives the dataset the word of `tokens` that no row is longer."""
    setattr(dataset, _CLAIM, max_length)


@contextmanager
def token_budget(hyper: JobHyperparameters, longest: int) -> Iterator[None]:
    """A trainer that is built here has passes of no more tokens than micro-batches of the longest
    row."""
    if world_size() == 1:
        os.environ[BUDGET] = str(hyper.micro_batch_size * longest)
        log.info("no padding, at most %s tokens at once", os.environ[BUDGET])
    try:
        yield
    finally:
        os.environ.pop(BUDGET, None)


def require(trainer: Any) -> None:
    """Raises TrainerError: TrainerFailed, when Unsloth pads all the same, or wouldn't cut a step:
    its passes would have other sizes than the plan counted memory for."""
    problem = None
    if not trainer.args.padding_free:
        problem = "Unsloth pads the rows"
    elif not trainer.model_accepts_loss_kwargs:
        problem = "the model doesn't take the step's number of labels, so Unsloth can't cut a step"
    if problem is not None:
        raise TrainerError(Reason.TRAINER_FAILED, f"{problem}; see the log of the trainer")
