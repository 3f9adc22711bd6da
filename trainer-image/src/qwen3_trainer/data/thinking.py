"""The thinking policy: what becomes of the reasoning in answers. Pure.

Qwen3's template writes a think block in front of an answer, an empty one without reasoning. What a
row holds as reasoning is `reasoning_content`, or what stands before `</think>` in the content.
"""

from typing import Literal

from qwen3_trainer.data.formats import Row, RowError

Thinking = Literal["AsInData", "Enabled", "Disabled"]

_END = "</think>"
_ANSWERS = ("messages", "completion", "chosen", "rejected")
"""Keys of a converted row that end in an answer to learn from."""
_HINT = (
    "Give the last answer of each row its reasoning (reasoning_content, or <think>…</think> in "
    "front of it), or set dataset.chatTemplate.thinking to AsInData or Disabled."
)


def apply_thinking(row: Row, policy: Thinking) -> Row:
    """The converted row as the policy wants it. Raises RowError: with Enabled, for a last answer
    without reasoning."""
    if policy == "Disabled":
        return {
            key: [_without_reasoning(m) for m in value] if _is_messages(key) else value
            for key, value in row.items()
        }
    if policy == "Enabled":
        for name in _ANSWERS:
            if name in row and not last_answer_reasons(row[name]):
                field = name if name in ("chosen", "rejected") else ""
                raise RowError(field, "the last answer has no reasoning", _HINT)
    return row


def _is_messages(key: str) -> bool:
    return key == "prompt" or key in _ANSWERS


def last_answer_reasons(messages: list[Row]) -> bool:
    """Whether the last answer among the messages holds reasoning."""
    return _reasons(next(m for m in reversed(messages) if m["role"] == "assistant"))


def any_answer_reasons(row: Row) -> bool:
    """Whether any answer in a converted row holds reasoning, earlier turns included."""
    messages = (m for key, value in row.items() if _is_messages(key) for m in value)
    return any(m["role"] == "assistant" and _reasons(m) for m in messages)


def _reasons(answer: Row) -> bool:
    reasoning = answer.get("reasoning_content")
    if reasoning is None:
        before, end, _ = answer["content"].partition(_END)
        reasoning = before.split("<think>")[-1] if end else ""
    return bool(reasoning.strip())


def _without_reasoning(message: Row) -> Row:
    if message["role"] != "assistant":
        return message
    kept = {k: v for k, v in message.items() if k != "reasoning_content"}
    if _END in kept["content"]:
        kept["content"] = kept["content"].split(_END)[-1].lstrip("\n")
    return kept
