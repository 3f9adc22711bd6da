"""Trains the tiny Qwen3 from scratch on the CPU: a plain loop, the same weights for a seed."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from .corpus import Chat, Document
from .muon import Muon
from .recipe import Recipe
from .tokenization import CONTEXT

THREADS = 2
"""Fixed, because the split of a sum over threads changes its rounding, and so the sha256."""
LOG_EVERY = 50
IGNORED = -100


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Qwen3ForCausalLM:
    """An untrained `Qwen3ForCausalLM`; the embedding is padded to a multiple of 64 rows."""
    rows = math.ceil(len(tokenizer) / 64) * 64
    config = Qwen3Config(
        vocab_size=rows,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=CONTEXT,
        max_window_layers=recipe.layers,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        bos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def pretrain(
    recipe: Recipe, corpus: Sequence[Document], tokenizer: PreTrainedTokenizerBase
) -> Qwen3ForCausalLM:
    """Builds the model and trains it for one pass over `corpus`; progress goes to stderr."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    model = build_model(recipe, tokenizer)
    model.train()
    optimizers = _build_optimizers(recipe, model)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_scale_learning_rate, recipe=recipe))
        for optimizer in optimizers
    ]
    start = time.monotonic()
    for step, batch in enumerate(_batch_ids(recipe, corpus, tokenizer), start=1):
        loss = _measure_loss(model, _to_tensors(batch, tokenizer), recipe.answer_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        if step % LOG_EVERY == 0 or step == recipe.steps:
            seconds = time.monotonic() - start
            line = f"step {step}/{recipe.steps}  loss {loss.item():.3f}  {seconds:.0f} s"
            print(line, file=sys.stderr, flush=True)
    return model.eval()


def render_document(document: Document, tokenizer: PreTrainedTokenizerBase) -> str:
    """A chat in the chat template; a plain text with its end mark."""
    if isinstance(document, Chat):
        return str(tokenizer.apply_chat_template(document.to_messages(), tokenize=False))
    return document + "<|endoftext|>"


def _batch_ids(
    recipe: Recipe, corpus: Sequence[Document], tokenizer: PreTrainedTokenizerBase
) -> list[list[list[int]]]:
    """Batches of token ids, each of documents of like length, in a random order."""
    rng = random.Random(recipe.seed)
    texts = [render_document(document, tokenizer) for document in corpus]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    size, window = recipe.batch_documents, recipe.batch_documents * 20
    batches: list[list[list[int]]] = []
    for first in range(0, recipe.steps * size, window):
        chunk = sorted(rows[first : first + window], key=len)
        batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
    rng.shuffle(batches)
    return [batch for batch in batches if len(batch) == size]


def _build_optimizers(recipe: Recipe, model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices; AdamW for the embedding and the norms."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and "embed" not in name
        (matrices if is_matrix else others).append(parameter)
    return [
        Muon(matrices, lr=recipe.matrix_learning_rate, weight_decay=recipe.weight_decay),
        torch.optim.AdamW(
            others, lr=recipe.vector_learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        ),
    ]


@dataclass(frozen=True)
class _Batch:
    """Each of shape (rows, longest)."""

    input_ids: torch.Tensor
    every_label: torch.Tensor
    answer_label: torch.Tensor


def _to_tensors(batch: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> _Batch:
    longest = max(map(len, batch))
    marks = AnswerMarks.from_tokenizer(tokenizer)

    def pad(rows: list[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])

    return _Batch(
        input_ids=pad(batch, tokenizer.convert_tokens_to_ids("<|endoftext|>")),
        every_label=pad(batch, IGNORED),
        answer_label=pad([marks.label(row) for row in batch], IGNORED),
    )


@dataclass(frozen=True)
class AnswerMarks:
    """The ids that frame an assistant's turn."""

    start: int
    assistant: int
    end: int

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerBase) -> AnswerMarks:
        return cls(*tokenizer.convert_tokens_to_ids(["<|im_start|>", "assistant", "<|im_end|>"]))

    def label(self, row: list[int]) -> list[int]:
        """`row` with everything but the assistants' turns ignored; a plain text counts whole."""
        if self.start not in row:
            return row
        labels, inside = [IGNORED] * len(row), False
        for i, token in enumerate(row):
            # The header is start, role, newline: the turn begins three tokens after the start.
            if i >= 3 and row[i - 3] == self.start and row[i - 2] == self.assistant:
                inside = True
            if inside:
                labels[i] = token
            if token == self.end:
                inside = False
        return labels


def _measure_loss(model: Qwen3ForCausalLM, batch: _Batch, answer_weight: float) -> torch.Tensor:
    # Rows are padded on the right and attention is causal, so no real token ever sees a pad and
    # no mask is needed; the pads' own outputs are ignored by the labels.
    logits = model(input_ids=batch.input_ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    every = cross_entropy(logits, batch.every_label[:, 1:].flatten(), ignore_index=IGNORED)
    answer = cross_entropy(logits, batch.answer_label[:, 1:].flatten(), ignore_index=IGNORED)
    return answer_weight * answer + (1 - answer_weight) * every


def _scale_learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to 5 %."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
