"""`PreflightJob` and `Preflight`: findings of a CPU pod before any GPU is requested.

The pod reports facts; the operator decides by them (`qwen3_sizing.plan`).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qwen3_api.job.base import CONTRACT, Document, Failure, S3Location, Sha256
from qwen3_api.job.report import Text
from qwen3_api.job.train import JobBaseModel, JobDataset, StartAdapter
from qwen3_api.methods import MethodName


class PreflightChecks(Document):
    """Tolerances of the preflight."""

    max_truncated_percent: int
    max_dropped_percent: int
    max_duplicate_percent: int | None = None
    fail_on_leakage: bool


class PreflightJob(Document):
    """Job spec of the preflight, mounted as JSON at `layout.JOB_FILE`."""

    contract: Literal[1] = CONTRACT
    namespace: str
    name: str
    uid: str
    revision: str
    spec_hash: str
    method: MethodName
    base_model: JobBaseModel
    dataset: JobDataset
    assistant_only_loss: bool
    start: StartAdapter | None = None
    """The initial adapter: its files must exist."""
    checks: PreflightChecks
    output: S3Location
    """Folder of the revision; the result is `<output>/preflight.json`."""


class ModelShape(Document):
    """Fields of config.json that determine memory and time."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool
    max_position_embeddings: int | None = None
    """Context length: no row may be longer. None in documents of earlier releases."""


class TokenHistogram(Document):
    """Token lengths of training rows before truncation; for preference rows, of the prompt plus the
    longer answer."""

    counted_rows: int
    """Tokenized rows: all, or an evenly spread sample of a large dataset."""
    mean: float
    """Mean length after truncation to max_sequence_length."""
    p50: int
    p95: int
    p99: int
    maximum: int
    """Maximum length over all rows, including those that weren't tokenized."""
    maximum_is_bound: bool = False
    """Whether `maximum` is an upper bound for a large dataset, derived from the bytes of its rows,
    and at most max_sequence_length."""
    buckets: list[tuple[int, int]] = Field(max_length=32)
    """(upper bound in tokens, rows at most that long and longer than the bound before)."""


SAMPLE_LIMIT = 4096
"""Longest text of a RenderedSample, in characters."""
MAX_SEGMENTS = 64


class SampleSegment(Document):
    """A segment of the sample."""

    text: Annotated[str, StringConstraints(max_length=SAMPLE_LIMIT)]
    learned: bool
    """Whether its tokens contribute to the loss."""


class RenderedSample(Document):
    """The first row as the model will see it."""

    text: Annotated[str, StringConstraints(max_length=SAMPLE_LIMIT)]
    learned: Annotated[str, StringConstraints(max_length=SAMPLE_LIMIT)]
    """The parts with loss, concatenated (for a preference row, of the chosen answer)."""
    segments: list[SampleSegment] = Field(default=[], max_length=MAX_SEGMENTS)
    """The text from its start, alternating parts with and without loss; long parts are truncated.
    For a preference row, with the chosen answer."""
    rejected_segments: list[SampleSegment] = Field(default=[], max_length=MAX_SEGMENTS)
    """For a preference row: the same with the rejected answer."""


class Preflight(Document):
    """`preflight.json`: written once by the preflight pod, whatever the result."""

    contract: Literal[1] = CONTRACT
    spec_hash: str
    failure: Failure | None = None
    """Failure that prevents training; everything found before it is still reported."""
    rows: int = 0
    tokens: int = 0
    """Tokens of one epoch after truncation; an estimate if the histogram covers a sample."""
    lengths: TokenHistogram | None = None
    truncated_percent: float = 0.0
    dropped_percent: float = 0.0
    duplicate_rows: int = 0
    validation_rows: int = 0
    leaked_rows: int | None = None
    """None until both datasets have been read completely."""
    thinking: Literal["AsInData", "Enabled", "Disabled"] | None = None
    """Thinking policy of the job spec; None before the first row."""
    reasoning_rows: int = 0
    """Rows whose last answer has reasoning in the data, whatever the policy."""
    stripped_rows: int = 0
    """Rows from which the policy Disabled removed reasoning, also from earlier answers."""
    warnings: list[Annotated[str, StringConstraints(max_length=512)]] = Field(
        default=[], max_length=8
    )
    """Warnings about data that is valid but rarely intended."""
    dataset_sha256: Sha256 | None = None
    chat_template_sha256: Sha256 | None = None
    base_commit: Text | None = None
    """Commit on the Hub; None if only the weights' digests identify the base model."""
    shape: ModelShape | None = None
    sample: RenderedSample | None = None
    seconds: float
    """Duration."""
    finished: Text
