"""One build from nothing: corpus, tokenizer, pretraining, the check that it learnt, the files."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from transformers import GenerationConfig

from .competence import require_competence
from .corpus import build_corpus
from .pretraining import pretrain
from .recipe import Recipe
from .tokenization import train_tokenizer


def build_folder(folder: Path) -> None:
    """Writes the model in Hugging Face's format into the empty `folder`; a summary goes to stderr.

    Raises IncompetentModelError if the trained model fails its own world's questions.
    """
    start = time.monotonic()
    recipe = Recipe()
    corpus = build_corpus(recipe.documents, recipe.seed)
    tokenizer = train_tokenizer(corpus, folder)
    model = pretrain(recipe, corpus, tokenizer).to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        # Greedy, said in the one way that vLLM understands too: it reads top_k, not do_sample.
        do_sample=True,
        temperature=1.0,
        top_k=1,
        top_p=1.0,
        bos_token_id=model.config.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
        pad_token_id=tokenizer.pad_token_id,
    )
    share = require_competence(model, tokenizer)
    model.save_pretrained(folder)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{parameters / 1e6:.2f} M parameters, {len(tokenizer)} tokens, "
        f"{share:.0%} of the probes right, {time.monotonic() - start:.0f} s",
        file=sys.stderr,
    )
