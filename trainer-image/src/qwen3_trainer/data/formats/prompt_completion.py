"""PromptCompletion: `{"prompt", "completion"}`, two texts or two lists of messages."""

from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data.formats.base import Format
from qwen3_trainer.data.messages import (
    kind_of,
    parse_messages,
    places,
    require_calls,
    require_text,
)
from qwen3_trainer.data.rows import Conversation, RawRow, RowError


def _convert(row: RawRow) -> Conversation:
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str):
        question = {"role": "user", "content": require_text(row, "prompt")}
        answer = {"role": "assistant", "content": require_text(row, "completion")}
        return Conversation([question, answer], prompt_length=1)
    for name in ("prompt", "completion"):
        if name not in row or row[name] is None:
            raise RowError(name, "missing")
    if not (isinstance(prompt, list) and isinstance(completion, list)):
        raise RowError(
            "prompt",
            "prompt and completion are either two strings or two lists of messages, not "
            f"{kind_of(prompt)} and {kind_of(completion)}",
        )
    asked = parse_messages(row, "prompt")
    if not any(m["role"] == "user" for m in asked):
        raise RowError("prompt", "no user message")
    answers = parse_messages(row, "completion")
    if not any(m["role"] == "assistant" for m in answers):
        raise RowError("completion", "no assistant answer")
    require_calls([*asked, *answers], places("prompt", asked) + places("completion", answers))
    return Conversation([*asked, *answers], prompt_length=len(asked))


PROMPT_COMPLETION = Format(
    DatasetFormat.PROMPT_COMPLETION, ("prompt", "completion"), "prompt and completion", _convert
)
