"""Whether attention ends at a row's bounds, on the kernels that training without padding takes.

`python -m gpu_check.row_bounds ORDER.json BASE_FOLDER` loads the model as the trainer's worker
does, puts three rows one behind the other and takes the loss of the last one alone. Prints one JSON
object for each kernel that can be had, with the losses

- `before` and `after` other tokens stand in the first two rows: equal, if no row sees another;
- `alone`: of the last row without the others;
- `merged` and `merged_after`: of the same two batches as one long row, which sees everything. Their
  difference is what a leak would look like.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import unsloth  # noqa: F401  (before whatever imports transformers)

from benchmarks.train.varlen import provide_varlen_attention
from qwen3_api.job.train import TrainJob
from qwen3_trainer.environment import cpu_is_allowed
from qwen3_trainer.worker.messages import TrainPlan
from qwen3_trainer.worker.model import load
from qwen3_trainer.worker.rendering import IGNORED

LENGTHS = (304, 512, 200)
"""Multiples of `worker.padding.ALIGNMENT`."""


def main(order: Path, base: str) -> None:
    """Prints a line for each kernel."""
    job = TrainJob.model_validate_json(order.read_bytes())
    model = load(plan(job, base, order.parent)).model
    measure(model, "as installed")
    if torch.cuda.is_available() and provide_varlen_attention():
        measure(model, "as in the image")


def plan(job: TrainJob, base: str, folder: Path) -> TrainPlan:
    """As the agent gives it to the worker."""
    return TrainPlan(
        job=job,
        base=base,
        train_rows="",
        validation_rows=None,
        output=str(folder),
        resume_from=None,
        allow_cpu=cpu_is_allowed(os.environ),
    )


def measure(model: Any, kernel: str) -> None:
    """Prints the losses."""
    dice = torch.Generator().manual_seed(1)
    tokens = [torch.randint(5, 50_000, (length,), generator=dice) for length in LENGTHS]
    others = [torch.randint(5, 50_000, (length,), generator=dice) for length in LENGTHS[:-1]]
    last = tokens[-1:]
    with torch.no_grad():
        losses = {
            "before": loss_of_last(model, tokens),
            "after": loss_of_last(model, [*others, *last]),
            "alone": loss_of_last(model, last),
            "merged": loss_of_last(model, tokens, merged=True),
            "merged_after": loss_of_last(model, [*others, *last], merged=True),
        }
    print(json.dumps({"kernel": kernel, **losses}), flush=True)


def loss_of_last(model: Any, rows: list[torch.Tensor], *, merged: bool = False) -> float:
    """Of the last row's tokens but the first, in a batch as Unsloth's collator makes it."""
    lengths = [sum(map(len, rows))] if merged else [len(row) for row in rows]
    ids = torch.cat(rows)
    labels = ids.clone()
    labels[: len(ids) - len(rows[-1]) + 1] = IGNORED
    batch = {
        "input_ids": ids,
        "labels": labels,
        "position_ids": torch.cat([torch.arange(length) for length in lengths]),
    }
    inputs = {name: value[None].to(model.device) for name, value in batch.items()}
    if torch.cuda.is_available():  # Unsloth adds them there alone
        inputs["packed_seq_lengths"] = torch.tensor(lengths, dtype=torch.int32)
    return float(model(**inputs, num_items_in_batch=len(rows[-1]) - 1).loss)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
