"""Messages: OpenAI's chats, `{"messages": [{"role", "content"}, …]}`."""

from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data.formats.base import Format
from qwen3_trainer.data.messages import parse_messages, require_answer
from qwen3_trainer.data.rows import Conversation, RawRow


def _convert(row: RawRow) -> Conversation:
    return Conversation(require_answer(parse_messages(row, "messages"), "messages"))


MESSAGES = Format(DatasetFormat.MESSAGES, ("messages",), "messages", _convert)
