"""What is measured, in the order of its worth, and the order that the trainer gets for it. Pure."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gpu_check.base_model import SHAPES, VOCABULARY

from qwen3_api.data_sources import FileData
from qwen3_api.job.base import S3Location
from qwen3_api.job.preflight import ModelShape, TokenHistogram
from qwen3_api.job.train import (
    HuggingFaceModel,
    JobAdapter,
    JobBaseModel,
    JobCheckpoint,
    JobDataset,
    JobHyperparameters,
    TrainJob,
)
from qwen3_api.methods import MethodSpec, MethodType, job_sections
from qwen3_api.v1alpha1.training import ALL_LINEAR
from qwen3_sizing.memory import Step, TrainingSetup
from qwen3_sizing.plan import Card, DoesNotFit, SizingRequest, plan_sizing

WARM_UP = 2
"""Steps at the start that no figure counts: compilation, the optimiser's state."""
SEED = 3407


@dataclass(frozen=True)
class Configuration:
    """One training."""

    base: str
    """Key of `gpu_check.base_model.SHAPES`."""
    micro_batch_size: int
    tokens: int
    """Of the longest row."""
    checkpointing: bool
    quantized: bool = False
    rank: int = 16
    method: MethodType = MethodType.SFT
    accumulation: int = 1
    steps: int = WARM_UP + 3
    shortest: int | None = None
    """Tokens of the shortest row, all lengths up to the longest being as frequent; None: every row
    is as long as the longest."""
    padding_free: bool = False

    @property
    def lengths(self) -> str:
        """Of the rows, for people."""
        if self.shortest is None:
            return f"{self.tokens:,}"
        return f"{self.shortest:,}–{self.tokens:,}"

    @property
    def name(self) -> str:
        """For people."""
        kind = f"{'QLoRA' if self.quantized else 'LoRA'} r{self.rank}"
        method = "" if self.method == "SFT" else f" {self.method}"
        checkpointing = "checkpointing" if self.checkpointing else "no checkpointing"
        size = f"{self.micro_batch_size} x {self.lengths} x {self.accumulation}"
        padding = ", no padding" if self.padding_free else ""
        return f"{self.base} {kind}{method}, {checkpointing}, {size}{padding}"

    @property
    def rows(self) -> int:
        """That all steps together take: one epoch."""
        return self.steps * self.micro_batch_size * self.accumulation

    def to_json(self) -> dict[str, Any]:
        """As `Configuration(**…)` takes it back."""
        return asdict(self)

    def setup(self) -> TrainingSetup:
        """For the memory model."""
        return TrainingSetup(
            model_shape(self.base), self.rank, ALL_LINEAR, self.quantized, self.method
        )

    def step(self) -> Step:
        """For the memory model."""
        return Step(self.micro_batch_size, self.tokens, self.checkpointing)


_USUAL = Configuration("8B", 8, 2048, checkpointing=True, accumulation=2, steps=WARM_UP + 4)
COMPARED = (_USUAL, replace(_USUAL, steps=WARM_UP + 12, shortest=256))
"""What TRL + PEFT gets: the faster of its usual settings (docs/reference/performance.md), on full
rows and on rows of many lengths."""

MEASURED = (
    Configuration("0.6B", 8, 2048, checkpointing=False),
    Configuration("1.7B", 8, 1024, checkpointing=True, quantized=True),
    Configuration("4B", 4, 2048, checkpointing=True),
    Configuration("4B", 4, 1024, checkpointing=False, quantized=True),
    Configuration("0.6B", 16, 1024, checkpointing=True),
    Configuration("1.7B", 4, 2048, checkpointing=False),
    Configuration("8B", 4, 1024, checkpointing=False, quantized=True),
    Configuration("0.6B", 8, 1024, checkpointing=False, quantized=True),
    Configuration("8B", 8, 1024, checkpointing=True),
    Configuration("4B", 4, 2048, checkpointing=False, rank=64),
    Configuration("1.7B", 4, 1024, checkpointing=False, method=MethodType.DPO),
    Configuration("8B", 2, 2048, checkpointing=False),
    Configuration("8B", 6, 2048, checkpointing=False),
    Configuration("8B", 8, 2048, checkpointing=True, quantized=True),
    Configuration("4B", 2, 1024, checkpointing=True, method=MethodType.DPO),
)
BASES = ("8B", "0.6B", "1.7B", "4B")
"""In the order in which they are needed."""
EFFECTIVE_BATCH = 16
"""hyperparameters.effectiveBatchSize of a spec that leaves it out."""
DEFAULTS = tuple(
    Configuration(
        base, EFFECTIVE_BATCH, tokens, checkpointing=False, quantized=bits, steps=WARM_UP + 1
    )
    for base in BASES
    for bits in (False, True)
    for tokens in (2048, 1024)
)
"""What users ask for who leave every size out; `planned` sizes it for the card."""

TINY = (
    Configuration("tiny", 2, 64, checkpointing=False),
    Configuration("tiny", 2, 64, checkpointing=True, quantized=True),
    Configuration("tiny", 1, 64, checkpointing=False, method=MethodType.DPO),
)
_TINY_USUAL = Configuration("tiny", 4, 64, checkpointing=True, accumulation=4, steps=WARM_UP + 4)
TINY_DEFAULTS = (Configuration("tiny", 4, 64, checkpointing=False),)
TINY_COMPARED = (_TINY_USUAL, replace(_TINY_USUAL, shortest=32))


def model_shape(base: str) -> ModelShape:
    """The shape as the preflight reads it from config.json."""
    shape = SHAPES[base]
    return ModelShape(
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=VOCABULARY,
        tie_word_embeddings=shape.tied,
    )


def planned(compared: Configuration, card: Card | None) -> Configuration:
    """The same training as the operator's planner sizes it for a card; None is the CPU.

    Raises ValueError when it doesn't fit.
    """
    request = SizingRequest(
        shape=model_shape(compared.base),
        rank=compared.rank,
        target_modules=ALL_LINEAR,
        quantized=compared.quantized,
        method=compared.method,
        max_sequence_length=compared.tokens,
        lengths=lengths_of(compared),
        rows=compared.rows,
        tokens=compared.rows * compared.tokens,
        effective_batch_size=compared.micro_batch_size * compared.accumulation,
        gpus=0 if card is None else 1,
        micro_batch_size=None,
        gradient_checkpointing=None,
        epochs=1,
        max_steps=None,
    )
    plan = plan_sizing(request, card)
    if isinstance(plan, DoesNotFit):
        raise ValueError(f"{plan.message}. {plan.hint}")
    return replace(
        compared,
        micro_batch_size=plan.micro_batch_size,
        accumulation=plan.gradient_accumulation_steps,
        checkpointing=plan.gradient_checkpointing,
        padding_free=plan.padding_free,
    )


def lengths_of(configuration: Configuration) -> TokenHistogram | None:
    """What the preflight would find; None for full rows."""
    if configuration.shortest is None:
        return None
    bounds = [n for n in range(0, configuration.tokens + 1, 128) if n > configuration.shortest]
    count = max(1, configuration.rows // len(bounds))
    mean = (configuration.shortest + configuration.tokens) / 2
    return TokenHistogram(
        buckets=[(bound, count) for bound in bounds],
        counted_rows=count * len(bounds),
        mean=mean,
        p50=round(mean),
        p95=configuration.tokens,
        p99=configuration.tokens,
        maximum=configuration.tokens,
    )


def train_job(configuration: Configuration, rows: Path, *, gpus: int) -> TrainJob:
    """The order of the trainer's pod."""
    nowhere = S3Location(endpoint="http://localhost:1", region="us-east-1", bucket="b", prefix="p")
    return TrainJob(
        namespace="benchmark",
        name="train",
        uid="benchmark",
        revision="benchmark",
        spec_hash="benchmark",
        method=configuration.method,
        **job_sections(MethodSpec(type=configuration.method)),
        base_model=JobBaseModel(
            name=f"Qwen/Qwen3-{configuration.base}", source=HuggingFaceModel(repo="local")
        ),
        dataset=JobDataset(
            train=FileData(path=str(rows), source="rows of the benchmark"),
            validation=None,
            format="Auto",
            max_sequence_length=configuration.tokens,
        ),
        adapter=JobAdapter(
            quantized=configuration.quantized,
            rank=configuration.rank,
            alpha=configuration.rank,
            dropout=0.0,
            target_modules=sorted(ALL_LINEAR),
            use_rslora=False,
        ),
        hyperparameters=JobHyperparameters(
            epochs=1,
            max_steps=None,
            learning_rate=2e-4,
            scheduler="linear",
            warmup_ratio=0.03,
            weight_decay=0.01,
            micro_batch_size=configuration.micro_batch_size,
            gradient_accumulation_steps=configuration.accumulation,
            gradient_checkpointing=configuration.checkpointing,
            padding_free=configuration.padding_free,
            seed=SEED,
            assistant_only_loss=False,
        ),
        checkpoint=JobCheckpoint(every_steps=1000, keep_last=1, resume=False),
        gpus=gpus,
        output=nowhere,
    )
