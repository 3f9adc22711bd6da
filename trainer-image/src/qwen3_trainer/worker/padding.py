"""SFT without padding (docs/adr/0044-without-padding.md).

TRL lays the rows of a batch one behind the other. Positions begin anew with each row, and attention
ends at its bounds (on a GPU torch's varlen kernel). On one GPU the rows of a whole optimiser step
are one batch, which `PaddingFreeTrainer` cuts between rows into passes of at most as many tokens as
the planned micro-batch has when all its rows are as long as the longest. Each pass divides its loss
by the labels of the whole step, so the gradient is that of padded micro-batches. Each row is filled
up to a multiple of ALIGNMENT tokens, so that every pass has such a number.

The planner decides (`JobHyperparameters.padding_free`). Several GPUs keep their micro-batches:
processes that need different numbers of passes would wait for each other forever.
"""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from trl import SFTTrainer

from qwen3_api.job.train import JobHyperparameters
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.worker.passes import even_passes
from qwen3_trainer.worker.ranks import world_size

ALIGNMENT = 8
"""Tokens. The gradients of LoRA's matrices are products over the tokens of a pass; cuBLAS's kernels
for tensor cores want rows of 16 bytes there, which are 8 numbers of 16 bit. For another number of
tokens it takes slower ones, which cost a tenth of a step on an H100."""
_LENGTHS = "packed_seq_lengths"
"""Unsloth's name for the tokens of each row of a batch."""
_CLAIM = "_unsloth_truncated_to"
"""Where Unsloth looks for what a dataset's rows were cut to. Without it, it reads every row of a
tokenised dataset and pads."""


class PaddingFreeTrainer(SFTTrainer):  # type: ignore[misc]  # trl is Any here
    """Takes the rows of a step through the model in passes of about the same size."""

    token_budget: int | None = None
    """Most tokens of a pass; None: each batch is one."""

    def training_step(
        self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward pass of a batch; its loss is the sum of those of the passes."""
        if self.token_budget is None:
            return super().training_step(model, inputs, num_items_in_batch)
        losses = [
            super(PaddingFreeTrainer, self).training_step(model, one, num_items_in_batch)
            for one in cut(inputs, self.token_budget)
        ]
        return torch.stack(losses).sum()


def cut(batch: dict[str, Tensor], budget: int) -> Iterator[dict[str, Tensor]]:
    """The passes of at most `budget` tokens of a batch without padding: everything of shape
    (1, tokens), and Unsloth's _LENGTHS (rows,).

    Raises ValueError for another shape.
    """
    lengths = row_lengths(batch)
    bounds = [0, *accumulate(lengths)]
    for name, value in batch.items():
        if name != _LENGTHS and tuple(value.shape) != (1, bounds[-1]):
            raise ValueError(f"{name} has shape {tuple(value.shape)}, the rows {bounds[-1]} tokens")
    device = batch["input_ids"].device
    for rows in even_passes(lengths, budget):
        places = torch.cat([torch.arange(bounds[i], bounds[i + 1]) for i in rows]).to(device)
        yield {
            name: value[rows] if name == _LENGTHS else value[:, places]
            for name, value in batch.items()
        }


def row_lengths(batch: dict[str, Tensor]) -> list[int]:
    """Tokens of each row of a batch without padding. On the CPU only positions tell: they begin
    with 0."""
    if _LENGTHS in batch:
        return [int(length) for length in batch[_LENGTHS].tolist()]
    positions = batch["position_ids"][0]
    starts = (positions == 0).nonzero().flatten().tolist()
    return [end - start for start, end in pairwise([*starts, len(positions)])]


def arguments(hyper: JobHyperparameters) -> dict[str, Any]:
    """What SFTConfig gets over the arguments of every trainer."""
    if not hyper.padding_free:
        return {"padding_free": False}
    # TRL refuses a limit that it would not enforce; Unsloth on a GPU takes our word (`claim`).
    chosen = {"padding_free": True} | ({} if torch.cuda.is_available() else {"max_length": None})
    if world_size() > 1:
        return chosen
    rows = hyper.micro_batch_size * hyper.gradient_accumulation_steps
    return chosen | {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": 1,
    }


def claim(dataset: Any, max_length: int) -> None:
    """Gives the dataset the word of `tokens` that its rows are cut to `max_length` tokens."""
    setattr(dataset, _CLAIM, max_length)


def require(trainer: Any) -> None:
    """Raises FailureError: TrainerFailed, when Unsloth pads all the same, or the passes of a step
    would each weigh the same instead of by their labels."""
    problem = None
    if not trainer.args.padding_free:
        problem = "Unsloth pads the rows"
    elif not trainer.model_accepts_loss_kwargs:
        problem = "the model doesn't take the step's number of labels, so a step can't be cut"
    if problem is not None:
        raise FailureError(Reason.TRAINER_FAILED, f"{problem}; see the log of the trainer")
