"""The thinking policy: what becomes of the reasoning in answers. Pure.

Qwen3's template writes a think block in front of an answer, an empty one without reasoning. What a
row holds as reasoning is `reasoning_content`, or what stands before `</think>` in the content.
"""

from typing import Literal

from qwen3_trainer.data.rows import Message, Row, RowError

Thinking = Literal["AsInData", "Enabled", "Disabled"]

_END = "</think>"
_HINT = (
    "Give the last answer of each row its reasoning (reasoning_content, or <think>…</think> in "
    "front of it), or set dataset.chatTemplate.thinking to AsInData or Disabled."
)


def apply_thinking(row: Row, policy: Thinking) -> Row:
    """The row as the policy wants it. Raises RowError: with Enabled, for a last answer without
    reasoning."""
    if policy == "Disabled":
        return row.mapped(_without_reasoning)
    if policy == "Enabled":
        for field, messages in row.answers().items():
            if not _last_reasons(messages):
                raise RowError(field, "the last answer has no reasoning", _HINT)
    return row


def last_answer_reasons(row: Row) -> bool:
    """Whether the last answer to learn holds reasoning; of a preference the chosen one's."""
    return _last_reasons(next(iter(row.answers().values())))


def any_answer_reasons(row: Row) -> bool:
    """Whether any answer holds reasoning, earlier turns included."""
    return any(m["role"] == "assistant" and _reasons(m) for m in row.spoken())


def _last_reasons(messages: list[Message]) -> bool:
    return _reasons(next(m for m in reversed(messages) if m["role"] == "assistant"))


def _reasons(answer: Message) -> bool:
    reasoning = answer.get("reasoning_content")
    if reasoning is None:
        before, end, _ = answer["content"].partition(_END)
        reasoning = before.split("<think>")[-1] if end else ""
    return bool(reasoning.strip())


def _without_reasoning(message: Message) -> Message:
    if message["role"] != "assistant":
        return message
    kept = {k: v for k, v in message.items() if k != "reasoning_content"}
    if _END in kept["content"]:
        kept["content"] = kept["content"].split(_END)[-1].lstrip("\n")
    return kept
