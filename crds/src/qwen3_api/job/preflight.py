"""`PreflightJob` and `Preflight`: what a CPU pod finds out before any GPU is asked for.

The pod reports facts; the operator decides by them (`qwen3_sizing.plan`).
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
    max_duplicate_percent: int | None = None
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
    """The adapter to start from: its files must be there."""
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
    """Of all rows, also those that were not tokenised."""
    maximum_is_bound: bool = False
    """No row of a large dataset may be that long: it is what its rows can't exceed by their bytes,
    and at most max_sequence_length."""
    buckets: list[tuple[int, int]] = Field(max_length=32)
    """(upper bound in tokens, rows at most that long and longer than the bound before)."""


SAMPLE_LIMIT = 4096
"""Longest text of a RenderedSample, in characters."""
MAX_SEGMENTS = 64


class SampleSegment(Document):
    """A stretch of the sample."""

    text: Annotated[str, StringConstraints(max_length=SAMPLE_LIMIT)]
    learned: bool
    """Whether its tokens have a loss."""


class RenderedSample(Document):
    """The first row as the model will see it."""

    text: Annotated[str, StringConstraints(max_length=SAMPLE_LIMIT)]
    learned: Annotated[str, StringConstraints(max_length=SAMPLE_LIMIT)]
    """The parts with loss, one behind the other (for DPO, of the chosen answer)."""
    segments: list[SampleSegment] = Field(default=[], max_length=MAX_SEGMENTS)
    """The text from its beginning, parts with and without loss in turns; long parts are cut. Of DPO
    with the chosen answer."""
    rejected_segments: list[SampleSegment] = Field(default=[], max_length=MAX_SEGMENTS)
    """Of DPO: the same with the rejected answer."""


class Preflight(Document):
    """`preflight.json`: written once by the preflight pod, however it ended."""

    contract: Literal[1] = CONTRACT
    spec_hash: str
    failure: Failure | None = None
    """Why no training should start; everything found until then is still reported."""
    rows: int = 0
    tokens: int = 0
    """Tokens of one epoch after cutting; an estimate when the histogram is of a sample."""
    lengths: TokenHistogram | None = None
    truncated_percent: float = 0.0
    dropped_percent: float = 0.0
    duplicate_rows: int = 0
    validation_rows: int = 0
    leaked_rows: int | None = None
    """None until both parts were read to their ends."""
    thinking: Literal["AsInData", "Enabled", "Disabled"] | None = None
    """The policy of the order; None while no row was read."""
    reasoning_rows: int = 0
    """Rows whose last answer holds reasoning as it stands in the data, whatever the policy."""
    stripped_rows: int = 0
    """Rows that the policy Disabled took reasoning from, also from earlier answers."""
    warnings: list[Annotated[str, StringConstraints(max_length=512)]] = Field(
        default=[], max_length=8
    )
    """What stops no run, but is seldom meant."""
    dataset_sha256: Sha256 | None = None
    chat_template_sha256: Sha256 | None = None
    base_commit: Text | None = None
    """Hub commit; None where only the weights' digests identify the base."""
    shape: ModelShape | None = None
    sample: RenderedSample | None = None
    seconds: float
    """How long it took."""
    finished: Text
