"""Alpaca: `{"instruction", "input", "output"}`, texts."""

from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data.formats.base import Format
from qwen3_trainer.data.messages import kind_of, require_text
from qwen3_trainer.data.rows import Conversation, RawRow, RowError


def _convert(row: RawRow) -> Conversation:
    question = require_text(row, "instruction")
    context = row.get("input")
    if context is not None and not isinstance(context, str):
        raise RowError("input", f"a string is expected, not {kind_of(context)}")
    if context and context.strip():
        question = f"{question}\n\n{context}"
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": require_text(row, "output")},
    ]
    if isinstance(row.get("system"), str) and row["system"].strip():
        messages.insert(0, {"role": "system", "content": row["system"]})
    return Conversation(messages)


ALPACA = Format(
    DatasetFormat.ALPACA,
    ("instruction", "output"),
    "instruction, input, output (Alpaca)",
    _convert,
)
