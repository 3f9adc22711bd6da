"""How much memory of a GPU a training step needs. Pure; bytes everywhere.

Qwen3 (dense), LoRA or QLoRA through Unsloth 2026.10, TRL 1.15, adamw_torch_fused, bfloat16. With
h hidden_size, f intermediate_size, q heads * head_dim, k kv_heads * head_dim, L layers,
V vocabulary, T tokens of a micro-batch with padding (sequences * longest sequence; without padding
no pass has more):

    weights      16 bit: 2 bytes a parameter. 4 bit (nf4, double quantisation: blocks of 64, their
                 8-bit scales in blocks of 256): 1/2 + 1/64 + 4/(64*256) bytes a weight of the
                 projections; embedding and lm_head stay in 16 bit (bitsandbytes skips them).
    adapter      r * (in + out) parameters for each target, in fp32 (PEFT autocast_adapter_dtype):
                 4 bytes, gradient 4, AdamW's two moments 8. A method with a reference keeps a
                 frozen copy of the start: 4 more. With several GPUs DDP's buckets hold the
                 gradients again: 4 more.
    saved        of each layer for its backward pass, per token, in 16 bit: the residual before
                 each norm and the norm's output, 4h; Q before and after QK-norm with RoPE,
                 attention's output and its contiguous copy, 4q; K twice and V, 3k; gate and up,
                 2f. In fp32 attention's logsumexp, one a head.
                 Without checkpointing of all L layers; with it only of the one that is
                 recomputed, since Unsloth keeps the inputs of the layers in host memory.
    workspace    of the layer in its backward pass, per token, in 16 bit: f (LoRA_MLP) and 3h
                 (gradient of the output and of the input, the input staged from host memory).
    loss         the fused cross entropy has logits of one chunk only, in fp32: `loss_rows` * V * 4;
                 and h four times per token (last hidden state, norm, gradient, scaled gradient).
    dequantised  4 bit: one buffer of the largest projection in 16 bit, its scales in fp32.

    allocated = weights + dequantised + adapter
                + max(saved by all + loss, saved by all + saved by the recomputed + workspace)
    reserved  = allocated * (1 + SLACK) + RESERVE, what PyTorch takes (max_memory_reserved)
    on card   = reserved + CONTEXT: the CUDA context and kernels, outside PyTorch

Sources: unsloth/kernels/{fast_lora,rms_layernorm,rope_embedding}.py,
unsloth/models/{llama,qwen3}.py, unsloth_zoo/{gradient_checkpointing,fused_losses/fused_linear}.py
of 2026.10.9, bitsandbytes 0.50 (functional.quantize_4bit), QLoRA (arXiv 2305.14314, section 3).
The structure is read from these; only SLACK, RESERVE and CONTEXT are fitted, to the tables of
docs/reference/performance.md.

Where it is an upper bound: rows are taken as long as the longest, and projections without an
adapter as if they had one.
"""

from collections.abc import Collection
from dataclasses import dataclass

from qwen3_api.job.preflight import ModelShape
from qwen3_api.methods import METHODS, MethodType
from qwen3_api.v1alpha1.training import TargetModule

MIB = 1 << 20
GIB = 1 << 30

SLACK = 0.005
"""Fitted: what PyTorch's allocator loses to fragments (expandable segments, set by Unsloth)."""
RESERVE = 517 * MIB
"""Fitted: cuBLAS workspaces, RoPE tables, rounding of segments."""
CONTEXT = 845 * MIB
"""Of the driver and the loaded kernels, outside PyTorch: nvidia-smi's figure minus reserved."""

HALF, SINGLE = 2, 4
"""Bytes of bfloat16 and float32."""
NF4 = 1 / 2 + 1 / 64 + SINGLE / (64 * 256)
"""Bytes of a weight in nf4 with double quantisation."""
LOSS_ROWS = (512, 4096)
"""Fewest and most rows of logits at once in the fused cross entropy."""
LOSS_BYTES = 2 * GIB
"""Most bytes of logits at once."""


@dataclass(frozen=True)
class TrainingSetup:
    """What of an order decides about memory."""

    shape: ModelShape
    rank: int
    target_modules: tuple[TargetModule, ...]
    quantized: bool
    method: MethodType
    gpus: int = 1


@dataclass(frozen=True)
class Step:
    """One micro-batch on one GPU."""

    rows: int
    """Rows of the data set; a preference row has two sequences."""
    tokens: int
    """Of the longest row."""
    checkpointing: bool


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes at the peak of a step, by what takes them."""

    weights: int
    dequantised: int
    adapter: int
    """Parameters, gradients, optimiser state, reference copy."""
    activations: int
    """Saved for the backward pass, and the larger of the loss and the layer in work."""

    @property
    def allocated(self) -> int:
        """torch.cuda.max_memory_allocated."""
        return self.weights + self.dequantised + self.adapter + self.activations

    @property
    def reserved(self) -> int:
        """torch.cuda.max_memory_reserved: the figure that progress.json tells."""
        return round(self.allocated * (1 + SLACK)) + RESERVE

    @property
    def on_card(self) -> int:
        """What nvidia-smi shows."""
        return self.reserved + CONTEXT


def estimate_memory(setup: TrainingSetup, step: Step) -> MemoryEstimate:
    """Peak memory of one GPU while training; its part of the docstring above gives each term."""
    shape = setup.shape
    tokens = step.rows * sequences_per_row(setup.method) * step.tokens
    layer = tokens * saved_per_token(shape)
    saved = 0 if step.checkpointing else shape.num_hidden_layers * layer
    recomputed = layer if step.checkpointing else 0
    return MemoryEstimate(
        weights=weight_bytes(shape, quantized=setup.quantized),
        dequantised=_dequantised(shape) if setup.quantized else 0,
        adapter=_adapter(setup),
        activations=saved + max(_loss(shape, tokens), recomputed + _workspace(shape, tokens)),
    )


def sequences_per_row(method: MethodType) -> int:
    """Two where the chosen and the rejected answer are in one batch."""
    return METHODS[method].costs.sequences_per_row


def projections(shape: ModelShape) -> dict[TargetModule, tuple[int, int]]:
    """(in, out) features of the projections of a layer."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    q = shape.num_attention_heads * shape.head_dim
    kv = shape.num_key_value_heads * shape.head_dim
    return {
        "q_proj": (hidden, q),
        "k_proj": (hidden, kv),
        "v_proj": (hidden, kv),
        "o_proj": (q, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


def projection_parameters(shape: ModelShape) -> int:
    """Weights of all layers' projections, those that 4 bits hold."""
    return shape.num_hidden_layers * sum(a * b for a, b in projections(shape).values())


def embedding_parameters(shape: ModelShape) -> int:
    """Weights of the embedding and of lm_head where it is its own."""
    return shape.vocab_size * shape.hidden_size * (1 if shape.tie_word_embeddings else 2)


def base_parameters(shape: ModelShape) -> int:
    """All weights of the base with its norms: two a layer, two of a head's width, the last one."""
    norms = shape.num_hidden_layers * 2 * (shape.hidden_size + shape.head_dim) + shape.hidden_size
    return projection_parameters(shape) + embedding_parameters(shape) + norms


def lora_parameters(shape: ModelShape, rank: int, targets: Collection[TargetModule]) -> int:
    """Trainable weights of the adapter."""
    features = projections(shape)
    return shape.num_hidden_layers * rank * sum(sum(features[name]) for name in set(targets))


def weight_bytes(shape: ModelShape, *, quantized: bool) -> int:
    """Of the frozen base."""
    in_four_bits = projection_parameters(shape) if quantized else 0
    return HALF * (base_parameters(shape) - in_four_bits) + round(NF4 * in_four_bits)


def saved_per_token(shape: ModelShape) -> int:
    """Bytes that a layer keeps of a token until its backward pass."""
    q = shape.num_attention_heads * shape.head_dim
    kv = shape.num_key_value_heads * shape.head_dim
    halves = 4 * shape.hidden_size + 4 * q + 3 * kv + 2 * shape.intermediate_size
    return HALF * halves + SINGLE * shape.num_attention_heads


def loss_rows(shape: ModelShape, tokens: int) -> int:
    """Tokens whose logits are there at once: the power of two at or below tokens * h / V, bounded.

    unsloth_zoo.fused_losses.fused_linear.fused_linear_rows
    """
    wanted = max(tokens * shape.hidden_size // shape.vocab_size, 1)
    power = 1 << (wanted.bit_length() - 1)
    fewest, most = LOSS_ROWS
    affordable = LOSS_BYTES // (SINGLE * shape.vocab_size)
    return min(max(power, fewest), most, affordable, tokens)


def _loss(shape: ModelShape, tokens: int) -> int:
    logits = loss_rows(shape, tokens) * shape.vocab_size * SINGLE
    return logits + tokens * 4 * shape.hidden_size * HALF


def _workspace(shape: ModelShape, tokens: int) -> int:
    return tokens * HALF * (shape.intermediate_size + 3 * shape.hidden_size)


def _dequantised(shape: ModelShape) -> int:
    largest = max(a * b for a, b in projections(shape).values())
    return HALF * largest + SINGLE * largest // 64


def _adapter(setup: TrainingSetup) -> int:
    per_parameter = 4 * SINGLE
    if METHODS[setup.method].costs.reference:
        per_parameter += SINGLE
    if setup.gpus > 1:
        per_parameter += SINGLE
    return per_parameter * lora_parameters(setup.shape, setup.rank, setup.target_modules)
