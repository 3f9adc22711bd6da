"""`TrainJob`: all that a trainer pod is told. The operator resolves every default into it."""

from typing import Annotated, Literal

from pydantic import Field

from qwen3_api.data_sources import DataSource
from qwen3_api.job.base import CONTRACT, Document, FileDigest, S3Location, Sha256, listed
from qwen3_api.methods import JobDPO, MethodName
from qwen3_api.v1alpha1.training import DatasetFormat, TargetModule

MAX_EVALUATION_ROWS = 1000
"""Validation rows that an evaluation during training takes: the first ones of the data. It holds up
training, and the checkpoint on SIGTERM."""


class HuggingFaceModel(Document):
    """Weights from the hub."""

    type: Literal["HuggingFace"] = "HuggingFace"
    repo: str
    revision: str | None = None


class S3Model(Document):
    """Weights from a bucket: `location.prefix` is the folder with config.json."""

    type: Literal["S3"] = "S3"
    location: S3Location


ModelSource = Annotated[HuggingFaceModel | S3Model, Field(discriminator="type")]


class JobBaseModel(Document):
    """The base model."""

    name: str
    """The name it is served under; goes into adapter_config.json."""
    source: ModelSource


class JobDataset(Document):
    """The rows."""

    train: DataSource
    validation: DataSource | None
    format: Annotated[DatasetFormat, listed(DatasetFormat, "Format")]
    max_sequence_length: int
    """Tokens."""
    thinking: Literal["AsInData", "Enabled", "Disabled"] = "AsInData"
    """See `qwen3_api.v1alpha1.training.Thinking`."""


class StartAdapter(Document):
    """A committed adapter to start from."""

    location: S3Location
    """Its folder."""
    files: list[FileDigest]
    """What the commit says it holds."""
    digest: Sha256


class JobAdapter(Document):
    """PEFT LoraConfig."""

    quantized: bool
    """True: the frozen base is kept in 4 bits (QLoRA)."""
    rank: int
    alpha: int
    dropout: float
    target_modules: list[TargetModule]
    use_rslora: bool
    start: StartAdapter | None = None


class JobEarlyStopping(Document):
    """EarlyStoppingCallback of transformers, on the validation loss."""

    patience: int
    min_delta: float


class JobHyperparameters(Document):
    """Training arguments. Exactly one of epochs and max_steps is set."""

    epochs: int | None
    max_steps: int | None
    learning_rate: float
    scheduler: Literal["linear", "cosine", "constant"]
    warmup_ratio: float
    weight_decay: float
    micro_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    padding_free: bool = False
    """SFT: the rows of a batch one behind the other instead of padded to the longest. On
    one GPU a step then goes through the model in passes of at most micro_batch_size times the
    longest row's tokens, however many those are."""
    planned_length: int | None = None
    """With padding_free: tokens of the longest row that was planned for. Passes have room for
    micro_batch_size of it, whatever the rows turn out to be."""
    seed: int
    assistant_only_loss: bool
    early_stopping: JobEarlyStopping | None = None


class JobCheckpoint(Document):
    """When to save and whether to resume from what is there."""

    every_steps: int
    keep_last: int
    resume: bool
    load_best: bool = True
    """With validation rows: commit the checkpoint with the lowest validation loss."""


class JobGuards(Document):
    """When to give up, and what to try before."""

    adapt_to_memory: bool = True
    """On OutOfMemory: halve the micro-batch, then checkpoint gradients, then quantise if allowed
    (`qwen3_trainer.ladder`)."""
    allow_quantization: bool = False
    stall_timeout_seconds: int = 1800
    max_gpu_seconds: int | None = None
    """Of all attempts of the revision together."""


class JobWandb(Document):
    """A W&B run. The key comes in the environment (WANDB_API_KEY)."""

    project: str
    entity: str | None
    offline: bool
    """Offline: the run's folder is uploaded below `wandb/` of the revision or evaluation."""
    base_url: str | None


class TrainJob(Document):
    """The whole order, mounted as JSON at `layout.JOB_FILE`."""

    contract: Literal[1] = CONTRACT
    namespace: str
    name: str
    uid: str
    revision: str
    spec_hash: str
    method: MethodName
    dpo: JobDPO | None = None
    """Set with method DPO."""
    base_model: JobBaseModel
    dataset: JobDataset
    adapter: JobAdapter
    hyperparameters: JobHyperparameters
    checkpoint: JobCheckpoint
    guards: JobGuards = JobGuards()
    wandb: JobWandb | None = None
    gpus: int
    """0: train on the CPU. Otherwise a missing GPU is an error. More than one: one process each,
    and a row counts towards micro_batch_size * gradient_accumulation_steps * gpus."""
    output: S3Location
    """Folder of the revision (`layout.revision_prefix`)."""
    progress_seconds: int = 10
    """Shortest time between two writes of progress.json, in seconds."""
    image: str = ""
    """The trainer image as the operator names it (a digest where the platform pins one)."""
