"""A row to token ids and labels, by a chat template with {% generation %} marks. No torch.

The marks tell which tokens are the assistant's. TRL ships such versions of the Qwen3 templates
beside the originals (`qwen3.jinja`, `qwen3_training.jinja`); a tokenizer whose template is none of
these originals, byte for byte (the first Qwen3 release, Unsloth's), is rendered with TRL's
qwen3_training.jinja. Only rendering here uses it: the tokenizer itself is not changed. TRL's files
are read without importing TRL, which imports torch: the preflight renders too, and starts in a
second.
"""

import hashlib
import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

IGNORED = -100
"""Label of a token without loss."""
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_TRAINING = "_training.jinja"


@dataclass(frozen=True)
class TrainingTemplate:
    """A chat template with generation marks."""

    text: str
    base_sha256: str
    """Of the template that it renders like: the tokenizer's own, or TRL's qwen3.jinja."""


def training_template(tokenizer: Any) -> TrainingTemplate:
    """The template to render training rows with."""
    own = tokenizer.chat_template
    if isinstance(own, dict):  # named variants
        own = own.get("default")
    folder = _shipped_templates()
    if own:
        if _GENERATION.search(own):
            return TrainingTemplate(own, _sha256(own))
        for marked in sorted(folder.glob(f"*{_TRAINING}")):
            original = marked.with_name(marked.name.replace(_TRAINING, ".jinja"))
            if original.is_file() and original.read_text(encoding="utf-8") == own:
                return TrainingTemplate(marked.read_text(encoding="utf-8"), _sha256(own))
        log.info("the tokenizer's chat template is unknown to TRL; rendering with qwen3.jinja")
    return TrainingTemplate(
        (folder / "qwen3_training.jinja").read_text(encoding="utf-8"),
        _sha256((folder / "qwen3.jinja").read_text(encoding="utf-8")),
    )


def _shipped_templates() -> Path:
    spec = importlib.util.find_spec("trl")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("trl is not installed", name="trl")
    return Path(spec.origin).parent / "chat_templates"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
