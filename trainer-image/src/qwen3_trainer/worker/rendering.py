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

from jinja2 import TemplateError, TemplateSyntaxError

from qwen3_api.pod.text import cut
from qwen3_trainer.data.rows import Conversation, Message, Preference, Row, RowError
from qwen3_trainer.data.thinking import Thinking

log = logging.getLogger(__name__)

IGNORED = -100
"""Label of a token without loss."""
EMPTY_THINK = "<think>\n\n</think>\n\n"
"""The text that the template writes in front of an answer without reasoning, and, in a request with
enable_thinking false, at the end of the prompt."""
_ROW_ERRORS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors that a template raises for a row that it can't write."""
_TEMPLATE_HINT = (
    "Write the row as the base model's chat template takes it (order of roles, types of the "
    "fields), or leave it out."
)
_PROBLEM_LIMIT = 200
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_TRAINING = "_training.jinja"


@dataclass(frozen=True)
class TrainingTemplate:
    """A chat template with generation marks."""

    text: str
    base_sha256: str
    """Digest of the template that it renders like: the tokenizer's own, or TRL's qwen3.jinja."""


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


@dataclass(frozen=True)
class Sequence:
    """Tokens of a row that go through the model together."""

    ids: list[int]
    labels: list[int]
    """IGNORED where a token has no loss."""


def render_row(
    row: Row,
    tokenizer: Any,
    template: TrainingTemplate,
    assistant_only: bool,
    thinking: Thinking = "AsInData",
) -> list[Sequence]:
    """The sequences of a row: one, or of a preference that with the chosen and that with the
    rejected answer. Raises RowError when the template can't write the row."""
    if isinstance(row, Conversation):
        return [Sequence(*render(row, tokenizer, template, assistant_only, thinking))]
    prompt, *answers = render_preference(row, tokenizer, template, thinking)
    return [Sequence([*prompt, *ids], [IGNORED] * len(prompt) + ids) for ids in answers]


def render(
    row: Conversation,
    tokenizer: Any,
    template: TrainingTemplate,
    assistant_only: bool,
    thinking: Thinking = "AsInData",
) -> tuple[list[int], list[int]]:
    """Token ids of a row and its labels.

    With `assistant_only` the loss covers the assistant's turns of `messages`, or the completion;
    without it, every token. With `thinking` Disabled no empty think block has a loss: it belongs to
    the prompt of a request with enable_thinking false.

    Raises RowError when the template can't write the row.
    """
    rendered = _apply(
        row.parts(), row.tools, tokenizer, template, return_assistant_tokens_mask=True
    )
    ids: list[int] = list(rendered["input_ids"])
    said = list(rendered["assistant_masks"])
    mask = list(said) if assistant_only else [1] * len(ids)
    if assistant_only and row.prompt_length is not None:
        asked = _asked(row.prompt, row.tools, tokenizer, template, "AsInData")
        common = _common_prefix(ids, asked)
        mask[:common] = [0] * common
    if thinking == "Disabled":
        for start, end in _empty_blocks(ids, said, tokenizer):
            mask[start:end] = [0] * (end - start)
    return ids, [token if kept else IGNORED for token, kept in zip(ids, mask, strict=True)]


def render_preference(
    row: Preference,
    tokenizer: Any,
    template: TrainingTemplate,
    thinking: Thinking = "AsInData",
) -> tuple[list[int], list[int], list[int]]:
    """Token ids of the prompt, the chosen and the rejected answer of a preference row.

    The loss covers the answers. They start where the rendered dialogues part from the
    rendered prompt: with `thinking` Disabled behind the empty think block.

    Raises RowError when the template can't write the row.
    """
    asked = _asked(row.prompt, row.tools, tokenizer, template, thinking)
    chosen, rejected = (
        list(_apply([("prompt", row.prompt), part], row.tools, tokenizer, template)["input_ids"])
        for part in row.answers().items()
    )
    common = min(_common_prefix(asked, chosen), _common_prefix(asked, rejected))
    return chosen[:common], chosen[common:], rejected[common:]


def _asked(
    prompt: list[Message],
    tools: list[Any] | None,
    tokenizer: Any,
    template: TrainingTemplate,
    thinking: Thinking,
) -> list[int]:
    """The prompt of a row as a request renders it."""
    rendered = _apply(
        [("prompt", prompt)],
        tools,
        tokenizer,
        template,
        add_generation_prompt=True,
        enable_thinking=thinking != "Disabled",
    )
    return list(rendered["input_ids"])


def _apply(
    parts: list[tuple[str, list[Message]]],
    tools: list[Any] | None,
    tokenizer: Any,
    template: TrainingTemplate,
    **options: bool,
) -> dict[str, list[int]]:
    """The messages of the parts, one behind the other, as the template writes them. The parts have
    their fields' names, for errors."""
    messages = [message for _, part in parts for message in part]

    def applied(count: int, tools: list[Any] | None) -> dict[str, list[int]]:
        rendered: dict[str, list[int]] = tokenizer.apply_chat_template(
            messages[:count],
            tools=tools,
            chat_template=template.text,
            return_dict=True,
            **options,
        )
        return rendered

    def fails(count: int, tools: list[Any] | None) -> bool:
        try:
            applied(count, tools)
        except _ROW_ERRORS:
            return True
        return False

    try:
        return applied(len(messages), tools)
    except TemplateSyntaxError:  # nothing that a row can fix
        raise
    except _ROW_ERRORS as error:
        told = isinstance(error, TemplateError | TypeError)  # others may quote the row
        words = cut(str(error), _PROBLEM_LIMIT) if told else type(error).__name__
        problem = f"the chat template can't write it: {words}"
        if tools and not fails(len(messages), None):
            raise RowError("tools", problem, _TEMPLATE_HINT) from error
        # The first message from which on it fails: a template may want more than the beginning.
        last = len(messages)
        while last > 1 and fails(last - 1, tools):
            last -= 1
        names = [f"{field}[{i}]" for field, part in parts for i in range(len(part))]
        raise RowError(names[last - 1], problem, _TEMPLATE_HINT) from error


def _empty_blocks(ids: list[int], said: list[int], tokenizer: Any) -> list[tuple[int, int]]:
    """Start and end of the empty think block of each turn. `said`: 1 for the assistant's tokens.

    Should a tokenizer merge its last newlines with an answer that starts with blanks, that token
    is the answer's.
    """
    block = list(tokenizer(EMPTY_THINK, add_special_tokens=False)["input_ids"])
    starts = [i for i, kept in enumerate(said) if kept and (i == 0 or not said[i - 1])]
    lengths = ((i, _common_prefix(ids[i : i + len(block)], block)) for i in starts)
    return [(i, i + length) for i, length in lengths if length >= len(block) - 1]


def _common_prefix(left: list[int], right: list[int]) -> int:
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return i
    return min(len(left), len(right))
