"""The base model's tokenizer, as far as rendering rows needs it, without transformers' models.

transformers' own tokenizer classes import torch: 4 s and 0.7 GB. Its template engine
(`transformers.utils.chat_template_utils`) and the tokenizers library don't; the integration test
compares the result with the trainer's.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template


class ChatTokenizer:
    """What `worker.rendering` asks of a tokenizer."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError when the folder's files can't be read."""
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"tokenizer.json can't be read: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.chat_template: str | None = read_chat_template(folder)

    def apply_chat_template(
        self,
        messages: list[dict[str, Any]],
        *,
        chat_template: str,
        tools: list[Any] | None = None,
        add_generation_prompt: bool = False,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        enable_thinking: bool = True,
    ) -> dict[str, list[int]]:
        """As PreTrainedTokenizerBase.apply_chat_template: input_ids, and assistant_masks."""
        texts, spans = render_jinja_template(
            [messages],
            tools=tools,
            chat_template=chat_template,
            add_generation_prompt=add_generation_prompt,
            return_assistant_tokens_mask=return_assistant_tokens_mask,
            enable_thinking=enable_thinking,
        )
        encoding = self._tokenizer.encode(texts[0], add_special_tokens=False)
        result = {"input_ids": encoding.ids}
        if return_assistant_tokens_mask:
            result["assistant_masks"] = _mask(encoding, spans[0])
        return result

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        """input_ids of a text."""
        encoding = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return {"input_ids": encoding.ids}

    def decode(self, ids: list[int]) -> str:
        """The text of tokens, special ones included."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text


def _mask(encoding: Encoding, spans: list[tuple[int, int]]) -> list[int]:
    """1 for each token of the spans (in characters); the loop of transformers'
    apply_chat_template."""
    mask = [0] * len(encoding.ids)
    for first, after in spans:
        start = encoding.char_to_token(first)
        if start is None:
            break
        end = encoding.char_to_token(after - 1)
        stop = end + 1 if end else len(mask)
        mask[start:stop] = [1] * (stop - start)
    return mask


def read_chat_template(folder: Path) -> str | None:
    """The chat template as transformers finds it: chat_template.jinja, then
    tokenizer_config.json. Raises ValueError."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        return None
    template = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    if isinstance(template, list):  # named variants
        named = {t["name"]: t["template"] for t in template}
        template = named.get("default")
    return template if isinstance(template, str) else None
