"""Rows to token ids and labels.

The trainer tokenises by itself, before TRL: TRL on the CPU and Unsloth's rewrite of it on the GPU
prepare data differently, and neither counts what it cuts.
`rendering` has the template and the marks of what the assistant says.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.data.dataset import numbered
from qwen3_trainer.data.rows import Conversation, Preference
from qwen3_trainer.data.thinking import Thinking
from qwen3_trainer.worker.rendering import (
    IGNORED,
    TrainingTemplate,
    render,
    render_preference,
    training_template,
)

__all__ = [
    "IGNORED",
    "TokenizedRows",
    "TrainingTemplate",
    "render",
    "tokenize",
    "tokenize_preferences",
    "training_template",
]

log = logging.getLogger(__name__)

T = TypeVar("T", Conversation, Preference)
_FEATURES = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32"))})
PREFERENCE_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")


@dataclass(frozen=True)
class TokenizedRows:
    """Rows as the trainer takes them: columns input_ids and labels, or `PREFERENCE_COLUMNS`."""

    dataset: Dataset
    truncated: int
    """Rows that were longer than the limit."""
    dropped: int
    """Rows that had nothing to learn left after being cut."""
    longest: int
    """Tokens of the longest row, after cutting and filling up; with preferences of prompt and
    longer answer."""


def tokenize(
    path: Path,
    tokenizer: Any,
    template: TrainingTemplate,
    *,
    max_length: int,
    assistant_only: bool,
    cache: Path,
    thinking: Thinking = "AsInData",
    multiple_of: int = 1,
) -> TokenizedRows:
    """Tokenises a file of conversations (`data.rows`) into a memory-mapped dataset below `cache`.

    Each row is filled up with padding, from which nothing is learned, to a multiple of
    `multiple_of` tokens; that may be more than `max_length`.

    Raises FailureError: DatasetInvalid, when no row has anything to learn within `max_length`; and
    LineError for a row that the template can't write.
    """
    truncated = dropped = longest = 0
    cache.mkdir(parents=True, exist_ok=True)
    arrow = str(cache / f"{path.stem}.arrow")
    with ArrowWriter(path=arrow, features=_FEATURES) as writer:
        for number, row in _rows(path, Conversation):
            with numbered(number):
                ids, labels = render(row, tokenizer, template, assistant_only, thinking)
            truncated += len(ids) > max_length
            if all(label == IGNORED for label in labels[:max_length]):
                dropped += 1
                continue
            ids, labels = ids[:max_length], labels[:max_length]
            missing = -len(ids) % multiple_of
            filled = ids + [tokenizer.pad_token_id] * missing
            writer.write({"input_ids": filled, "labels": labels + [IGNORED] * missing})
            longest = max(longest, len(filled))
        writer.finalize()
    return _tokenized(path, arrow, truncated, dropped, longest, max_length)


def tokenize_preferences(
    path: Path,
    tokenizer: Any,
    template: TrainingTemplate,
    *,
    max_length: int,
    thinking: Thinking,
    cache: Path,
) -> TokenizedRows:
    """The same for preference rows: columns prompt_ids, chosen_ids and rejected_ids, as TRL's
    trainers of preferences want them. A row is dropped when its prompt alone fills `max_length`."""
    truncated = dropped = longest = 0
    cache.mkdir(parents=True, exist_ok=True)
    arrow = str(cache / f"{path.stem}.arrow")
    features = Features({name: List(Value("int32")) for name in PREFERENCE_COLUMNS})
    with ArrowWriter(path=arrow, features=features) as writer:
        for number, row in _rows(path, Preference):
            with numbered(number):
                prompt, *answers = render_preference(row, tokenizer, template, thinking)
            room = max_length - len(prompt)
            truncated += any(len(ids) > room for ids in answers)
            if room <= 0:
                dropped += 1
                continue
            cut = (prompt, *(ids[:room] for ids in answers))
            writer.write(dict(zip(PREFERENCE_COLUMNS, cut, strict=True)))
            longest = max(longest, len(prompt) + max(len(ids) for ids in cut[1:]))
        writer.finalize()
    return _tokenized(path, arrow, truncated, dropped, longest, max_length)


def _rows(path: Path, kind: type[T]) -> Iterator[tuple[int, T]]:
    """The rows with the line numbers that they have in the user's file (`data.dataset`)."""
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, decoder.decode(line)


def _tokenized(
    path: Path, arrow: str, truncated: int, dropped: int, longest: int, max_length: int
) -> TokenizedRows:
    if longest == 0:
        raise FailureError(
            Reason.DATASET_INVALID,
            f"no row has an answer within {max_length} tokens: the prompts alone are longer",
            f"Raise dataset.maxSequenceLength above {max_length}.",
        )
    rows = TokenizedRows(Dataset.from_file(arrow), truncated, dropped, longest)
    log.info(
        "%s: %d rows, %d cut to %d tokens, %d dropped because nothing to learn was left",
        *(path.stem, len(rows.dataset), truncated, max_length, dropped),
    )
    return rows
