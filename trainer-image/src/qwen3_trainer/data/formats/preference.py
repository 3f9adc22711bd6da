"""Preference: `{"prompt", "chosen", "rejected"}`, each a text or a list of messages; prompt may be
left out where chosen and rejected are messages with the same start."""

from qwen3_api.v1alpha1.training import DatasetFormat
from qwen3_trainer.data.formats.base import Format
from qwen3_trainer.data.messages import parse_messages, places, require_calls, require_text
from qwen3_trainer.data.rows import Message, Preference, RawRow, RowError


def _convert(row: RawRow) -> Preference:
    answers = {}
    for name in ("chosen", "rejected"):
        if isinstance(row.get(name), list):
            answers[name] = parse_messages(row, name)
        else:
            answers[name] = [{"role": "assistant", "content": require_text(row, name)}]
    chosen, rejected = answers["chosen"], answers["rejected"]
    if chosen == rejected:
        raise RowError("rejected", "the same as chosen")
    shared = 0
    if chosen[0]["role"] != "assistant" or rejected[0]["role"] != "assistant":
        shared = _common_start(chosen, rejected)
    prompt = _preference_prompt(row, chosen[:shared])
    if not any(m["role"] == "user" for m in prompt):
        raise RowError("prompt", "no user message")
    converted = Preference(prompt, chosen[shared:], rejected[shared:])
    for name, answer in converted.answers().items():
        if not answer or answer[0]["role"] != "assistant":
            raise RowError(name, "an assistant answer is expected where chosen and rejected part")
        before = places("prompt" if row.get("prompt") is not None else name, prompt)
        after = places(name, answers[name])[shared:]
        require_calls([*prompt, *answer], before + after)
    return converted


def _common_start(chosen: list[Message], rejected: list[Message]) -> int:
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == 0:
        raise RowError("rejected", "starts with another message than chosen")
    return shared


def _preference_prompt(row: RawRow, start: list[Message]) -> list[Message]:
    """The stated prompt, or the start that both answers share; if both, they must agree."""
    stated = row.get("prompt")
    if stated is None:
        if not start:
            raise RowError("prompt", "missing")
        return start
    if isinstance(stated, list):
        prompt = parse_messages(row, "prompt")
        if start and start != prompt:
            raise RowError("prompt", "chosen and rejected start with other messages")
        return prompt
    text = require_text(row, "prompt")
    if not start:
        return [{"role": "user", "content": text}]
    if text not in (m["content"] for m in start):
        raise RowError("prompt", "chosen and rejected start with other messages")
    return start


PREFERENCE = Format(
    DatasetFormat.PREFERENCE,
    ("chosen", "rejected"),
    "prompt, chosen and rejected, each a string or a list of messages; prompt may be left out "
    "where chosen and rejected are messages with the same start",
    _convert,
)
