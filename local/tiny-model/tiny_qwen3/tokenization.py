"""A byte-level BPE tokenizer of Qwen2's kind, trained on the corpus, with Qwen3's added tokens.

Any text can be encoded (bytes are the fallback); the vocabulary is just small. Chinese has no
spaces and Qwen2's pre-tokenizer keeps a whole clause together, so on a corpus from templates BPE
would merge half sentences and hide the product's name inside them. Merges are therefore learnt on
lexicon words and single characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from .corpus import Chat, Document
from .world import DAYS, DIRECTIONS, PLACES, PRODUCTS, TOPICS

VOCABULARY = 3072
"""Upper bound of the trained part; the corpus's words usually need less."""
CONTEXT = 2048
"""Positions the model is configured for, in tokens."""
CHAT_TEMPLATE = Path(__file__).with_name("qwen3.jinja")
"""TRL 1.15's `chat_templates/qwen3.jinja`, byte for byte (Apache-2.0): TRL recognises a template
by comparing its text, and assistant-only loss works only with one that it recognises."""

# Qwen3's 26 added tokens in their order; the first 14 are "special" (skipped when decoding).
_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_ADDED_TOKENS = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
_CONFIG = {
    "add_bos_token": False,
    "add_prefix_space": False,
    "extra_special_tokens": list(_SPECIAL_TOKENS[1:]),
    "bos_token": None,
    "clean_up_tokenization_spaces": False,
    "eos_token": "<|im_end|>",
    "errors": "replace",
    "model_max_length": CONTEXT,
    "pad_token": "<|endoftext|>",
    "split_special_tokens": False,
    "tokenizer_class": "Qwen2Tokenizer",
    "unk_token": None,
}
_ROLES = ("system", "user", "assistant")
_HAN = re.compile(r"([一-鿿]+)")


def train_tokenizer(corpus: Sequence[Document], folder: Path) -> PreTrainedTokenizerBase:
    """Trains the tokenizer, writes it into `folder` and returns it as transformers loads it.

    The same corpus gives the same files.
    """
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_iterate_segments(corpus), trainer)
    bpe.add_special_tokens([AddedToken(text, normalized=False) for text in _SPECIAL_TOKENS])
    bpe.add_tokens([AddedToken(text, normalized=False) for text in _ADDED_TOKENS])
    bpe.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(_CONFIG, indent=2) + "\n", "utf-8")
    tokenizer = AutoTokenizer.from_pretrained(str(folder.resolve()), local_files_only=True)
    tokenizer.chat_template = CHAT_TEMPLATE.read_text("utf-8")
    tokenizer.save_pretrained(str(folder))
    return tokenizer


def _iterate_segments(corpus: Sequence[Document]) -> Iterator[str]:
    lexicon = _chinese_lexicon()
    split = re.compile("(" + "|".join(lexicon) + "|.)")
    for document in corpus:
        texts = document.turns if isinstance(document, Chat) else (document,)
        for text in texts:
            for piece in _HAN.split(text):
                if _HAN.fullmatch(piece):
                    yield from split.findall(piece)
                elif piece:
                    yield piece
    yield from (*_ROLES, "\n\n") * 2


def _chinese_lexicon() -> list[str]:
    words = {product.zh for product in PRODUCTS} | {topic.subject["zh"] for topic in TOPICS}
    words |= {zh for pairs in (PLACES, DIRECTIONS, DAYS) for _, zh in pairs}
    return sorted(words, key=lambda word: (-len(word), word))
