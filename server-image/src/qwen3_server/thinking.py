"""Reasoning and answer of a model's output, told apart as it arrives. Pure.

Qwen3 writes `<think>…</think>` before its answer. Who writes the opening tag depends on the model's
chat template, which is therefore asked (`find_think_start`) instead of the model's name:

    Qwen3, thinking on      the model opens the block                        ThinkStart.IN_OUTPUT
    Qwen3, thinking off     the prompt ends with an empty, closed block      ThinkStart.NEVER
    Qwen3-Thinking-2507     the prompt ends with the opening tag             ThinkStart.IN_PROMPT
    Qwen3-Instruct-2507     there is no block anywhere                       ThinkStart.NEVER
"""

from dataclasses import dataclass
from enum import Enum, auto

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
_TURN = "<|im_start|>"


class ThinkStart(Enum):
    """Where the think block of an output begins."""

    NEVER = auto()
    """The output is the answer."""
    IN_PROMPT = auto()
    """The prompt has opened the block: the output begins inside it."""
    IN_OUTPUT = auto()
    """The output begins with the opening tag if the model thinks."""


def find_think_start(prompt: str, template: str) -> ThinkStart:
    """Where the think block of an output begins.

    prompt: a rendered chat that ends where the output starts; only the last turn counts, since
      earlier ones (tool calls) may have think blocks of their own.
    template: the chat template that rendered it.
    """
    turn = prompt[prompt.rfind(_TURN) + 1 :]
    opened, closed = turn.rfind(THINK_OPEN), turn.rfind(THINK_CLOSE)
    if opened == closed == -1:
        return ThinkStart.IN_OUTPUT if THINK_CLOSE in template else ThinkStart.NEVER
    return ThinkStart.IN_PROMPT if opened > closed else ThinkStart.NEVER


@dataclass(frozen=True)
class Piece:
    """What a part of the output adds to each side."""

    reasoning: str = ""
    content: str = ""


class ThinkSplitter:
    """Splits one output, fed in parts of any size as long as no part cuts a tag (a tag is one token
    of Qwen3's vocabulary).

    Around the tags white space is layout, not text: a block of white space is no reasoning, and the
    answer begins with its first visible character. An output that doesn't begin with the tag is the
    answer as it stands. What is cut inside the block has no answer.
    """

    def __init__(self, start: ThinkStart) -> None:
        self._start = start
        self._decided = start is not ThinkStart.IN_OUTPUT
        """Whether the output thinks is known."""
        self._thinking = start is ThinkStart.IN_PROMPT
        self._thought = False
        """Some visible reasoning was passed on."""
        self._held = ""
        """White space that may turn out to be layout."""
        self.in_answer = start is ThinkStart.NEVER
        """The answer has begun: what follows belongs to it as it stands."""

    def feed(self, text: str) -> Piece:
        """The next part of the output."""
        if self.in_answer:
            return Piece(content=text)
        if not self._decided:
            text, self._held = self._held + text, ""
            visible = text.lstrip()
            if not visible:
                self._held = text
                return Piece()
            self._decided = True
            if not visible.startswith(THINK_OPEN):
                self.in_answer = True
                return Piece(content=text)
            self._thinking = True
            text = visible.removeprefix(THINK_OPEN)
        if not self._thinking:
            return self._begin_answer(text)
        thought, tag, rest = text.partition(THINK_CLOSE)
        reasoning = self._add_thought(thought)
        if not tag:
            return Piece(reasoning=reasoning)
        self._thinking, self._held = False, ""
        return Piece(reasoning=reasoning, content=self._begin_answer(rest).content)

    def _add_thought(self, text: str) -> str:
        """Visible text with the white space before it; trailing white space is held back."""
        text = self._held + text
        if not self._thought:
            text = text.lstrip()
        visible = text.rstrip()
        self._held = text[len(visible) :]
        self._thought = self._thought or bool(visible)
        return visible

    def _begin_answer(self, text: str) -> Piece:
        answer = text.lstrip()
        self.in_answer = bool(answer)
        return Piece(content=answer)


def split_output(text: str, start: ThinkStart) -> tuple[str | None, str | None]:
    """Reasoning and answer of a whole output; None where there is none."""
    piece = ThinkSplitter(start).feed(text)
    return piece.reasoning or None, piece.content or None
