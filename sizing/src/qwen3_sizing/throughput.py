"""How long a micro-batch and a step take on a card. Pure.

    seconds of a micro-batch = max(busy, layers * LAYER_SECONDS * R)
    busy = FLOPs / (PRODUCTS * the card's dense bfloat16 FLOP/s) + bytes / its memory's bandwidth
    FLOPs per token = 4 P + 3 A, with checkpointing 6 P + 4 A; a reference 2 P + A more
        P  weights of projections and lm_head: 2 P forward, 2 P for the gradients of activations;
           the frozen weights have no gradients. Checkpointing runs the forward pass twice.
        A  attention forward: 2 * layers * heads * head_dim * tokens of the row (causal: half of
           all pairs, two products); twice that backward.
    bytes per token = layers * TRAVERSALS * C * what a layer saves (`memory.saved_per_token`)
                      + LOGIT_TRAVERSALS * vocabulary * 4
        what everything else moves: norms, RoPE, SwiGLU, the narrow products with LoRA's matrices,
        and the loss on logits in fp32. The smaller the model, the larger its part.
        C  1, and a third (a forward pass) more for checkpointing and for a reference.

The other side of the maximum is the host: a micro-batch too small for the card waits for Python.
R is 1, with checkpointing RECOMPUTED: the forward pass is started twice.

    seconds of a step = passes * seconds of a micro-batch
        padded        a pass for each micro-batch, every row as long as the longest of it
        padding-free  on one GPU as few even passes as hold at most micro-batch * longest tokens
                      each, on several the micro-batches (docs/adr/0044-without-padding.md)

The constants are fitted to the 34 runs on full rows of docs/reference/measurements: where the card
is the limit the largest error is 7 %, where the host is 18 %. Hosts differ by a quarter.
"""

from dataclasses import dataclass

from qwen3_api.job.preflight import ModelShape, TokenHistogram
from qwen3_api.methods import METHODS, MethodType
from qwen3_sizing.gpus import Card
from qwen3_sizing.memory import (
    SINGLE,
    projection_parameters,
    saved_per_token,
    sequences_per_row,
)

PRODUCTS = 0.72
"""Part of the card's dense bfloat16 FLOP/s that its matrix products reach."""
TRAVERSALS = 17
"""How often a layer's saved activations are read or written, forward and backward."""
LOGIT_TRAVERSALS = 7
"""The same of the logits."""
LAYER_SECONDS = 0.0088
"""Shortest time of a layer in a micro-batch, forward and backward: Python starting kernels."""
RECOMPUTED = 1.5
"""How much longer that takes with checkpointing."""
UNKNOWN_TFLOPS = 100.0
"""For comparing settings on a card of unknown speed; no time is told from it."""
GBS_PER_TFLOPS = 3.4
"""Of an H100, for a card whose bandwidth is not known."""


def micro_batch_seconds(
    shape: ModelShape,
    method: MethodType,
    card: Card,
    *,
    rows: float,
    length: float,
    checkpointing: bool,
) -> float:
    """Forward and backward pass of `rows` rows of `length` tokens, padding included."""
    tokens = rows * sequences_per_row(method) * length
    flops = tokens * flops_per_token(shape, method, length=length, checkpointing=checkpointing)
    moved = tokens * bytes_per_token(shape, method, checkpointing=checkpointing)
    tflops = card.tflops or UNKNOWN_TFLOPS
    bandwidth = card.bandwidth_gbs or GBS_PER_TFLOPS * tflops
    busy = flops / (PRODUCTS * tflops * 1e12) + moved / (bandwidth * 1e9)
    return max(busy, host_seconds(shape, checkpointing=checkpointing))


def host_seconds(shape: ModelShape, *, checkpointing: bool) -> float:
    """Shortest time of a micro-batch, however small it is."""
    return shape.num_hidden_layers * LAYER_SECONDS * (RECOMPUTED if checkpointing else 1)


def flops_per_token(
    shape: ModelShape, method: MethodType, *, length: float, checkpointing: bool
) -> float:
    """Of forward and backward pass for a token of a sequence of `length` tokens."""
    weights, attention = _weights(shape), _attention(shape, length)
    forward = 2.0 * weights + attention
    passes = forward * (2 if checkpointing else 1) + 2.0 * weights + 2.0 * attention
    return passes + (forward if METHODS[method].costs.reference else 0.0)


def bytes_per_token(shape: ModelShape, method: MethodType, *, checkpointing: bool) -> float:
    """Read and written for a token, forward and backward, beside the products."""
    saved, logits = touched_per_token(shape, method, checkpointing=checkpointing)
    return TRAVERSALS * saved + LOGIT_TRAVERSALS * logits


def touched_per_token(
    shape: ModelShape, method: MethodType, *, checkpointing: bool
) -> tuple[float, float]:
    """Bytes of what all layers save and of the logits of a token, before their traversals."""
    more = (1 if checkpointing else 0) + (1 if METHODS[method].costs.reference else 0)
    saved = shape.num_hidden_layers * (1 + more / 3) * saved_per_token(shape)
    return saved, shape.vocab_size * SINGLE


def evaluation_seconds(
    shape: ModelShape, method: MethodType, card: Card, *, rows: float, length: float
) -> float:
    """Forward pass only of a micro-batch of validation rows: of a training micro-batch without
    checkpointing the part that its FLOPs have, half, and two thirds with a reference."""
    forward = 2.0 * _weights(shape) + _attention(shape, length)
    whole = flops_per_token(shape, method, length=length, checkpointing=False)
    part = forward * (2 if METHODS[method].costs.reference else 1) / whole
    each = micro_batch_seconds(shape, method, card, rows=rows, length=length, checkpointing=False)
    return part * each


def _weights(shape: ModelShape) -> int:
    return projection_parameters(shape) + shape.vocab_size * shape.hidden_size


def _attention(shape: ModelShape, length: float) -> float:
    width = shape.num_attention_heads * shape.head_dim
    return 2.0 * shape.num_hidden_layers * width * length


@dataclass(frozen=True)
class Pass:
    """What goes through the model at once, on average, and how often a step does that."""

    count: float
    rows: float
    length: float
    """Tokens of a row, padding included."""


def passes_of_step(
    lengths: TokenHistogram | None,
    longest: int,
    *,
    rows: int,
    micro_batch_size: int,
    gpus: int,
    padding_free: bool,
) -> Pass:
    """The passes of a step with `rows` rows on each of `gpus` GPUs."""
    if not padding_free:
        length = padded_length(lengths, longest, micro_batch_size)
        return Pass(rows / micro_batch_size, micro_batch_size, length)
    mean = padded_length(lengths, longest, 1)
    if gpus > 1 or mean >= longest:
        return Pass(rows / micro_batch_size, micro_batch_size, mean)
    # Some steps have more tokens than others, and half a pass is rounded up on average.
    fitting = micro_batch_size * longest / mean
    count = 1.0 if rows <= fitting else rows / fitting + 0.5
    return Pass(count, rows / count, mean)


def padded_length(lengths: TokenHistogram | None, longest: int, rows: int) -> float:
    """Expected tokens of the longest of `rows` rows drawn at random: the others are padded to it.

    For independent rows P(longest <= x) = P(one <= x)^rows, over the buckets of the histogram;
    their bounds are scaled so that a batch of one row has the mean length.
    """
    if lengths is None or not lengths.counted_rows or not lengths.buckets:
        return float(longest)
    one = _expected_longest(lengths, longest, 1)
    return min(float(longest), lengths.mean * _expected_longest(lengths, longest, rows) / one)


def _expected_longest(lengths: TokenHistogram, longest: int, rows: int) -> float:
    total = sum(count for _, count in lengths.buckets)
    seen, before, mean = 0, 0.0, 0.0
    for bound, count in lengths.buckets:
        seen += count
        share = (seen / total) ** rows
        mean += min(bound, longest) * (share - before)
        before = share
    return mean
