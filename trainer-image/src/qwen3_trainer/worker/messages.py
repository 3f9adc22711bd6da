"""What crosses the border of a worker process: its plan in, messages out as JSON lines."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from qwen3_api.job.base import Document, Failure
from qwen3_api.job.train import HuggingFaceModel, TrainJob


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
    allow_cpu: bool


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

    job: TrainJob
    source: HuggingFaceModel
    patterns: list[str]
    """Files to take."""


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


class Step(Document):
    """A logged step, or an evaluation at one."""

    kind: Literal["step"] = "step"
    step: int
    epoch: float | None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    tokens: int
    """Tokens seen since step 0."""


class Saved(Document):
    """A checkpoint is complete on the disk."""

    kind: Literal["saved"] = "saved"
    step: int
    folder: str


class Stopped(Document):
    """The worker saved a checkpoint and stopped because it was told to."""

    kind: Literal["stopped"] = "stopped"
    step: int


class Trained(Document):
    """The last step was made and the adapter is on the disk."""

    kind: Literal["trained"] = "trained"
    adapter: str
    steps: int
    epochs: float
    tokens: int
    final_loss: float
    train_loss: float
    eval_loss: float | None
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


Message = Annotated[
    Downloaded | Started | Step | Saved | Stopped | Trained | Verified | Failed,
    Field(discriminator="kind"),
]
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
