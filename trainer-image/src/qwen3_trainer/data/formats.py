"""Shapes of a row, and how each becomes chat messages. Pure.

A row on disk is `{"messages": [...]}`, `{"prompt": [...], "completion": [...]}` or
`{"prompt": [...], "chosen": [...], "rejected": [...]}`, each a list of `{"role", "content"}` (an
assistant's may have `reasoning_content` and `tool_calls`), and perhaps `{"tools": [...]}`. Nothing
of a row's content appears in an error: errors end up in status.
"""

import itertools
import json
from collections.abc import Callable
from typing import Any, Literal

from qwen3_api.methods import METHODS, MethodType, RowKind

Format = Literal["Messages", "ShareGPT", "Alpaca", "PromptCompletion", "Preference"]
Row = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool")
_SHARE_GPT_ROLES = {
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
_KEPT_KEYS = ("reasoning_content", "tool_calls", "name", "tool_call_id")
_SHOWN_KEYS = 8


class RowError(ValueError):
    """A row that can't be learned from: the field and what's wrong with it."""

    def __init__(self, field: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.hint = hint
        """What to do, where the shapes of a row don't tell."""


def detect_format(row: Row, method: MethodType = MethodType.SFT) -> Format:
    """The format of a row by its keys. Raises RowError when none that the method takes fits."""
    keys = set(row)
    if METHODS[method].rows is RowKind.PREFERENCE:
        return _detect_preference(keys, method)
    if "messages" in keys:
        return "Messages"
    if "conversations" in keys:
        return "ShareGPT"
    if {"instruction", "output"} <= keys:
        return "Alpaca"
    if {"prompt", "completion"} <= keys:
        return "PromptCompletion"
    if {"chosen", "rejected"} <= keys:
        raise RowError("", f"a preference row (chosen, rejected); method {method} needs answers")
    raise RowError(
        "",
        f"no known format has these keys: {_shown(keys)}; expected messages, conversations, "
        "instruction + output, or prompt + completion",
    )


def _detect_preference(keys: set[str], method: MethodType) -> Format:
    if {"chosen", "rejected"} <= keys:
        return "Preference"
    raise RowError(
        "",
        f"not a preference row, it has these keys: {_shown(keys)}; method {method} needs chosen "
        "and rejected",
    )


def require_format(shape: Format, method: MethodType) -> None:
    """Raises RowError when the method can't learn from rows of this format."""
    if (METHODS[method].rows is RowKind.PREFERENCE) != (shape == "Preference"):
        raise RowError("", f"method {method} can't learn from rows of format {shape}")


def _shown(keys: set[str]) -> str:
    return ", ".join(sorted(str(k)[:40] for k in keys)[:_SHOWN_KEYS]) or "none"


def convert(row: Row, shape: Format) -> Row:
    """The row as uniform chat messages. Raises RowError."""
    converted = _CONVERTERS[shape](row)
    if row.get("tools"):
        converted["tools"] = _tools(row["tools"])
    return converted


def opening(row: Row) -> list[Row]:
    """The messages that a model has to answer first in a converted row."""
    if "prompt" in row:
        return list(row["prompt"])
    first = next(i for i, m in enumerate(row["messages"]) if m["role"] == "assistant")
    return list(row["messages"][:first])


def has_late_system(row: Row) -> bool:
    """Whether in a converted row a system message follows another one. Qwen3's template writes it
    where it stands, so it may be meant."""
    first, *later = dialogue(row)
    if first["role"] == "system":
        later = list(itertools.dropwhile(lambda m: m["role"] == "system", later))
    return any(m["role"] == "system" for m in later)


def ends_unanswered(row: Row) -> bool:
    """Whether a converted row ends in something else than an answer."""
    return bool(dialogue(row)[-1]["role"] != "assistant")


def dialogue(row: Row) -> list[Row]:
    """The messages of a converted row, of a preference row with the chosen answer."""
    return [m for key in ("messages", "prompt", "completion", "chosen") for m in row.get(key, ())]


def _from_messages(row: Row) -> Row:
    return {"messages": _conversation(row, "messages")}


def _from_share_gpt(row: Row) -> Row:
    turns = _list(row, "conversations")
    messages: list[Row] = []
    if isinstance(row.get("system"), str) and row["system"].strip():
        messages.append({"role": "system", "content": row["system"]})
    for i, turn in enumerate(turns):
        field = f"conversations[{i}]"
        if not isinstance(turn, dict):
            raise RowError(field, f"an object is expected, not {_kind(turn)}")
        if "from" not in turn and "role" in turn:
            messages.append(_message(turn, field))
            continue
        speaker = _text(turn, "from", field)
        if speaker not in _SHARE_GPT_ROLES:
            known = ", ".join(_SHARE_GPT_ROLES)
            raise RowError(f"{field}.from", f"unknown speaker; one of {known} is expected")
        role = _SHARE_GPT_ROLES[speaker]
        messages.append(
            {"role": role, "content": _text(turn, "value", field, empty=role == "tool")}
        )
    return {"messages": _answered(messages, "conversations", len(messages) - len(turns))}


def _from_alpaca(row: Row) -> Row:
    question = _text(row, "instruction")
    context = row.get("input")
    if context is not None and not isinstance(context, str):
        raise RowError("input", f"a string is expected, not {_kind(context)}")
    if context and context.strip():
        question = f"{question}\n\n{context}"
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": _text(row, "output")},
    ]
    if isinstance(row.get("system"), str) and row["system"].strip():
        messages.insert(0, {"role": "system", "content": row["system"]})
    return {"messages": messages}


def _from_prompt_completion(row: Row) -> Row:
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str):
        return {
            "prompt": [{"role": "user", "content": _text(row, "prompt")}],
            "completion": [{"role": "assistant", "content": _text(row, "completion")}],
        }
    for name in ("prompt", "completion"):
        if name not in row or row[name] is None:
            raise RowError(name, "missing")
    if not (isinstance(prompt, list) and isinstance(completion, list)):
        raise RowError(
            "prompt",
            "prompt and completion are either two strings or two lists of messages, not "
            f"{_kind(prompt)} and {_kind(completion)}",
        )
    asked = [_message(m, f"prompt[{i}]") for i, m in enumerate(_list(row, "prompt"))]
    if not any(m["role"] == "user" for m in asked):
        raise RowError("prompt", "no user message")
    answers = [_message(m, f"completion[{i}]") for i, m in enumerate(_list(row, "completion"))]
    if not any(m["role"] == "assistant" for m in answers):
        raise RowError("completion", "no assistant answer")
    _require_calls([*asked, *answers], _places("prompt", asked) + _places("completion", answers))
    return {"prompt": asked, "completion": answers}


def _from_preference(row: Row) -> Row:
    answers = {}
    for name in ("chosen", "rejected"):
        if isinstance(row.get(name), list):
            answers[name] = [_message(m, f"{name}[{i}]") for i, m in enumerate(_list(row, name))]
        else:
            answers[name] = [{"role": "assistant", "content": _text(row, name)}]
    chosen, rejected = answers["chosen"], answers["rejected"]
    if chosen == rejected:
        raise RowError("rejected", "the same as chosen")
    begun = 0
    if chosen[0]["role"] != "assistant" or rejected[0]["role"] != "assistant":
        begun = _common_beginning(chosen, rejected)
    prompt = _preference_prompt(row, chosen[:begun])
    if not any(m["role"] == "user" for m in prompt):
        raise RowError("prompt", "no user message")
    converted = {"prompt": prompt, "chosen": chosen[begun:], "rejected": rejected[begun:]}
    for name in ("chosen", "rejected"):
        if not converted[name] or converted[name][0]["role"] != "assistant":
            raise RowError(name, "an assistant answer is expected where chosen and rejected part")
        before = _places("prompt" if row.get("prompt") is not None else name, prompt)
        after = _places(name, answers[name])[begun:]
        _require_calls([*prompt, *converted[name]], before + after)
    return converted


def _common_beginning(chosen: list[Row], rejected: list[Row]) -> int:
    begun = 0
    while begun < min(len(chosen), len(rejected)) and chosen[begun] == rejected[begun]:
        begun += 1
    if begun == 0:
        raise RowError("rejected", "begins with another message than chosen")
    return begun


def _preference_prompt(row: Row, beginning: list[Row]) -> list[Row]:
    """The stated prompt, or the beginning that both answers share; if both, they must agree."""
    stated = row.get("prompt")
    if stated is None:
        if not beginning:
            raise RowError("prompt", "missing")
        return beginning
    if isinstance(stated, list):
        prompt = [_message(m, f"prompt[{i}]") for i, m in enumerate(_list(row, "prompt"))]
        if beginning and beginning != prompt:
            raise RowError("prompt", "chosen and rejected begin with other messages")
        return prompt
    text = _text(row, "prompt")
    if not beginning:
        return [{"role": "user", "content": text}]
    if text not in (m["content"] for m in beginning):
        raise RowError("prompt", "chosen and rejected begin with other messages")
    return beginning


_CONVERTERS: dict[Format, Callable[[Row], Row]] = {
    "Messages": _from_messages,
    "ShareGPT": _from_share_gpt,
    "Alpaca": _from_alpaca,
    "PromptCompletion": _from_prompt_completion,
    "Preference": _from_preference,
}


def _conversation(row: Row, field: str) -> list[Row]:
    messages = [_message(m, f"{field}[{i}]") for i, m in enumerate(_list(row, field))]
    return _answered(messages, field)


def _answered(messages: list[Row], field: str, added: int = 0) -> list[Row]:
    """Checks a dialogue; its first `added` messages stand elsewhere than in the field."""
    roles = [m["role"] for m in messages]
    if "assistant" not in roles:
        raise RowError(field, "no assistant answer")
    if "user" not in roles[: roles.index("assistant")]:
        raise RowError(field, "no user message before the first answer")
    _require_calls(messages[added:], _places(field, messages[added:]))
    return messages


def _places(field: str, messages: list[Row]) -> list[str]:
    return [f"{field}[{i}]" for i in range(len(messages))]


def _require_calls(messages: list[Row], places: list[str]) -> None:
    """A tool's result follows the answer that called the tool, perhaps behind other results or a
    system message. The call may stand in the answer's text, so any answer will do."""
    before = None
    for message, place in zip(messages, places, strict=True):
        if message["role"] == "tool" and before not in ("assistant", "tool"):
            raise RowError(place, "a tool's result that doesn't follow an assistant's message")
        if message["role"] != "system":
            before = message["role"]


def _message(message: Any, field: str) -> Row:
    if not isinstance(message, dict):
        raise RowError(field, f"an object is expected, not {_kind(message)}")
    role = _text(message, "role", field)
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
        content = _text(message, "content", field, empty=role in ("system", "tool"))
    return {"role": role, "content": content, **kept}


def _tool_calls(calls: Any, field: str) -> list[Row]:
    if not isinstance(calls, list):
        raise RowError(field, f"a list is expected, not {_kind(calls)}")
    return [_tool_call(call, f"{field}[{i}]") for i, call in enumerate(calls)]


def _tool_call(call: Any, field: str) -> Row:
    """A call as Qwen3's template writes it: `{"function": {"name", "arguments"}}`, or these two
    keys without the wrapper. Without arguments it gets none, `{}`."""
    if not isinstance(call, dict):
        raise RowError(field, f"an object is expected, not {_kind(call)}")
    if call.get("function") is None:
        return {k: v for k, v in call.items() if k != "function"} | _called(call, field)
    function, field = call["function"], f"{field}.function"
    if not isinstance(function, dict):
        raise RowError(field, f"an object is expected, not {_kind(function)}")
    return {**call, "function": {**function, **_called(function, field)}}


def _called(function: Row, field: str) -> Row:
    name, arguments = _text(function, "name", field), function.get("arguments")
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
        raise RowError(f"{field}.arguments", f"an object is expected, not {_kind(parsed)}")
    return {"name": name, "arguments": arguments}


def _joined_parts(parts: list[Any], field: str) -> str:
    texts = []
    for i, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("type") != "text":
            raise RowError(f"{field}[{i}]", 'only parts of type "text" can be learned from')
        texts.append(_text(part, "text", f"{field}[{i}]"))
    if not texts:
        raise RowError(field, "empty")
    return "".join(texts)


def _tools(tools: Any) -> list[Any]:
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise RowError("tools", "a list, or a list as JSON text, is expected") from error
    if not isinstance(tools, list):
        raise RowError("tools", f"a list is expected, not {_kind(tools)}")
    for i, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise RowError(f"tools[{i}]", f"an object is expected, not {_kind(tool)}")
    return tools


def _list(row: Row, field: str) -> list[Any]:
    value = row.get(field)
    if value is None:
        raise RowError(field, "missing")
    if not isinstance(value, list):
        raise RowError(field, f"a list is expected, not {_kind(value)}")
    if not value:
        raise RowError(field, "empty")
    return value


def _text(row: Row, key: str, field: str = "", *, empty: bool = False) -> str:
    name = f"{field}.{key}" if field else key
    value = row.get(key)
    if value is None:
        raise RowError(name, "missing")
    if not isinstance(value, str):
        raise RowError(name, f"a string is expected, not {_kind(value)}")
    if not empty and not value.strip():
        raise RowError(name, "empty")
    return value


def _kind(value: Any) -> str:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list"
    return kinds.get(type(value), "an object")
