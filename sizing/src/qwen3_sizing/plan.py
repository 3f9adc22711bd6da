"""Micro-batch, accumulation and gradient checkpointing of a training, and what it will take. Pure.

The effective batch that was asked for is kept exactly: micro-batch * accumulation * GPUs. Of the
settings that fit by `memory`, the one with the shortest step by `throughput` is taken
(docs/adr/0021-auto-sizing.md).
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

from qwen3_api.job.preflight import ModelShape, TokenHistogram
from qwen3_api.methods import METHODS, MethodType
from qwen3_api.v1alpha1.training import TargetModule
from qwen3_sizing.gpus import CARDS, Card
from qwen3_sizing.memory import (
    GIB,
    MIB,
    MemoryEstimate,
    Step,
    TrainingSetup,
    estimate_memory,
    weight_bytes,
)
from qwen3_sizing.throughput import (
    evaluation_seconds,
    micro_batch_seconds,
    padded_length,
    passes_of_step,
)

__all__ = [
    "CARDS",
    "Card",
    "DoesNotFit",
    "Estimate",
    "SizingPlan",
    "SizingRequest",
    "estimate_run",
    "plan_sizing",
    "predict",
]

MARGIN = 0.10
"""Part of a card that stays free: what `memory` may be wrong by."""
GAIN = 0.03
"""Part of the time that checkpointing, or a larger micro-batch, must save to be chosen."""
START_SECONDS = 100.0
"""Imports and compilation until the first step (75 s), verification in a new process (25 s)."""
FETCH_SECONDS_PER_GB = 3.0
"""The base model from object storage to the GPU, a second per 10^9 bytes."""
CPU_MICRO_BATCH = 2
SHORTEST = 128
"""Tokens: no shorter rows are proposed."""


@dataclass(frozen=True)
class SizingRequest:
    """What is known and what was asked for; None is planned."""

    shape: ModelShape
    rank: int
    target_modules: tuple[TargetModule, ...]
    quantized: bool | None
    """None: 4 bits only where 16 don't fit."""
    method: MethodType
    max_sequence_length: int
    lengths: TokenHistogram | None
    """None: every row counts as long as max_sequence_length."""
    rows: int
    tokens: int
    """Of one epoch, after cutting."""
    effective_batch_size: int
    gpus: int
    micro_batch_size: int | None
    gradient_checkpointing: bool | None
    epochs: int | None
    max_steps: int | None
    validation_rows: int = 0
    evaluate_steps: int = 0
    """Steps from one evaluation to the next; 0: none."""

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that a step can meet."""
        if self.lengths is None:
            return self.max_sequence_length
        return max(1, min(self.lengths.maximum, self.max_sequence_length))


@dataclass(frozen=True)
class SizingPlan:
    """A setting that fits, and why."""

    micro_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    quantized: bool
    padding_free: bool
    """Rows of a batch one behind the other, not padded to the longest."""
    memory_mib: int
    """Expected peak of torch.cuda.max_memory_reserved; 0 on a CPU."""
    message: str


@dataclass(frozen=True)
class DoesNotFit:
    """No setting fits; what would, in numbers."""

    message: str
    hint: str


@dataclass(frozen=True)
class Estimate:
    """What the training will take."""

    steps: int
    tokens: int
    """Of the whole run's training rows, without padding."""
    seconds: int | None
    """From the pod's start to its end; None where the card's speed is not known."""


@dataclass(frozen=True)
class _Candidate:
    micro_batch_size: int
    checkpointing: bool
    quantized: bool
    padding_free: bool
    memory: MemoryEstimate
    step_seconds: float


def plan_sizing(request: SizingRequest, card: Card | None) -> SizingPlan | DoesNotFit:
    """The fastest setting that fits. Without a card it is for the CPU of a pod without GPU."""
    problem = _indivisible(request)
    if problem is not None:
        return problem
    if card is None:
        return _plan_for_cpu(request)
    fitting = [c for c in _candidates(request, card) if c.memory.on_card <= usable(card)]
    if not fitting:
        return _does_not_fit(request, card)
    if request.quantized is None and any(not c.quantized for c in fitting):
        fitting = [c for c in fitting if not c.quantized]
    best = min(c.step_seconds for c in fitting)
    chosen = min(
        (c for c in fitting if c.step_seconds <= best * (1 + GAIN)),
        key=lambda c: (c.checkpointing, c.micro_batch_size, c.padding_free),
    )
    return SizingPlan(
        micro_batch_size=chosen.micro_batch_size,
        gradient_accumulation_steps=_accumulation(request, chosen.micro_batch_size),
        gradient_checkpointing=chosen.checkpointing,
        quantized=chosen.quantized,
        padding_free=chosen.padding_free,
        memory_mib=math.ceil(chosen.memory.reserved / MIB),
        message=_reason(request, card, chosen),
    )


def usable(card: Card) -> int:
    """Bytes that a plan may take of a card, the CUDA context included."""
    return int(card.memory_mib * MIB * (1 - MARGIN))


def predict(request: SizingRequest, plan: SizingPlan) -> MemoryEstimate:
    """The memory of a plan on one GPU."""
    step = Step(plan.micro_batch_size, request.longest, plan.gradient_checkpointing)
    return estimate_memory(_setup(request, quantized=plan.quantized), step)


def estimate_run(request: SizingRequest, plan: SizingPlan, card: Card | None) -> Estimate:
    """Steps and tokens as transformers counts them, and the time on a card."""
    steps = request.max_steps or math.ceil(request.rows / request.effective_batch_size) * (
        request.epochs or 1
    )
    if request.max_steps:
        rows = request.max_steps * request.effective_batch_size
        tokens = round(rows * request.tokens / request.rows) if request.rows else 0
    else:
        tokens = request.tokens * (request.epochs or 1)
    if card is None or card.tflops <= 0:
        return Estimate(steps, tokens, None)
    step = _step_seconds(
        request,
        card,
        plan.micro_batch_size,
        checkpointing=plan.gradient_checkpointing,
        padding_free=plan.padding_free,
    )
    fetch = FETCH_SECONDS_PER_GB * weight_bytes(request.shape, quantized=False) / 1e9
    seconds = steps * step + _evaluating(request, plan, card, steps) + START_SECONDS + fetch
    return Estimate(steps, tokens, round(seconds))


def _evaluating(request: SizingRequest, plan: SizingPlan, card: Card, steps: int) -> float:
    """Seconds of all evaluations; validation rows are taken to be as long as training's."""
    if not request.validation_rows or not request.evaluate_steps:
        return 0.0
    micro = plan.micro_batch_size
    each = evaluation_seconds(
        request.shape,
        request.method,
        card,
        rows=micro,
        length=padded_length(request.lengths, request.longest, 1 if plan.padding_free else micro),
    )
    passes = math.ceil(request.validation_rows / (micro * max(request.gpus, 1)))
    return steps // request.evaluate_steps * passes * each


def _setup(request: SizingRequest, *, quantized: bool) -> TrainingSetup:
    return TrainingSetup(
        shape=request.shape,
        rank=request.rank,
        target_modules=request.target_modules,
        quantized=quantized,
        method=request.method,
        gpus=request.gpus,
    )


def _per_gpu(request: SizingRequest) -> int:
    return request.effective_batch_size // max(request.gpus, 1)


def _accumulation(request: SizingRequest, micro_batch_size: int) -> int:
    return _per_gpu(request) // micro_batch_size


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _indivisible(request: SizingRequest) -> DoesNotFit | None:
    batch, gpus = request.effective_batch_size, max(request.gpus, 1)
    micro = request.micro_batch_size or 1
    if batch % (micro * gpus) == 0:
        return None
    unit = micro * gpus
    nearest = max(unit, round(batch / unit) * unit)
    parts = f"{gpus} GPU{'s' if gpus > 1 else ''}"
    if request.micro_batch_size:
        parts = f"micro-batch {micro} x {parts}"
    return DoesNotFit(
        f"An effective batch of {batch} rows can't be split into {parts}",
        f"Set an effective batch of {nearest} rows, or leave out hyperparameters.microBatchSize."
        if request.micro_batch_size
        else f"Set an effective batch of {nearest} rows.",
    )


def _candidates(request: SizingRequest, card: Card) -> list[_Candidate]:
    sizes = [request.micro_batch_size] if request.micro_batch_size else _divisors(_per_gpu(request))
    checkpointing = (
        [False, True]
        if request.gradient_checkpointing is None
        else [request.gradient_checkpointing]
    )
    quantized = [False, True] if request.quantized is None else [request.quantized]
    padding_free = [False, True] if METHODS[request.method].costs.padding_free else [False]
    return [
        _Candidate(
            micro_batch_size=size,
            checkpointing=flag,
            quantized=bits,
            padding_free=free,
            memory=estimate_memory(
                _setup(request, quantized=bits), Step(size, request.longest, flag)
            ),
            step_seconds=_step_seconds(request, card, size, checkpointing=flag, padding_free=free),
        )
        for size in sizes
        for flag in checkpointing
        for bits in quantized
        for free in padding_free
    ]


def _step_seconds(
    request: SizingRequest,
    card: Card,
    micro_batch_size: int,
    *,
    checkpointing: bool,
    padding_free: bool,
) -> float:
    each = passes_of_step(
        request.lengths,
        request.longest,
        rows=_per_gpu(request),
        micro_batch_size=micro_batch_size,
        gpus=request.gpus,
        padding_free=padding_free,
    )
    return each.count * micro_batch_seconds(
        request.shape,
        request.method,
        card,
        rows=each.rows,
        length=each.length,
        checkpointing=checkpointing,
    )


def _plan_for_cpu(request: SizingRequest) -> SizingPlan:
    micro = request.micro_batch_size or max(
        n for n in _divisors(_per_gpu(request)) if n <= CPU_MICRO_BATCH
    )
    checkpointing = (
        True if request.gradient_checkpointing is None else request.gradient_checkpointing
    )
    accumulation = _accumulation(request, micro)
    return SizingPlan(
        micro_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        gradient_checkpointing=checkpointing,
        quantized=bool(request.quantized),
        padding_free=False,
        memory_mib=0,
        message=f"No GPU asked for: micro-batch {micro} x {accumulation} accumulation steps on the "
        f"CPU, gradient checkpointing {_on_off(checkpointing)}",
    )


def _reason(request: SizingRequest, card: Card, chosen: _Candidate) -> str:
    accumulation = _accumulation(request, chosen.micro_batch_size)
    gpus = f" x {request.gpus} GPUs" if request.gpus > 1 else ""
    text = (
        f"Micro-batch {chosen.micro_batch_size} x {accumulation} accumulation steps{gpus}, "
        f"gradient checkpointing {_on_off(chosen.checkpointing)}, {_bits(chosen.quantized)}"
        f"{', no padding' if chosen.padding_free else ''}: needs "
        f"{_gib(chosen.memory.on_card)} of {card.name}'s {_gib(card.memory_mib * MIB)} at "
        f"{request.longest:,} tokens a row"
    )
    if chosen.checkpointing and request.gradient_checkpointing is None:
        without = estimate_memory(
            _setup(request, quantized=chosen.quantized),
            Step(request.micro_batch_size or 1, request.longest, False),
        )
        text += f"; without checkpointing one of {request.micro_batch_size or 1} needs "
        text += _gib(without.on_card)
        if without.on_card <= usable(card):
            text += " and is slower"
    if chosen.quantized and request.quantized is None:
        text += f"; 16 bits need {_gib(_least_need(replace(request, quantized=False), card))}"
    return text


def _does_not_fit(request: SizingRequest, card: Card) -> DoesNotFit:
    least = min(_candidates(request, card), key=lambda c: c.memory.on_card)
    message = (
        f"Micro-batch {least.micro_batch_size} of {request.longest:,} tokens a row in "
        f"{_bits(least.quantized)}, gradient checkpointing {_on_off(least.checkpointing)}, needs "
        f"{_gib(least.memory.on_card)}; {card.name} has {_gib(card.memory_mib * MIB)}, "
        f"{_gib(usable(card))} of it for use"
    )
    smallest_card = math.ceil(least.memory.on_card / (1 - MARGIN) / GIB)
    ways = [*_ways_out(request, card), f"use a GPU with {smallest_card} GiB or more"]
    hint = "; or ".join(ways)
    return DoesNotFit(message, f"{hint[0].upper()}{hint[1:]}.")


def _ways_out(request: SizingRequest, card: Card) -> list[str]:
    """What would be enough: the fewest settings given up, then shorter rows."""
    free: dict[str, dict[str, Any]] = {}
    if request.micro_batch_size not in (None, 1):
        free["leave out hyperparameters.microBatchSize"] = {"micro_batch_size": None}
    if request.gradient_checkpointing is False:
        free["leave out hyperparameters.gradientCheckpointing"] = {"gradient_checkpointing": None}
    if request.quantized is False:
        free["set adapter.type to QLoRA"] = {"quantized": True}
    ways: list[str] = []
    for count in range(1, len(free) + 1):
        for names in itertools.combinations(free, count):
            changes = {field: value for name in names for field, value in free[name].items()}
            need = _least_need(replace(request, **changes), card)
            if need <= usable(card):
                ways.append(f"{' and '.join(names)} ({_gib(need)})")
        if ways:
            break
    length = request.longest // 2
    while length >= SHORTEST and _least_need(_cut(request, length), card) > usable(card):
        length //= 2
    if length >= SHORTEST:
        ways.append(f"lower dataset.maxSequenceLength to {length}")
    return ways


def _cut(request: SizingRequest, length: int) -> SizingRequest:
    return replace(request, max_sequence_length=length)


def _least_need(request: SizingRequest, card: Card) -> int:
    return min(c.memory.on_card for c in _candidates(request, card))


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


def _on_off(flag: bool) -> str:
    return "on" if flag else "off"


def _bits(quantized: bool) -> str:
    return "4 bits" if quantized else "16 bits"
