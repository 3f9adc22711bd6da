"""What a model thought, told apart from what it answered. Pure."""

import re

_BLOCK = re.compile(r"\A\s*(?:<think>)?(.*?)</think>\s*", re.DOTALL)


def split_thinking(content: str | None, reasoning: str | None = None) -> tuple[str | None, str]:
    """Thinking (None when there is none) and answer of a message.

    content: the message's text. A server without a reasoning parser leaves the think block in it
      (an empty one when thinking is off).
    reasoning: what a server with one has parsed apart; it wins over a block.

    A block that never closes ran out of tokens: there is no answer after it. The opening tag may be
    missing: templates of thinking-only models put it into the prompt. A blank block is no thinking.
    """
    text = content or ""
    thought = ""
    if "</think>" in text:
        match = _BLOCK.match(text)
        assert match is not None  # noqa: S101  # the pattern takes whatever stands before the tag
        thought, text = match[1], text[match.end() :]
    elif text.lstrip().startswith("<think>"):
        thought, text = text.lstrip().removeprefix("<think>"), ""
    return (reasoning or "").strip() or thought.strip() or None, text
