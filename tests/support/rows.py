"""Rows of the trainer, written as they stand in files of chat messages."""

from collections.abc import Mapping
from typing import Any

from qwen3_trainer.data.rows import Conversation, Preference, Row


def to_row(document: Mapping[str, Any]) -> Row:
    """`messages`, `prompt` and `completion`, or `prompt`, `chosen` and `rejected`, lists of
    messages each; perhaps `tools`."""
    tools = document.get("tools")
    if "chosen" in document:
        parts = (document[name] for name in ("prompt", "chosen", "rejected"))
        return Preference(*parts, tools=tools)
    if "completion" in document:
        prompt = document["prompt"]
        return Conversation([*prompt, *document["completion"]], len(prompt), tools)
    return Conversation(document["messages"], None, tools)
