"""Messages of a row on disk, checked field by field, as chat templates take them. Pure."""

import json
from typing import Any

from qwen3_trainer.data.rows import Message, RawRow, RowError

ROLES = ("system", "user", "assistant", "tool")
_KEPT_KEYS = ("reasoning_content", "tool_calls", "name", "tool_call_id")


def parse_messages(row: RawRow, field: str) -> list[Message]:
    """The messages of a field. Raises RowError."""
    return [parse_message(m, f"{field}[{i}]") for i, m in enumerate(require_list(row, field))]


def require_answer(messages: list[Message], field: str, added: int = 0) -> list[Message]:
    """Checks a dialogue; its first `added` messages stand elsewhere than in the field. Raises
    RowError."""
    roles = [m["role"] for m in messages]
    if "assistant" not in roles:
        raise RowError(field, "no assistant answer")
    if "user" not in roles[: roles.index("assistant")]:
        raise RowError(field, "no user message before the first answer")
    require_calls(messages[added:], places(field, messages[added:]))
    return messages


def places(field: str, messages: list[Message]) -> list[str]:
    """Names of the messages in errors."""
    return [f"{field}[{i}]" for i in range(len(messages))]


def require_calls(messages: list[Message], names: list[str]) -> None:
    """A tool's result follows the answer that called the tool, perhaps behind other results or a
    system message. The call may stand in the answer's text, so any answer will do. Raises
    RowError."""
    before = None
    for message, place in zip(messages, names, strict=True):
        if message["role"] == "tool" and before not in ("assistant", "tool"):
            raise RowError(place, "a tool's result that doesn't follow an assistant's message")
        if message["role"] != "system":
            before = message["role"]


def parse_message(message: Any, field: str) -> Message:
    """A message with what a chat template takes. Raises RowError."""
    if not isinstance(message, dict):
        raise RowError(field, f"an object is expected, not {kind_of(message)}")
    role = require_text(message, "role", field)
    if role not in ROLES:
        raise RowError(f"{field}.role", f"one of {', '.join(ROLES)} is expected")
    kept = {k: message[k] for k in _KEPT_KEYS if message.get(k)}
    if "tool_calls" in kept:
        kept["tool_calls"] = _tool_calls(kept["tool_calls"], f"{field}.tool_calls")
    if not isinstance(kept.get("reasoning_content", ""), str):
        raise RowError(f"{field}.reasoning_content", "a string is expected")
    if isinstance(message.get("content"), list):
        content = _joined_parts(message["content"], f"{field}.content")
    elif "tool_calls" in kept and not message.get("content"):
        content = ""
    else:
        content = require_text(message, "content", field, empty=role in ("system", "tool"))
    return {"role": role, "content": content, **kept}


def _tool_calls(calls: Any, field: str) -> list[Message]:
    if not isinstance(calls, list):
        raise RowError(field, f"a list is expected, not {kind_of(calls)}")
    return [_tool_call(call, f"{field}[{i}]") for i, call in enumerate(calls)]


def _tool_call(call: Any, field: str) -> Message:
    """A call as Qwen3's template writes it: `{"function": {"name", "arguments"}}`, or these two
    keys without the wrapper. Without arguments it gets none, `{}`."""
    if not isinstance(call, dict):
        raise RowError(field, f"an object is expected, not {kind_of(call)}")
    if call.get("function") is None:
        return {k: v for k, v in call.items() if k != "function"} | _called(call, field)
    function, field = call["function"], f"{field}.function"
    if not isinstance(function, dict):
        raise RowError(field, f"an object is expected, not {kind_of(function)}")
    return {**call, "function": {**function, **_called(function, field)}}


def _called(function: RawRow, field: str) -> Message:
    name, arguments = require_text(function, "name", field), function.get("arguments")
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        arguments = {}
    parsed = arguments
    if isinstance(arguments, str):  # the template writes it as it is
        try:
            parsed = json.loads(arguments)
        except (ValueError, RecursionError) as error:
            problem = "an object, or an object as JSON text, is expected"
            raise RowError(f"{field}.arguments", problem) from error
    if parsed is None:
        parsed = arguments = {}
    if not isinstance(parsed, dict):
        raise RowError(f"{field}.arguments", f"an object is expected, not {kind_of(parsed)}")
    return {"name": name, "arguments": arguments}


def _joined_parts(parts: list[Any], field: str) -> str:
    texts = []
    for i, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("type") != "text":
            raise RowError(f"{field}[{i}]", 'only parts of type "text" can be learned from')
        texts.append(require_text(part, "text", f"{field}[{i}]"))
    if not texts:
        raise RowError(field, "empty")
    return "".join(texts)


def parse_tools(tools: Any) -> list[Any]:
    """Definitions of tools. Raises RowError."""
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise RowError("tools", "a list, or a list as JSON text, is expected") from error
    if not isinstance(tools, list):
        raise RowError("tools", f"a list is expected, not {kind_of(tools)}")
    for i, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise RowError(f"tools[{i}]", f"an object is expected, not {kind_of(tool)}")
    return tools


def require_list(row: RawRow, field: str) -> list[Any]:
    """A list that isn't empty. Raises RowError."""
    value = row.get(field)
    if value is None:
        raise RowError(field, "missing")
    if not isinstance(value, list):
        raise RowError(field, f"a list is expected, not {kind_of(value)}")
    if not value:
        raise RowError(field, "empty")
    return value


def require_text(row: RawRow, key: str, field: str = "", *, empty: bool = False) -> str:
    """A text, which isn't blank unless it may be. Raises RowError."""
    name = f"{field}.{key}" if field else key
    value = row.get(key)
    if value is None:
        raise RowError(name, "missing")
    if not isinstance(value, str):
        raise RowError(name, f"a string is expected, not {kind_of(value)}")
    if not empty and not value.strip():
        raise RowError(name, "empty")
    return value


def kind_of(value: Any) -> str:
    """The JSON type of a value, in words."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list"
    return kinds.get(type(value), "an object")
