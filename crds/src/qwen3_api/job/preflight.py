"""`PreflightJob` and `Preflight`: what a CPU pod finds out before any GPU is asked for.

The pod reports facts; the operator decides by them (`qwen3_operator.plan.sizing`).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qwen3_api.job.base import CONTRACT, Document, Failure, S3Location, Sha256
from qwen3_api.job.report import Text
from qwen3_api.job.train import JobBaseModel, JobDataset, StartAdapter


class PreflightChecks(Document):
    """What is let pass."""

    max_truncated_percent: int
    max_dropped_percent: int
    fail_on_leakage: bool


class PreflightJob(Document):
    """The whole order, mounted as JSON at `layout.JOB_FILE`."""

    contract: Literal[1] = CONTRACT
    namespace: str
    name: str
    uid: str
    revision: str
    spec_hash: str
    method: Literal["SFT", "DPO"]
    base_model: JobBaseModel
    dataset: JobDataset
    assistant_only_loss: bool
    start: StartAdapter | None = None
    """The adapter to go on from: its files must be there."""
    checks: PreflightChecks
    output: S3Location
    """Folder of the revision; the result is `<output>/preflight.json`."""


class ModelShape(Document):
    """What of config.json decides about memory and time."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool
    max_position_embeddings: int | None = None
    """The window: no row may be longer. None in documents of earlier releases."""


class TokenHistogram(Document):
    """Token lengths of training rows before cutting, for DPO of prompt plus the longer answer."""

    counted_rows: int
    """Rows that were tokenised: all, or an evenly spread sample of a large dataset."""
    mean: float
    """Mean length after cutting to max_sequence_length."""
    p50: int
    p95: int
    p99: int
    maximum: int
    buckets: list[tuple[int, int]] = Field(max_length=32)
    """(upper bound in tokens, rows at most that long and longer than the bound before)."""


class RenderedSample(Document):
    """The first row as the model will see it."""

    text: Annotated[str, StringConstraints(max_length=4096)]
    learned: Annotated[str, StringConstraints(max_length=4096)]
    """The part with loss (for DPO, of the chosen answer)."""


class Preflight(Document):
    """`preflight.json`: written once by the preflight pod, however it ended."""

    contract: Literal[1] = CONTRACT
    spec_hash: str
    failure: Failure | None = None
    """Why no training should start; everything found until then is still told."""
    rows: int = 0
    tokens: int = 0
    """Tokens of one epoch after cutting; an estimate when the histogram is of a sample."""
    lengths: TokenHistogram | None = None
    truncated_percent: float = 0.0
    dropped_percent: float = 0.0
    duplicate_rows: int = 0
    validation_rows: int = 0
    leaked_rows: int = 0
    reasoning_rows: int = 0
    """Rows whose last answer holds reasoning."""
    dataset_sha256: Sha256 | None = None
    chat_template_sha256: Sha256 | None = None
    base_commit: Text | None = None
    """Hub commit; None where only the weights' digests identify the base."""
    shape: ModelShape | None = None
    sample: RenderedSample | None = None
    seconds: float
    """How long it took."""
    finished: Text
