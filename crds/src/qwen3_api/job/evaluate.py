"""The contract of the evaluator: its order, its progress, its report."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qwen3_api.job.base import CONTRACT, Document, Failure, S3Location, Sha256
from qwen3_api.job.train import DataSource

MetricName = Literal["ExactMatch", "AssistantLoss"]


class EvalEndpoint(Document):
    """A model behind an OpenAI-compatible endpoint."""

    name: str
    """`target`, or the baseline's name."""
    base_url: str
    """Ends in /v1."""
    model: str
    """The immutable id, or the base model's name."""


class EvalSuite(Document):
    """Questions and how to ask them."""

    name: str
    data: DataSource
    metrics: list[MetricName]
    limit: int | None
    max_tokens: int
    temperature: float
    thinking: bool
    seed: int


class EvalJob(Document):
    """The whole order, mounted as JSON at `layout.JOB_FILE`."""

    contract: Literal[1] = CONTRACT
    namespace: str
    name: str
    uid: str
    target: EvalEndpoint
    baselines: list[EvalEndpoint]
    suites: list[EvalSuite]
    concurrency: int
    output: S3Location
    """Folder of the evaluation (`layout.eval_prefix`)."""
    progress_seconds: int = 10


class EvalProgressDocument(Document):
    """`progress.json` of an evaluation."""

    contract: Literal[1] = CONTRACT
    completed: int
    total: int
    suite: str
    eta_seconds: int | None
    updated: str


class EvalResult(Document):
    """One metric of one model on one suite. Traceable: samples.jsonl has a line per answer."""

    suite: str
    metric: MetricName
    model: str
    """`target`, or the baseline's name."""
    value: float
    """ExactMatch: share of right answers, 0 to 1. AssistantLoss: nats per answer token."""
    samples: int


class EvalReport(Document):
    """`report.json` of an evaluation, written once at its end."""

    contract: Literal[1] = CONTRACT
    outcome: Literal["Completed", "Failed"]
    failure: Failure | None = None
    results: list[EvalResult] = Field(default=[], max_length=256)
    data_sha256: dict[str, Sha256] = {}
    """By suite, over the bytes of the data as read."""
    target_model: str
    started: str
    finished: str
    versions: dict[str, Annotated[str, StringConstraints(max_length=64)]] = {}


class EvalSample(Document):
    """A line of samples.jsonl."""

    suite: str
    model: str
    line: int
    """1-based line of the data file."""
    category: str | None
    question: str
    expected: str
    answer: str | None
    """None when ExactMatch was not asked for."""
    exact_match: bool | None
    loss: float | None
    """Sum of negative log-likelihoods over the answer's tokens, in nats."""
    answer_tokens: int | None
