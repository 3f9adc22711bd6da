"""ShareGPT: `{"conversations": [{"from", "value"}, …]}`, perhaps with a system text beside it."""

from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data.formats.base import Format
from qwen3_trainer.data.messages import (
    kind_of,
    parse_message,
    require_answer,
    require_list,
    require_text,
)
from qwen3_trainer.data.rows import Conversation, Message, RawRow, RowError

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}


def _convert(row: RawRow) -> Conversation:
    turns = require_list(row, "conversations")
    messages: list[Message] = []
    if isinstance(row.get("system"), str) and row["system"].strip():
        messages.append({"role": "system", "content": row["system"]})
    for i, turn in enumerate(turns):
        messages.append(_parse_turn(turn, f"conversations[{i}]"))
    return Conversation(require_answer(messages, "conversations", len(messages) - len(turns)))


def _parse_turn(turn: object, field: str) -> Message:
    if not isinstance(turn, dict):
        raise RowError(field, f"an object is expected, not {kind_of(turn)}")
    if "from" not in turn and "role" in turn:
        return parse_message(turn, field)
    speaker = require_text(turn, "from", field)
    if speaker not in _ROLES:
        known = ", ".join(_ROLES)
        raise RowError(f"{field}.from", f"unknown speaker; one of {known} is expected")
    role = _ROLES[speaker]
    return {"role": role, "content": require_text(turn, "value", field, empty=role == "tool")}


SHARE_GPT = Format(
    DatasetFormat.SHARE_GPT, ("conversations",), "conversations (ShareGPT)", _convert
)
