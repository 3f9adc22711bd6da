"""Rows to token ids and labels.

The trainer tokenises by itself, before TRL: TRL on the CPU and Unsloth's rewrite of it on the GPU
prepare data differently, and neither counts what it cuts.

A template with {% generation %} marks tells which tokens are the assistant's. TRL ships such
versions of the Qwen3 templates and finds them by comparing byte for byte; a tokenizer with another
edition (the first Qwen3 release, Unsloth's) gets TRL's qwen3.jinja. Only rendering here uses it:
the tokenizer itself is not changed.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trl
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter
from trl.chat_template_utils import get_training_chat_template

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import TrainerError

log = logging.getLogger(__name__)

IGNORED = -100
"""Label of a token without loss."""
_FEATURES = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32"))})


@dataclass(frozen=True)
class TrainingTemplate:
    """A chat template with generation marks."""

    text: str
    base_sha256: str
    """Of the template that it renders like: the tokenizer's own, or TRL's qwen3.jinja."""


@dataclass(frozen=True)
class TokenizedRows:
    """Rows as the trainer takes them: columns input_ids and labels."""

    dataset: Dataset
    truncated: int
    """Rows that were longer than the limit."""
    dropped: int
    """Rows that had nothing to learn left after being cut."""


def training_template(tokenizer: Any) -> TrainingTemplate:
    """The template to render training rows with."""
    own = tokenizer.chat_template
    if own:
        try:
            marked = get_training_chat_template(tokenizer)
        except ValueError:
            log.info("the tokenizer's chat template is unknown to TRL; rendering with qwen3.jinja")
        else:
            return TrainingTemplate(marked or own, _sha256(own))
    folder = Path(trl.__file__).parent / "chat_templates"
    return TrainingTemplate(
        (folder / "qwen3_training.jinja").read_text(encoding="utf-8"),
        _sha256((folder / "qwen3.jinja").read_text(encoding="utf-8")),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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


def render(
    row: dict[str, Any], tokenizer: Any, template: TrainingTemplate, assistant_only: bool
) -> tuple[list[int], list[int]]:
    """Token ids of a row and its labels.

    With `assistant_only` the loss covers the assistant's turns of `messages`, or the completion;
    without it, every token.
    """
    prompt = row.get("prompt")
    messages = row["messages"] if prompt is None else [*prompt, *row["completion"]]
    rendered = tokenizer.apply_chat_template(
        messages,
        tools=row.get("tools"),
        chat_template=template.text,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids: list[int] = list(rendered["input_ids"])
    if not assistant_only:
        return ids, list(ids)
    mask = list(rendered["assistant_masks"])
    if prompt is not None:
        asked = tokenizer.apply_chat_template(
            prompt,
            tools=row.get("tools"),
            chat_template=template.text,
            add_generation_prompt=True,
            return_dict=True,
        )["input_ids"]
        common = _common_prefix(ids, list(asked))
        mask = [0] * common + mask[common:]
    return ids, [token if kept else IGNORED for token, kept in zip(ids, mask, strict=True)]


def _common_prefix(left: list[int], right: list[int]) -> int:
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return i
    return min(len(left), len(right))
