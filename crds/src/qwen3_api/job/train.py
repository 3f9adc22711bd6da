"""`TrainJob`: job spec of a trainer pod. The operator resolves every default into it."""

from typing import Annotated, Literal

from pydantic import Field

from qwen3_api.data_sources import DataSource
from qwen3_api.job.base import CONTRACT, Document, FileDigest, S3Location, Sha256, listed
from qwen3_api.methods import JobDPO, MethodName
from qwen3_api.v1alpha1.training import DatasetFormat, TargetModule

MAX_EVALUATION_ROWS = 1000
"""Maximum number of validation rows in an evaluation during training, from the start of the data.
The evaluation delays training, and the checkpoint on SIGTERM."""


class HuggingFaceModel(Document):
    """Weights from the Hugging Face Hub."""

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
    """Served model name; written into adapter_config.json."""
    source: ModelSource


class JobDataset(Document):
    """Training and validation rows."""

    train: DataSource
    validation: DataSource | None
    format: Annotated[DatasetFormat, listed(DatasetFormat, "Format")]
    max_sequence_length: int
    """Tokens."""
    thinking: Literal["AsInData", "Enabled", "Disabled"] = "AsInData"
    """See `qwen3_api.v1alpha1.training.Thinking`."""


class StartAdapter(Document):
    """A committed adapter as the initial adapter."""

    location: S3Location
    """Folder of the adapter."""
    files: list[FileDigest]
    """Files listed in the commit."""
    digest: Sha256


class JobAdapter(Document):
    """PEFT LoraConfig."""

    quantized: bool
    """True: a 4-bit base (QLoRA)."""
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
    """SFT: the rows of a batch are concatenated instead of padded to the longest. On one GPU, a
    step then runs in passes of at most micro_batch_size times the longest row's tokens, whatever
    their number."""
    planned_length: int | None = None
    """With padding_free: tokens of the longest row that the run is sized for. A pass has room for
    micro_batch_size rows of this length, whatever the actual rows."""
    seed: int
    assistant_only_loss: bool
    early_stopping: JobEarlyStopping | None = None


class JobCheckpoint(Document):
    """Checkpoint interval, retention and resuming."""

    every_steps: int
    keep_last: int
    resume: bool
    load_best: bool = True
    """With validation rows: commit the checkpoint with the lowest validation loss."""


class JobGuards(Document):
    """Abort conditions, and adaptation before them."""

    adapt_to_memory: bool = True
    """On OutOfMemory: halve the micro-batch size, then enable gradient checkpointing, then use a
    4-bit base if allowed (`qwen3_trainer.ladder`)."""
    allow_quantization: bool = False
    stall_timeout_seconds: int = 1800
    max_gpu_seconds: int | None = None
    """Limit for all attempts of the revision together."""


class JobWandb(Document):
    """A W&B run. The key comes in the environment (WANDB_API_KEY)."""

    project: str
    entity: str | None
    offline: bool
    """Offline: the run's folder is uploaded below `wandb/` of the revision or evaluation."""
    base_url: str | None


class TrainJob(Document):
    """Job spec of the trainer, mounted as JSON at `layout.JOB_FILE`."""

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
    """0: train on the CPU. Otherwise a missing GPU is an error. With several, one process per GPU:
    an optimizer step has micro_batch_size * gradient_accumulation_steps * gpus rows."""
    output: S3Location
    """Folder of the revision (`layout.revision_prefix`)."""
    progress_seconds: int = 10
    """Minimum interval between writes of progress.json, in seconds."""
    image: str = ""
    """Trainer image as configured (by digest if the platform pins one)."""
