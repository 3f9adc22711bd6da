"""The numbers of a build; free of torch, so that tests and caches can read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """What a build depends on besides the corpus."""

    seed: int = 20261124
    documents: int = 19_200
    batch_documents: int = 24
    matrix_learning_rate: float = 0.03
    vector_learning_rate: float = 2e-2
    warmup_steps: int = 30
    weight_decay: float = 0.05
    answer_weight: float = 0.7
    """Share of the loss that is on assistants' turns alone; the rest is on every token."""
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32

    @property
    def steps(self) -> int:
        return self.documents // self.batch_documents
