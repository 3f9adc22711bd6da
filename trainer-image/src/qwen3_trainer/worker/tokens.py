"""Rows to token ids and labels.

The trainer tokenises by itself, before TRL: TRL on the CPU and Unsloth's rewrite of it on the GPU
prepare data differently, and neither counts what it cuts.
`rendering` has the template and the marks of what the assistant says.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import TrainerError
from qwen3_trainer.worker.rendering import IGNORED, TrainingTemplate, render, training_template

__all__ = [
    "IGNORED",
    "TokenizedRows",
    "TrainingTemplate",
    "render",
    "tokenize",
    "training_template",
]

log = logging.getLogger(__name__)

_FEATURES = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32"))})


@dataclass(frozen=True)
class TokenizedRows:
    """Rows as the trainer takes them: columns input_ids and labels."""

    dataset: Dataset
    truncated: int
    """Rows that were longer than the limit."""
    dropped: int
    """Rows that had nothing to learn left after being cut."""


def tokenize(
    path: Path,
    tokenizer: Any,
    template: TrainingTemplate,
    *,
    max_length: int,
    assistant_only: bool,
    cache: Path,
) -> TokenizedRows:
    """Tokenises a file of rows (`data.formats`) into a memory-mapped dataset below `cache`.

    Raises TrainerError: DatasetInvalid, when no row has anything to learn within `max_length`.
    """
    written = truncated = dropped = 0
    cache.mkdir(parents=True, exist_ok=True)
    arrow = str(cache / f"{path.stem}.arrow")
    with ArrowWriter(path=arrow, features=_FEATURES) as writer, path.open(encoding="utf-8") as file:
        for line in file:
            ids, labels = render(json.loads(line), tokenizer, template, assistant_only)
            truncated += len(ids) > max_length
            if all(label == IGNORED for label in labels[:max_length]):
                dropped += 1
                continue
            writer.write({"input_ids": ids[:max_length], "labels": labels[:max_length]})
            written += 1
        writer.finalize()
    if written == 0:
        raise TrainerError(
            Reason.DATASET_INVALID,
            f"no row has an answer within {max_length} tokens: the prompts alone are longer",
            f"Raise dataset.maxSequenceLength above {max_length}.",
        )
    log.info(
        "%s: %d rows, %d cut to %d tokens, %d dropped because nothing to learn was left",
        *(path.stem, written, truncated, max_length, dropped),
    )
    return TokenizedRows(Dataset.from_file(arrow), truncated, dropped)
