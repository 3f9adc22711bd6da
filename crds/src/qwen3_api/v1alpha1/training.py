"""Training inputs: base model, data, method, adapter, hyperparameters."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from qwen3_api.data_sources import DatasetSource
from qwen3_api.v1alpha1.meta import (
    KubeModel,
    ListSet,
    LocalObjectReference,
    Rule,
)
from qwen3_api.v1alpha1.numbers import DecimalString, FractionString, PositiveDecimalString
from qwen3_api.v1alpha1.sources import S3Object


class BaseModelSourceType(StrEnum):
    """Type of source for weights."""

    HUGGING_FACE = "HuggingFace"
    S3 = "S3"


class BaseModelSource(KubeModel):
    """Source of the base model's weights."""

    type: BaseModelSourceType
    """type of the source: HuggingFace (the Hub, by spec.baseModel.name) or S3."""
    s3: S3Object | None = None
    """s3 prefix that holds config.json, tokenizer and *.safetensors; only with type S3."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.type == 'S3') == has(self.s3)",
            message="baseModel.source.s3 goes with type S3, and only with it",
            check=lambda m: (m.type is BaseModelSourceType.S3) == (m.s3 is not None),
            field_path=".s3",
        ),
    )


class BaseModelSpec(KubeModel):
    """The base model."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=96),
    ]
    """name of the base model, for example Qwen/Qwen3-8B; also its model name on the serving
    pool."""
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-/]+$", max_length=64)] | None = None
    """revision (commit, tag or branch) of the model on the Hub; default: the catalogue's."""
    source: BaseModelSource | None = None
    """source of the weights; default: as in the platform's catalogue."""
    token_secret_ref: LocalObjectReference | None = None
    """tokenSecretRef names a Secret with the key HF_TOKEN, for gated models."""


class DatasetFormat(StrEnum):
    """Format of a row."""

    AUTO = "Auto"
    MESSAGES = "Messages"
    SHARE_GPT = "ShareGPT"
    ALPACA = "Alpaca"
    PROMPT_COMPLETION = "PromptCompletion"
    PREFERENCE = "Preference"


PREFERENCE_FORMATS = (DatasetFormat.PREFERENCE,)
"""Formats whose rows are of `RowKind.PREFERENCE`. Those of all others are conversations, and Auto
finds such a one."""


class DatasetChecks(KubeModel):
    """Tolerances of the preflight."""

    max_truncated_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """maxTruncatedPercent is the maximum share of rows longer than maxSequenceLength."""
    max_dropped_percent: Annotated[int, Field(ge=0, le=100)] = 5
    """maxDroppedPercent is the maximum share of rows without any trained tokens after
    truncation."""
    max_duplicate_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """maxDuplicatePercent is the maximum share of rows that repeat another one; default: no
    limit."""
    fail_on_leakage: bool = True
    """failOnLeakage rejects validation rows that are also training rows."""


class Thinking(StrEnum):
    """Handling of an answer's think block (Qwen3's template always writes one)."""

    AS_IN_DATA = "AsInData"
    ENABLED = "Enabled"
    DISABLED = "Disabled"


class ChatTemplateSpec(KubeModel):
    """Rendering of rows."""

    thinking: Thinking = Thinking.AS_IN_DATA
    """thinking: AsInData trains on the rows as they are, including an empty think block; Enabled
    rejects rows whose last answer has no reasoning; Disabled trains on the answer only, for
    requests with enable_thinking false."""


class DatasetSpec(KubeModel):
    """Training and validation data."""

    train: DatasetSource
    """train is the source of training rows."""
    validation: DatasetSource | None = None
    """validation rows, for the validation loss during training; the first 1,000 are used."""
    format: DatasetFormat = DatasetFormat.AUTO
    """format of the rows; Auto detects it from the keys of the first row."""
    max_sequence_length: Annotated[int, Field(ge=32, le=131072)] = 2048
    """maxSequenceLength in tokens; longer rows are truncated and counted."""
    chat_template: ChatTemplateSpec = ChatTemplateSpec()
    """chatTemplate: how rows are rendered."""
    checks: DatasetChecks = DatasetChecks()
    """checks of the preflight."""


class AdapterType(StrEnum):
    """Precision of the frozen base while the adapter is trained."""

    LORA = "LoRA"
    QLORA = "QLoRA"


TargetModule = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALL_LINEAR: tuple[TargetModule, ...] = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)


class AdapterFrom(KubeModel):
    """Initial adapter."""

    fine_tune_ref: LocalObjectReference
    """fineTuneRef names a Qwen3FineTune of this namespace with the same base model, rank and target
    modules."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", max_length=8)]
    """revision of that fine-tune, as in its status.revisions."""


class AdapterSpec(KubeModel):
    """The adapter (PEFT LoraConfig)."""

    type: AdapterType | None = None
    """type: LoRA trains on a 16-bit base, QLoRA on a 4-bit base (nf4). Default: 16 bits if it fits
    on the GPU, else 4; status.preflight.sizing.quantized shows which."""
    rank: Literal[8, 16, 32, 64, 128] = 16
    """rank of the adapter (PEFT r). The serving pool limits it."""
    alpha: Annotated[int, Field(ge=1, le=1024)] | None = None
    """alpha (PEFT lora_alpha); default: the rank."""
    dropout: FractionString = "0"
    """dropout (PEFT lora_dropout), from 0 to 1."""
    target_modules: Annotated[list[TargetModule], Field(min_length=1, max_length=7), ListSet()] = (
        list(ALL_LINEAR)
    )
    """targetModules (PEFT target_modules) are the projections with LoRA matrices; default: all
    seven."""
    use_rslora: bool = Field(default=False, alias="useRSLoRA")
    """useRSLoRA scales by alpha / sqrt(rank) instead of alpha / rank."""
    start: AdapterFrom | None = Field(default=None, alias="from")
    """from: the initial adapter (SFT, then DPO); default: a new one."""


class Scheduler(StrEnum):
    """Learning-rate schedule (transformers lr_scheduler_type)."""

    LINEAR = "Linear"
    COSINE = "Cosine"
    CONSTANT = "Constant"


class EarlyStoppingSpec(KubeModel):
    """Early stopping by the validation loss."""

    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """patience: number of evaluations (every checkpoint.everySteps) without improvement."""
    min_delta: DecimalString = "0"
    """minDelta is the smallest decrease that counts as an improvement."""


class HyperparametersSpec(KubeModel):
    """Hyperparameters."""

    epochs: Annotated[int, Field(ge=1, le=100)] | None = None
    """epochs over the training rows; at most one of epochs and maxSteps, default 3 epochs."""
    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """maxSteps of the optimizer; at most one of epochs and maxSteps."""
    learning_rate: PositiveDecimalString = "2e-4"
    """learningRate is the peak learning rate, for example 2e-4."""
    scheduler: Scheduler = Scheduler.LINEAR
    """scheduler of the learning rate."""
    warmup_ratio: FractionString = "0.03"
    """warmupRatio is the fraction of steps used for warmup."""
    weight_decay: DecimalString = "0.01"
    """weightDecay of AdamW."""
    effective_batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """effectiveBatchSize is the number of rows per optimizer step."""
    micro_batch_size: Annotated[int, Field(ge=0, le=512)] = 0
    """microBatchSize is the number of rows per micro-batch and GPU; 0: chosen for the GPU.
    effectiveBatchSize must be a multiple of it times the number of GPUs."""
    gradient_checkpointing: bool | None = None
    """gradientCheckpointing trades speed for memory; default: chosen for the GPU."""
    early_stopping: EarlyStoppingSpec | None = None
    """earlyStopping by the loss on dataset.validation; default: none."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 3407
    """seed of initialization, data order and dropout."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(has(self.epochs) && has(self.maxSteps))",
            message="set either hyperparameters.epochs or hyperparameters.maxSteps, not both",
            check=lambda m: m.epochs is None or m.max_steps is None,
            field_path=".maxSteps",
        ),
        Rule(
            cel="self.microBatchSize == 0 || self.effectiveBatchSize % self.microBatchSize == 0",
            message="effectiveBatchSize must be a multiple of microBatchSize",
            check=lambda m: (
                m.micro_batch_size == 0 or m.effective_batch_size % m.micro_batch_size == 0
            ),
            field_path=".microBatchSize",
        ),
    )


class ResumePolicy(StrEnum):
    """Use of checkpoints of earlier attempts."""

    AUTO = "Auto"
    NEVER = "Never"


class CheckpointSpec(KubeModel):
    """Checkpoints in object storage."""

    every_steps: Annotated[int, Field(ge=1, le=100_000)] = 50
    """everySteps is the number of steps between checkpoints; another one is written on SIGTERM."""
    keep_last: Annotated[int, Field(ge=1, le=20)] = 2
    """keepLast is the number of recent checkpoints kept in the bucket, besides the one with the
    lowest validation loss."""
    resume: ResumePolicy = ResumePolicy.AUTO
    """resume: Auto resumes from the newest checkpoint that verifies, Never starts over."""
    load_best: bool = True
    """loadBest: with validation rows, the checkpoint with the lowest validation loss becomes the
    result; false: the last step."""
