"""vLLM's reasoning parser of the pool: clean content, reasoning apart, for every Qwen3 template.

Loaded by `--reasoning-parser-plugin` in the API server and in the engine's process. vLLM's own
`qwen3` parser takes an output without a closing tag for reasoning, so an Instruct-2507 model would
never answer, and it leaves the block's blank lines in the content. This one asks the template
(`thinking.find_think_start`).

The interface is vLLM's `ReasoningParser`: one instance per request and side. The API server feeds
text and ids; the engine's structured outputs only ask by ids when a grammar may start.
"""

from collections.abc import Iterable, Sequence
from typing import Any

# DeltaMessage moves between vLLM's releases; the base parsers always have it.
from vllm.reasoning.abs_reasoning_parsers import ReasoningParser, ReasoningParserManager
from vllm.reasoning.basic_parsers import DeltaMessage

from qwen3_server.thinking import (
    THINK_CLOSE,
    THINK_OPEN,
    ThinkSplitter,
    ThinkStart,
    find_think_start,
    split_output,
)

NAME = "qwen3_template"
"""The argument of --reasoning-parser."""


@ReasoningParserManager.register_module(NAME)
class TemplateReasoningParser(ReasoningParser):  # type: ignore[misc]  # vLLM is not installed here
    """Reasoning by what the request's chat template says about it."""

    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self._start = _find_start(tokenizer, kwargs.get("chat_template_kwargs") or {})
        self._open_id = self.vocab.get(THINK_OPEN)
        self._close_id = self.vocab.get(THINK_CLOSE)
        self._turn_id = self.vocab.get("<|im_start|>")
        self._splitter: ThinkSplitter | None = None
        """Of a stream; None in the engine's process, which has ids only."""

    @property
    def reasoning_start_str(self) -> str:
        """For vLLM's thinking budget."""
        return THINK_OPEN

    @property
    def reasoning_end_str(self) -> str:
        """For vLLM's thinking budget."""
        return THINK_CLOSE

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Whether what follows these ids is the answer: of the last turn, the last tag decides."""
        for token in reversed(input_ids):
            if token == self._turn_id:
                break
            if token == self._close_id:
                return True
            if token == self._open_id:
                return False
        return self._start is ThinkStart.NEVER

    def is_reasoning_end_streaming(
        self, input_ids: Sequence[int], delta_ids: Iterable[int]
    ) -> bool:
        """Text: once the answer has begun. Ids alone: with the closing tag."""
        if self._splitter is not None:
            return self._splitter.in_answer
        return self._close_id in delta_ids

    def adjust_initial_state_from_prompt(self, prompt_token_ids: Sequence[int]) -> None:
        """The prompt that was sent wins over the template: it may continue a message."""
        for token in reversed(prompt_token_ids):
            if token == self._turn_id:
                return
            if token == self._open_id:
                self._start = ThinkStart.IN_PROMPT
                return

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        """What follows the closing tag; all where there is none and the answer has begun."""
        if self._close_id in input_ids:
            return input_ids[input_ids.index(self._close_id) + 1 :]
        return list(input_ids) if self._splitter and self._splitter.in_answer else []

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """Reasoning and answer of a whole output."""
        start = self._start
        if start is ThinkStart.IN_PROMPT and getattr(request, "continue_final_message", False):
            # The prompt ends inside the client's own text, behind the template's tag.
            start = ThinkStart.IN_OUTPUT
        return split_output(model_output, start)

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> DeltaMessage | None:
        """The next part of a stream; None while it adds nothing that a client should see."""
        if self._splitter is None:
            self._splitter = ThinkSplitter(self._start)
        piece = self._splitter.feed(delta_text)
        if not piece.reasoning and not piece.content:
            return None
        return DeltaMessage(reasoning=piece.reasoning or None, content=piece.content or None)

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """Tokens between the tags, for `usage`."""
        ids = list(token_ids)
        end = ids.index(self._close_id) if self._close_id in ids else len(ids)
        if self._start is ThinkStart.IN_PROMPT:
            return end
        if self._open_id not in ids[:end]:
            return 0
        return end - ids.index(self._open_id) - 1


def _find_start(tokenizer: Any, arguments: dict[str, Any]) -> ThinkStart:
    """By rendering a chat. vLLM passes the server's and the request's template arguments merged;
    of Qwen3's templates only `enable_thinking` moves the block."""
    template = str(tokenizer.chat_template or "")
    if not template:
        return ThinkStart.NEVER
    given = {k: v for k, v in arguments.items() if k == "enable_thinking"}
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}], add_generation_prompt=True, tokenize=False, **given
    )
    return find_think_start(prompt, template)
