"""What is trained, on what, and how: base model, data, method, adapter, hyperparameters."""

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
    """Where the weights come from."""

    HUGGING_FACE = "HuggingFace"
    S3 = "S3"


class BaseModelSource(KubeModel):
    """Where the weights of the base model come from."""

    type: BaseModelSourceType
    """type of the source: HuggingFace (the hub, by spec.baseModel.name) or S3."""
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
    """The model to start from."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=96),
    ]
    """name of the base model as its users know it, for example Qwen/Qwen3-8B; also its name on the
    serving pool."""
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-/]+$", max_length=64)] | None = None
    """revision (commit, tag or branch) of the model on the hub; default: the catalogue's."""
    source: BaseModelSource | None = None
    """source of the weights; default: the platform's catalogue decides."""
    token_secret_ref: LocalObjectReference | None = None
    """tokenSecretRef names a Secret with key HF_TOKEN, for gated models."""


class DatasetFormat(StrEnum):
    """Shape of a row."""

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
    """What the preflight lets pass."""

    max_truncated_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """maxTruncatedPercent of the rows may be longer than maxSequenceLength."""
    max_dropped_percent: Annotated[int, Field(ge=0, le=100)] = 5
    """maxDroppedPercent of the rows may have nothing to learn left after being cut."""
    max_duplicate_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """maxDuplicatePercent of the rows may repeat another one; default: any number may."""
    fail_on_leakage: bool = True
    """failOnLeakage refuses validation rows that are training rows too."""


class Thinking(StrEnum):
    """What becomes of the think block of an answer (Qwen3's template always writes one)."""

    AS_IN_DATA = "AsInData"
    ENABLED = "Enabled"
    DISABLED = "Disabled"


class ChatTemplateSpec(KubeModel):
    """How rows become text."""

    thinking: Thinking = Thinking.AS_IN_DATA
    """thinking: AsInData learns what the rows hold, an empty think block included; Enabled refuses
    rows whose last answer has no reasoning; Disabled learns the answer only, for requests with
    enable_thinking false."""


class DatasetSpec(KubeModel):
    """What to learn from."""

    train: DatasetSource
    """train rows."""
    validation: DatasetSource | None = None
    """validation rows, for the validation loss during training: the first 1,000 count."""
    format: DatasetFormat = DatasetFormat.AUTO
    """format of a row; Auto looks at the keys of the first row."""
    max_sequence_length: Annotated[int, Field(ge=32, le=131072)] = 2048
    """maxSequenceLength in tokens; longer rows are cut and counted."""
    chat_template: ChatTemplateSpec = ChatTemplateSpec()
    """chatTemplate: how rows become text."""
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
    """The adapter to go on from."""

    fine_tune_ref: LocalObjectReference
    """fineTuneRef names a Qwen3FineTune of this namespace with the same base model, rank and
    target modules."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", max_length=8)]
    """revision of it, as in its status.revisions."""


class AdapterSpec(KubeModel):
    """The adapter (PEFT LoraConfig)."""

    type: AdapterType | None = None
    """type: LoRA keeps the base in 16 bits, QLoRA in 4 bits (nf4). Default: planned, 16 bits where
    they fit the card, else 4; status.preflight.sizing.quantized shows which."""
    rank: Literal[8, 16, 32, 64, 128] = 16
    """rank of the update (PEFT r). The serving pool caps it."""
    alpha: Annotated[int, Field(ge=1, le=1024)] | None = None
    """alpha (PEFT lora_alpha); default: the rank."""
    dropout: FractionString = "0"
    """dropout (PEFT lora_dropout), a fraction of 1."""
    target_modules: Annotated[list[TargetModule], Field(min_length=1, max_length=7), ListSet()] = (
        list(ALL_LINEAR)
    )
    """targetModules are the projections that get an update; default: all seven."""
    use_rslora: bool = Field(default=False, alias="useRSLoRA")
    """useRSLoRA scales by alpha / sqrt(rank) instead of alpha / rank."""
    start: AdapterFrom | None = Field(default=None, alias="from")
    """from: the adapter to start from (SFT, then DPO); default: a fresh one."""


class Scheduler(StrEnum):
    """Learning-rate schedule (transformers lr_scheduler_type)."""

    LINEAR = "Linear"
    COSINE = "Cosine"
    CONSTANT = "Constant"


class EarlyStoppingSpec(KubeModel):
    """When to end before the last step, by the validation loss."""

    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """patience: evaluations (every checkpoint.everySteps) without a better loss."""
    min_delta: DecimalString = "0"
    """minDelta that counts as better."""


class HyperparametersSpec(KubeModel):
    """How long and how fast."""

    epochs: Annotated[int, Field(ge=1, le=100)] | None = None
    """epochs over the training rows; at most one of epochs and maxSteps, default 3 epochs."""
    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """maxSteps of the optimiser; at most one of epochs and maxSteps."""
    learning_rate: PositiveDecimalString = "2e-4"
    """learningRate at its peak, for example 2e-4."""
    scheduler: Scheduler = Scheduler.LINEAR
    """scheduler of the learning rate."""
    warmup_ratio: FractionString = "0.03"
    """warmupRatio is the part of all steps spent warming up."""
    weight_decay: DecimalString = "0.01"
    """weightDecay of AdamW."""
    effective_batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """effectiveBatchSize is the number of rows per optimiser step."""
    micro_batch_size: Annotated[int, Field(ge=0, le=512)] = 0
    """microBatchSize is the number of rows in a GPU's memory at once; 0 is planned for the card.
    effectiveBatchSize is a multiple of it times the GPUs."""
    gradient_checkpointing: bool | None = None
    """gradientCheckpointing trades speed for memory; default: planned for the card."""
    early_stopping: EarlyStoppingSpec | None = None
    """earlyStopping by the loss on dataset.validation."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 3407
    """seed of initialisation, order and dropout."""

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
    """What an attempt does with the checkpoints of earlier ones."""

    AUTO = "Auto"
    NEVER = "Never"


class CheckpointSpec(KubeModel):
    """Checkpoints in object storage."""

    every_steps: Annotated[int, Field(ge=1, le=100_000)] = 50
    """everySteps between two checkpoints; one more is written when the pod receives SIGTERM."""
    keep_last: Annotated[int, Field(ge=1, le=20)] = 2
    """keepLast checkpoints stay in the bucket, and the one with the lowest validation loss."""
    resume: ResumePolicy = ResumePolicy.AUTO
    """resume: Auto resumes from the newest checkpoint that verifies, Never starts over."""
    load_best: bool = True
    """loadBest: with validation rows, the checkpoint with the lowest validation loss becomes the
    result; false: the last step does."""
