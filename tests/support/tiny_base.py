"""A random Qwen3 of 0.3 M parameters with a byte-level tokenizer. Runs in vLLM's environment:

    python tiny_base.py FOLDER [qwen3]

With `qwen3` it has Qwen3's own chat template and the tokens that it writes; else a template that
nobody knows.
It answers gibberish, but each adapter of support.adapters makes it answer another gibberish.
"""

import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATE = Path(__file__).parents[2] / "local" / "tiny-model" / "tiny_qwen3" / "qwen3.jinja"
MARKS = [f"<{end}{name}>" for name in ("tool_call", "tool_response", "think") for end in ("", "/")]
"""Tokens of Qwen3's vocabulary that are one each, and no special ones: decoding shows them."""


def main(folder: Path, *, qwen3: bool) -> None:
    """Write config, weights, tokenizer and chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = CHAT_TEMPLATE
    if qwen3:
        fast.add_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
        fast.chat_template = TEMPLATE.read_text("utf-8")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
        initializer_range=0.2,
    )
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), qwen3="qwen3" in sys.argv[2:])
