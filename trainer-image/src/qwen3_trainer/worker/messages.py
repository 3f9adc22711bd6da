"""What crosses the border of a worker process: its plan in, messages out as JSON lines."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from qwen3_api.job.base import Document, Failure
from qwen3_api.job.export import ExportJob
from qwen3_api.job.train import HuggingFaceModel, TrainJob
from qwen3_api.v1alpha1.export import Quantization


class TrainPlan(Document):
    """What to train, with local paths only."""

    job: TrainJob
    base: str
    """Folder of the base model."""
    train_rows: str
    validation_rows: str | None
    output: str
    """Folder for checkpoints, the adapter and caches."""
    resume_from: str | None
    """Folder of a verified checkpoint."""
    best_checkpoint: str | None = None
    """Folder of the checkpoint with the lowest validation loss so far, where that is an earlier one
    than `resume_from`. It lies in `output` as transformers names it, `checkpoint-<step>`."""
    allow_cpu: bool
    start_adapter: str | None = None
    """Folder of the adapter to start from (`start_adapter.fetch`)."""


class VerifyPlan(Document):
    """What to load and to ask."""

    job: TrainJob
    base: str
    adapter: str
    """Folder of the adapter."""
    prompt: list[dict[str, Any]]
    """Messages of the first training row, before its answer."""


class DownloadPlan(Document):
    """What to fetch from the hub."""

    job: TrainJob | ExportJob
    source: HuggingFaceModel
    patterns: list[str]
    """Files to take."""


class MergePlan(Document):
    """What to merge into what."""

    job: ExportJob
    base: str
    """Folder of the base model in 16 bits."""
    adapter: str
    output: str
    """Folder of the merged model, to be made."""
    scratch: str
    """Files of the base below this folder are removed as soon as they are merged."""


class ConvertPlan(Document):
    """What to convert to GGUF."""

    job: ExportJob
    model: str
    """Folder of the merged model."""
    output: str


class QuantizePlan(Document):
    """What to quantise, and to what."""

    job: ExportJob
    source: str
    """GGUF file in 16 bits."""
    type: Quantization
    output: str
    tokenizer: str
    """Folder of the tokenizer that the file must agree with."""


class Done(Document):
    """An export command has written its output."""

    kind: Literal["done"] = "done"
    tensor_types: dict[str, int] = {}
    """Of a quantised file."""


class Downloaded(Document):
    """The files are in the cache of the hub's library."""

    kind: Literal["downloaded"] = "downloaded"
    folder: str
    """Named after the commit."""


class Started(Document):
    """The training loop begins. From here on SIGTERM makes the worker save a checkpoint."""

    kind: Literal["started"] = "started"
    step: int
    """Where it begins: 0, or the step of the checkpoint."""
    total_steps: int
    pid: int | None = None
    """The process that obeys SIGTERM, where that is not the one the parent started (torchrun)."""
    longest: int | None = None
    """Tokens of the longest training row after cutting."""


class Alive(Document):
    """Work goes on between two logged steps: in steps that aren't logged, or an evaluation."""

    kind: Literal["alive"] = "alive"
    step: int


class Step(Document):
    """A logged step, or an evaluation at one."""

    kind: Literal["step"] = "step"
    step: int
    epoch: float | None
    loss: float | None = None
    eval_loss: float | None = None
    best_step: int | None = None
    """Step of the lowest validation loss so far."""
    best_eval_loss: float | None = None
    learning_rate: float | None = None
    tokens: int
    """Tokens seen since step 0."""
    gpu_memory_mib: int | None = None
    """Peak reserved so far on the fullest GPU; None on the CPU."""


class Tracked(Document):
    """The run can be watched at W&B."""

    kind: Literal["tracked"] = "tracked"
    url: str


class Saved(Document):
    """A checkpoint is complete on the disk.

    The parent removes its folder once it is in the bucket and a newer one is saved, unless the
    newest trainer_state.json calls it the best (`best_global_step`).
    """

    kind: Literal["saved"] = "saved"
    step: int
    folder: str


class Stopped(Document):
    """The worker saved a checkpoint and stopped because it was told to."""

    kind: Literal["stopped"] = "stopped"
    step: int


class Trained(Document):
    """The last step was made and the adapter is on the disk."""

    model_config = ConfigDict(ser_json_inf_nan="strings")  # as Metrics

    kind: Literal["trained"] = "trained"
    adapter: str
    steps: int
    epochs: float
    tokens: int
    final_loss: float
    train_loss: float
    eval_loss: float | None
    """Of the adapter's weights."""
    best_step: int | None = None
    """Step of the adapter's weights, where that is not the last one."""
    train_seconds: float
    truncated_rows: int
    chat_template_sha256: str


class Verified(Document):
    """Base plus adapter, loaded anew, generated an answer."""

    kind: Literal["verified"] = "verified"
    sample: str


class Failed(Document):
    """The worker ends with an error that it has a name for."""

    kind: Literal["failed"] = "failed"
    failure: Failure
    gpu_peak_mib: int | None = None
    """Peak reserved on the GPU of the process that failed; None on the CPU."""
    gpu_total_mib: int | None = None
    """What the card has."""


Message = Annotated[
    Downloaded
    | Started
    | Alive
    | Step
    | Tracked
    | Saved
    | Stopped
    | Trained
    | Verified
    | Done
    | Failed,
    Field(discriminator="kind"),
]
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
