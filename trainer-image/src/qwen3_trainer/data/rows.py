"""Rows behind the format stage: every later step works on these, whatever the file looked like.

A message is a dict, as chat templates take it: `role`, `content`, and of an assistant perhaps
`reasoning_content` and `tool_calls`. msgspec checks and tags the rows on their way through files
and to other processes. Nothing of a row's content appears in an error: errors end up in status.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

RawRow = dict[str, Any]
"""A row as it is in the file."""
Message = dict[str, Any]


class RowError(ValueError):
    """A row that can't be learned from: the field and what's wrong with it."""

    def __init__(self, field: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.hint = hint
        """The fix, where the shapes of a row don't show it."""


class LineError(ValueError):
    """The problem of a line, without the line."""

    def __init__(self, number: int, problem: str, unit: str = "line") -> None:
        super().__init__(f"{unit} {number}: {problem}")
        self.number = number
        self.problem = problem
        self.unit = unit


class Conversation(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """A dialogue to learn answers from."""

    messages: list[Message]
    prompt_length: int | None = None
    """Messages of the prompt where the row has a prompt and a completion, which alone has a loss;
    None: each answer has one."""
    tools: list[Any] | None = None

    def parts(self) -> list[tuple[str, list[Message]]]:
        """The messages by the fields that they stand in."""
        if self.prompt_length is None:
            return [("messages", self.messages)]
        return [("prompt", self.prompt), ("completion", self.messages[self.prompt_length :])]

    @property
    def prompt(self) -> list[Message]:
        """The messages that a model has to answer first."""
        if self.prompt_length is not None:
            return self.messages[: self.prompt_length]
        return list(itertools.takewhile(lambda m: m["role"] != "assistant", self.messages))

    def dialogue(self) -> list[Message]:
        """The whole dialogue."""
        return self.messages

    def spoken(self) -> Iterator[Message]:
        """Every message."""
        yield from self.messages

    def answers(self) -> dict[str, list[Message]]:
        """Messages that end in an answer to learn, by the field to name in an error."""
        return {"": self.messages[self.prompt_length or 0 :]}

    def mapped(self, change: Callable[[Message], Message]) -> "Conversation":
        """With every message changed."""
        return Conversation([change(m) for m in self.messages], self.prompt_length, self.tools)


class Preference(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """A prompt and two answers to it."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    tools: list[Any] | None = None

    def dialogue(self) -> list[Message]:
        """The dialogue with the chosen answer."""
        return [*self.prompt, *self.chosen]

    def spoken(self) -> Iterator[Message]:
        """Every message, of both answers."""
        yield from itertools.chain(self.prompt, self.chosen, self.rejected)

    def answers(self) -> dict[str, list[Message]]:
        """Messages that end in an answer to learn, by the field to name in an error."""
        return {"chosen": self.chosen, "rejected": self.rejected}

    def mapped(self, change: Callable[[Message], Message]) -> "Preference":
        """With every message changed."""
        prompt, chosen, rejected = (
            [change(m) for m in part] for part in (self.prompt, self.chosen, self.rejected)
        )
        return Preference(prompt, chosen, rejected, self.tools)


Row = Conversation | Preference
_DECODER = msgspec.json.Decoder(Row)
encode_row = msgspec.json.Encoder().encode


def decode_row(encoded: bytes) -> Row:
    """The row of its JSON."""
    row: Row = _DECODER.decode(encoded)
    return row


def has_late_system(row: Row) -> bool:
    """Whether a system message follows another one. Qwen3's template writes it where it stands, so
    it may be meant."""
    first, *later = row.dialogue()
    if first["role"] == "system":
        later = list(itertools.dropwhile(lambda m: m["role"] == "system", later))
    return any(m["role"] == "system" for m in later)


def ends_unanswered(row: Row) -> bool:
    """Whether the row ends in something else than an answer."""
    return bool(row.dialogue()[-1]["role"] != "assistant")
