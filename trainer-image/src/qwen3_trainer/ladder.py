"""What to try after the GPU ran out of memory: always less memory, the same optimisation. Pure.

    micro-batch halved, accumulation raised      → 1
    gradient checkpointing on
    frozen weights in 4 bits, if the user allows it
    (nothing left: give up)

micro_batch_size * gradient_accumulation_steps stays what the order says, so a step still sees the
same rows, counts the same and may go on from any earlier checkpoint. The cheapest loss of speed
comes first: a smaller micro-batch costs some utilisation, checkpointing about a third of the
compute, 4-bit changes the numbers themselves and therefore needs leave.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from qwen3_api.job.report import Sizing
from qwen3_api.job.train import TrainJob


@dataclass(frozen=True)
class Rung:
    """A smaller sizing, and in words how it differs from the one before."""

    sizing: Sizing
    change: str


def sizing_of(job: TrainJob) -> Sizing:
    """What the order asks for."""
    hyper = job.hyperparameters
    return Sizing(
        micro_batch_size=hyper.micro_batch_size,
        gradient_accumulation_steps=hyper.gradient_accumulation_steps,
        gradient_checkpointing=hyper.gradient_checkpointing,
        quantized=job.adapter.quantized,
        padding_free=hyper.padding_free,
    )


def with_sizing(job: TrainJob, sizing: Sizing) -> TrainJob:
    """The order as a worker gets it, with another sizing."""
    hyper = job.hyperparameters.model_copy(
        update={
            "micro_batch_size": sizing.micro_batch_size,
            "gradient_accumulation_steps": sizing.gradient_accumulation_steps,
            "gradient_checkpointing": sizing.gradient_checkpointing,
        }
    )
    adapter = job.adapter.model_copy(update={"quantized": sizing.quantized})
    return job.model_copy(update={"hyperparameters": hyper, "adapter": adapter})


def smaller_micro_batch(micro: int, effective: int) -> int:
    """Half the micro-batch, or the next smaller divisor of the effective batch."""
    half = micro // 2
    return next(size for size in range(half, 0, -1) if effective % size == 0)


def next_rung(sizing: Sizing, *, allow_quantization: bool) -> Rung | None:
    """The next thing to try; None when nothing is left."""
    micro, accumulation = sizing.micro_batch_size, sizing.gradient_accumulation_steps
    if micro > 1:
        effective = micro * accumulation
        lower = smaller_micro_batch(micro, effective)
        update = {"micro_batch_size": lower, "gradient_accumulation_steps": effective // lower}
        change = (
            f"micro-batch {micro} → {lower}, accumulation {accumulation} → {effective // lower}"
        )
        return Rung(sizing.model_copy(update=update), change)
    if not sizing.gradient_checkpointing:
        return Rung(
            sizing.model_copy(update={"gradient_checkpointing": True}), "gradient checkpointing on"
        )
    if allow_quantization and not sizing.quantized:
        return Rung(sizing.model_copy(update={"quantized": True}), "base weights in 4 bits")
    return None


def rungs(sizing: Sizing, *, allow_quantization: bool) -> Iterator[Rung]:
    """Everything below a sizing, first thing to try first."""
    rung = next_rung(sizing, allow_quantization=allow_quantization)
    while rung is not None:
        yield rung
        rung = next_rung(rung.sizing, allow_quantization=allow_quantization)


def lowest(job: TrainJob, reached: list[Sizing]) -> Sizing:
    """Where a new attempt begins: the lowest rung of the order's own ladder that an earlier attempt
    stood on. A sizing that isn't on it (whoever wrote it) is not believed."""
    start = sizing_of(job)
    if not job.guards.adapt_to_memory:
        return start
    found = start
    for rung in rungs(start, allow_quantization=job.guards.allow_quantization):
        if rung.sizing in reached:
            found = rung.sizing
    return found


def describe(sizing: Sizing) -> str:
    """A sizing in words."""
    parts = [
        f"micro-batch {sizing.micro_batch_size}",
        f"accumulation {sizing.gradient_accumulation_steps}",
        f"gradient checkpointing {'on' if sizing.gradient_checkpointing else 'off'}",
        f"{'4' if sizing.quantized else '16'}-bit weights",
    ]
    if sizing.padding_free:
        parts.append("no padding")
    return ", ".join(parts)


@dataclass(frozen=True)
class MemoryUse:
    """What a process of a worker held when its GPU was full, in MiB."""

    peak_mib: int
    total_mib: int

    def __str__(self) -> str:
        return f"{self.peak_mib / 1024:.1f} of the card's {self.total_mib / 1024:.1f} GiB"
