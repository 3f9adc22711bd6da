"""Shapes of Qwen3, by Qwen's config.json."""

from qwen3_api.job.preflight import ModelShape


def _shape(hidden: int, inner: int, layers: int, heads: int, *, tied: bool) -> ModelShape:
    return ModelShape(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=151_936,
        tie_word_embeddings=tied,
    )


SHAPES = {
    "0.6B": _shape(1024, 3072, 28, 16, tied=True),
    "1.7B": _shape(2048, 6144, 28, 16, tied=True),
    "4B": _shape(2560, 9728, 36, 32, tied=True),
    "8B": _shape(4096, 12288, 36, 32, tied=False),
    "14B": _shape(5120, 17408, 40, 40, tied=False),
    "32B": _shape(5120, 25600, 64, 64, tied=False),
}
