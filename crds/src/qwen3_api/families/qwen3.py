"""Facts of dense Qwen3 models: config.json, think block, turns, tokenizer."""

from collections.abc import Mapping

ARCHITECTURE = "Qwen3ForCausalLM"
"""Member of architectures in config.json."""
MODEL_TYPE = "qwen3"
"""model_type in config.json."""
DEFAULT_POSITIONS = 32_768
"""max_position_embeddings where config.json has none."""
CONFIG_DEFAULTS: Mapping[str, object] = {
    "head_dim": 128,
    "tie_word_embeddings": False,
    "max_position_embeddings": DEFAULT_POSITIONS,
}
"""Values of transformers' Qwen3Config for fields that config.json may leave out."""

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
EMPTY_THINK = f"{THINK_OPEN}\n\n{THINK_CLOSE}\n\n"
"""The text that the template writes in front of an answer without reasoning, and, in a request with
enable_thinking false, at the end of the prompt."""
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"

TEMPLATE = "qwen3"
"""Name of the chat template among TRL's."""
PRE_TOKENIZER = "qwen2"
"""llama.cpp's name of the rule PRE_TOKENIZER_SPLIT."""
PRE_TOKENIZER_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Rule by which the tokenizer cuts text before BPE."""
