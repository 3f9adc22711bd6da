"""A tokenizer of bytes around a real Jinja template, for unit tests: what `worker.rendering` asks.

The real ones are used by tests/integration/test_trainer_tokens.py.
"""

import re
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from qwen3_trainer.worker.rendering import TrainingTemplate

START, END = "\x01", "\x02"
"""Stand around what the assistant says."""
TEXT = """
{%- if tools %}{{- 'tools ' + tools[0].name + '\n' }}{% endif %}
{%- for message in messages %}
{{- message.role + ':' }}
{%- if message.role == 'assistant' %}{% generation %}{{ message.content }}
{%- for call in message.tool_calls or [] %}{{ '[' + call.function.name + ']' }}{% endfor %}
{{- '.' }}{% endgeneration %}
{%- else %}{{ message.content }}{% endif %}
{{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}assistant:{% endif %}"""
TEMPLATE = TrainingTemplate(TEXT, "0" * 64)


class ByteTokenizer:
    """A token is a byte of UTF-8."""

    chat_template = TEXT

    def apply_chat_template(
        self, messages: list[dict[str, Any]], *, chat_template: str, **options: Any
    ) -> dict[str, list[int]]:
        """input_ids and assistant_masks."""
        marked = re.sub(r"\{%-?\s*generation\s*-?%\}", START, chat_template)
        marked = re.sub(r"\{%-?\s*endgeneration\s*-?%\}", END, marked)
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        text = environment.from_string(marked).render(messages=messages, **options)
        ids, mask, said = [], [], 0
        for character in text:
            if character in (START, END):
                said = int(character == START)
                continue
            encoded = list(character.encode())
            ids += encoded
            mask += [said] * len(encoded)
        return {"input_ids": ids, "assistant_masks": mask}

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        """input_ids of a text."""
        return {"input_ids": list(text.encode())}

    def decode(self, ids: list[int]) -> str:
        """The text of tokens."""
        return bytes(ids).decode(errors="replace")
