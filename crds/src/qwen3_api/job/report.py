"""Documents of a trainer in the bucket: progress, report, checkpoint manifest, commit.

Every number in status comes from one of these.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from qwen3_api.job.adapter_files import MAX_FILES
from qwen3_api.job.base import CONTRACT, Document, Failure, FileDigest, Sha256

PodUid = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
TEXT_LIMIT = 256
"""Maximum length of a Text."""
Text = Annotated[str, StringConstraints(max_length=TEXT_LIMIT)]
CONFIGURATION_LIMIT = 8192
"""Maximum JSON length of a manifest's configuration."""


class SavedCheckpoint(Document):
    """A checkpoint that is complete in the bucket."""

    step: int
    prefix: Annotated[str, StringConstraints(max_length=1024)]
    """Key prefix of its folder."""
    time: Text
    """RFC 3339, UTC."""


class Sizing(Document):
    """Sizes of a run."""

    micro_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    quantized: bool
    padding_free: bool = False


class Progress(Document):
    """`progress.json` of an attempt: overwritten at most every `progress_seconds`."""

    contract: Literal[1] = CONTRACT
    attempt: PodUid
    phase: Literal["Starting", "LoadingData", "LoadingModel", "Training", "Verifying", "Uploading"]
    step: int
    total_steps: int | None
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: int | None = None
    resumed_from_step: int | None = None
    checkpoint: SavedCheckpoint | None = None
    sizing: Sizing | None = None
    """Current sizes; they differ from the job spec's after an adaptation."""
    adaptations: list[Annotated[str, StringConstraints(max_length=512)]] = Field(
        default=[], max_length=16
    )
    """One line per step of the out-of-memory ladder, oldest first."""
    best_step: int | None = None
    best_eval_loss: float | None = None
    gpu_memory_mib: int | None = None
    """Peak memory of this attempt on the GPU that uses most (torch.cuda.max_memory_reserved)."""
    tracking_url: Annotated[str, StringConstraints(max_length=1024)] | None = None
    gpu_seconds: float = 0.0
    """GPUs times wall-clock seconds of this attempt so far."""
    revision_gpu_seconds: float = 0.0
    """The same for this attempt and all earlier ones of the revision."""
    started: Text
    """Start of the attempt. RFC 3339, UTC."""
    updated: Text
    """Time of this document. RFC 3339, UTC."""


class TrainReport(Document):
    """`report.json` of an attempt: written once when it ends, whatever the result."""

    contract: Literal[1] = CONTRACT
    attempt: PodUid
    outcome: Literal["Committed", "AlreadyCommitted", "Interrupted", "Failed"]
    failure: Failure | None = None
    """Set when the outcome is Failed."""
    exit_code: int
    step: int
    total_steps: int | None
    started: Text
    finished: Text
    versions: dict[str, Text] = Field(default={}, max_length=64)
    """Library versions."""
    log_tail: list[Text] = Field(default=[], max_length=50)
    """The last lines of the log."""


class CheckpointManifest(Document):
    """`CHECKPOINT.json`: written last into a checkpoint's folder; without it the checkpoint is
    incomplete."""

    contract: Literal[1] = CONTRACT
    spec_hash: str
    step: int
    files: list[FileDigest]
    written: Text


class Metrics(Document):
    """Metrics of the finished run. A non-finite number is written as "NaN" or "Infinity", which can
    be read again: null would make the whole commit unreadable."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    final_loss: float
    """Mean training loss of the last logged window."""
    train_loss: float
    """Mean training loss of the run, as transformers reports it."""
    eval_loss: float | None = None
    best_step: int | None = None
    """Step of the committed checkpoint, if it isn't the last one."""
    steps: int
    epochs: float
    tokens: int
    """Tokens processed in this attempt and those it resumed from."""
    train_seconds: float
    """Training time of the attempt that finished."""
    gpu_seconds: float = 0.0
    """GPUs times wall-clock seconds of all attempts of the revision."""
    rows: int
    truncated_rows: int


def require_small(value: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a manifest, unchanged. Raises ValueError over CONFIGURATION_LIMIT."""
    if len(json.dumps(value)) > CONFIGURATION_LIMIT:
        raise ValueError(f"more than {CONFIGURATION_LIMIT} characters of JSON")
    return value


class Provenance(Document):
    """Provenance of the adapter."""

    base_model: Text
    base_commit: Text
    """Hub commit, or sha256 over the weight files' digests."""
    dataset_sha256: Sha256
    """Digest over the bytes of the training data as read."""
    validation_sha256: Sha256 | None = None
    chat_template_sha256: Sha256
    seed: int
    image: Text
    versions: dict[str, Text] = Field(max_length=64)
    resumed_from_step: int | None = None
    sizing: Sizing | None = None
    thinking: Text = "AsInData"
    started_from: Text | None = None
    """Digest of the initial adapter."""
    configuration: Annotated[dict[str, Any], AfterValidator(require_small)] | None = None
    """Method, hyperparameters, adapter and data settings of the job spec, with defaults, and under
    `sizing` the final sizes; at most 8 KiB as JSON. None in manifests of earlier releases."""
    license: Text | None = None
    """License of the base model, from its model card; None if the model card has none."""

    @property
    def enable_thinking(self) -> bool | None:
        """The chat template's argument that the adapter was trained with; None: either."""
        return {"Enabled": True, "Disabled": False}.get(self.thinking)


class Commit(Document):
    """`COMMIT.json`: the committed result of a revision, written once with If-None-Match."""

    contract: Literal[1] = CONTRACT
    spec_hash: str
    revision: str
    attempt: PodUid
    prefix: Annotated[str, StringConstraints(max_length=1024)]
    """Key prefix of the adapter's folder, which holds exactly `files`."""
    files: list[FileDigest] = Field(min_length=1, max_length=MAX_FILES)
    digest: Sha256
    """`adapter_digest(files)`."""
    rank: int
    metrics: Metrics
    provenance: Provenance
    sample: Annotated[str, StringConstraints(max_length=2048)] = ""
    """Output of the reloaded adapter for the first training prompt."""
    committed: Text


def adapter_digest(files: list[FileDigest]) -> str:
    """Digest of an adapter: sha256 over the sorted `[path, sha256]` pairs as compact JSON."""
    pairs = sorted([f.path, f.sha256] for f in files)
    return hashlib.sha256(json.dumps(pairs, separators=(",", ":")).encode()).hexdigest()


def adapter_id(namespace: str, name: str, digest: str) -> str:
    """Immutable model id on a serving pool: `<namespace>.<name>.<sha8>`."""
    return f"{namespace}.{name}.{digest[:8]}"
