"""Contract of the evaluator: job spec, progress, report."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qwen3_api.data_sources import DataSource
from qwen3_api.job.base import CONTRACT, Document, Failure, S3Location, Sha256
from qwen3_api.job.train import JobWandb
from qwen3_api.metrics import Metric

ENV_WEAVE_API_KEY = "WEAVE_API_KEY"
"""Environment variable of the evaluator with the key for Weave, which may differ from the key for
W&B."""
GateVerdict = Literal["Passed", "Failed", "Inconclusive"]
ReportVerdict = Literal["Passed", "Failed", "Inconclusive", "Completed"]


class EvalEndpoint(Document):
    """A model behind an OpenAI-compatible endpoint."""

    name: str
    """`target`, or the baseline's name."""
    base_url: str
    """Ends in /v1."""
    model: str
    """The immutable id, or the base model's name."""
    api_key_env: str | None = None
    """Environment variable of the evaluator with the key to send; None: no key."""


class JudgePrice(Document):
    """Price per million tokens, in any currency."""

    prompt: float
    completion: float


class EvalJudge(Document):
    """Judges of a suite."""

    endpoints: list[EvalEndpoint]
    rubric: str | None
    """None: the evaluator's default."""
    swap_positions: bool
    max_requests: int
    prices: list[JudgePrice | None] = []
    """In the order of `endpoints`, None if unknown; empty: all unknown."""
    max_cost: float | None = None
    """Maximum cost of all judges together, per attempt; requires every price."""


class EvalBenchmark(Document):
    """EvalScope's prompts and scoring for a suite."""

    dataset: str
    """EvalScope's name of the benchmark; the suite's data has its row format."""
    few_shot: int = 0
    """Worked examples in each prompt, of the question's subject if there are subjects."""
    examples: DataSource | None = None
    """Rows of the same format for the examples; None without examples."""


class PydanticField(Document):
    """A field of the model that PydanticScorer validates answers against."""

    name: str
    type: Literal["String", "Integer", "Number", "Boolean", "List", "Object"]
    required: bool = True
    """False: it may be missing or null."""


class EvalSuite(Document):
    """Questions with their sampling parameters."""

    name: str
    data: DataSource
    benchmark: EvalBenchmark | None = None
    """None: the rows are the user's own questions and answers."""
    metrics: list[Metric]
    limit: int | None
    max_tokens: int
    temperature: float
    thinking: bool
    seed: int
    samples: int = 1
    """Answers to each question, with the seeds seed, seed + 1, …"""
    json_schema: str | None = None
    pydantic_fields: list[PydanticField] = []
    """Fields of PydanticScorer's model; only with that metric."""
    judge: EvalJudge | None = None


class EvalGate(Document):
    """A gate (see qwen3_api.v1alpha1.suites.Gate). Exactly one bound is set."""

    name: str
    suite: str
    metric: Metric
    baseline: str | None
    minimum: float | None = None
    maximum: float | None = None
    max_regression: float | None = None
    minimum_effect: float | None = None
    confidence: float
    """One-sided, 0.5 to 0.99."""
    fail_on_insufficient: bool = False


ENV_DATA_PREFIX = "DATA_"
"""Prefix of AWS_ACCESS_KEY_ID and the other variables for `EvalJob.data_credentials`."""


class EvalHoldout(Document):
    """Comparison of the questions with the training data before the evaluation."""

    training: S3Location
    """The object `training-digest` of the target's revision."""
    max_leaked_percent: int | None
    """Maximum percentage of a suite's questions; None: no limit."""


class EvalWeave(Document):
    """A Weave project. The key comes in the environment (ENV_WEAVE_API_KEY)."""

    project: str
    entity: str | None
    base_url: str | None
    """URL of a self-hosted W&B server."""
    trace_url: str | None
    """URL of its trace server; None: <base_url>/traces."""


class EvalTracking(Document):
    """Trackers that get the results once they are in the bucket."""

    wandb: JobWandb | None = None
    """The key comes in the environment (WANDB_API_KEY)."""
    weave: EvalWeave | None = None


class EvalTraining(Document):
    """Training run of the target, for the report. It is in the same bucket."""

    revision: str
    folder: S3Location
    """Folder of the revision (`layout.revision_prefix`)."""
    price_per_gpu_hour: float | None = None
    """Price from the platform's price list, in `currency`."""
    currency: str = ""


class EvalJob(Document):
    """Job spec of the evaluator, mounted as JSON at `layout.JOB_FILE`."""

    contract: Literal[1] = CONTRACT
    namespace: str
    name: str
    uid: str
    target: EvalEndpoint
    baselines: list[EvalEndpoint]
    suites: list[EvalSuite]
    gates: list[EvalGate] = []
    holdout: EvalHoldout | None = None
    """None: the target's training data is unknown."""
    data_credentials: bool = False
    """True: the suites' data is read with separate credentials, see ENV_DATA_PREFIX."""
    concurrency: int
    output: S3Location
    """Folder of the evaluation (`layout.eval_prefix`)."""
    tracking: EvalTracking = EvalTracking()
    training: EvalTraining | None = None
    """None: the target isn't a revision of a fine-tune, or its folder needs other credentials."""
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
    """One metric of one model on one suite. Traceable: samples.jsonl has a line per answer.

    A metric that compares with each baseline has a result per baseline, whose `model` is `target`
    and whose `baseline` is set.
    """

    suite: str
    metric: Metric
    model: str
    """`target`, or the baseline's name."""
    baseline: str | None = None
    """Only of a metric per baseline: the baseline that the target was compared with."""
    value: float
    """In the metric's unit, aggregated as the metric declares it."""
    low: float | None = None
    """Lower end of the two-sided 95 % confidence interval of `value`."""
    high: float | None = None
    samples: int
    """Questions that were scored."""


class EvalComparison(Document):
    """Paired comparison of the target with a baseline over the same questions."""

    suite: str
    metric: Metric
    baseline: str
    delta: float
    """Target minus baseline: the difference of the two values."""
    low: float | None = None
    """Lower end of the two-sided 95 % confidence interval of `delta`."""
    high: float | None = None
    p_value: float | None = None
    """Two-sided, of no difference: McNemar's exact test for scores of 0 and 1, else bootstrap."""
    better: int
    """Questions on which the target scored better."""
    worse: int
    samples: int


class EvalGateResult(Document):
    """Decision of a gate."""

    name: str
    verdict: GateVerdict
    estimate: float | None
    """The value; with a baseline, the improvement (with the opposite sign for a loss)."""
    low: float | None = None
    """One-sided bounds of the estimate at the gate's confidence."""
    high: float | None = None
    samples: int
    needed_samples: int | None = None
    """With verdict Inconclusive: number of questions that would be enough, at this estimate and
    spread."""
    message: Annotated[str, StringConstraints(max_length=512)]


class JudgeUsage(Document):
    """Usage and cost of the judges."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """Cost by the known prices, in their currency."""
    unreadable: int = 0
    """Replies without a valid verdict, which were requested again."""
    disagreements: int = 0
    """Pairs on which the two orders, or two judges, disagreed."""


class EvalLeakage(Document):
    """Questions of a suite that occur in the training data; see `qwen3_api.job.holdout`."""

    suite: str
    questions: int
    leaked: int
    """Sum of `by_text` and `by_ngrams`."""
    by_text: int
    """Questions whose whole text is a training text."""
    by_ngrams: int
    """Questions with at least 70 % of their n-grams in the training data."""
    lines: list[int] = Field(max_length=20)
    """Lines of the first leaked questions in the suite's data."""
    training_rows: int
    covered_rows: int
    """Number of training rows compared, from the start."""


class ModelUsage(Document):
    """Token usage of a model: the tokens of the final answers, as its server returns them.

    A request that was repeated after an error counts once.
    """

    model: str
    """`target`, or the baseline's name."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class EvalReport(Document):
    """`report.json` of an evaluation, written once when it finishes."""

    contract: Literal[1] = CONTRACT
    outcome: Literal["Completed", "Failed"]
    failure: Failure | None = None
    verdict: ReportVerdict = "Completed"
    """Completed without gates; otherwise Failed if a gate failed, else Inconclusive if one is
    inconclusive, else Passed."""
    results: list[EvalResult] = Field(default=[], max_length=2048)
    comparisons: list[EvalComparison] = Field(default=[], max_length=2048)
    gates: list[EvalGateResult] = Field(default=[], max_length=16)
    usage: list[ModelUsage] = Field(default=[], max_length=16)
    """By model; models whose server returned no usage are omitted."""
    judge: JudgeUsage | None = None
    holdout: list[EvalLeakage] = Field(default=[], max_length=16)
    """By suite; empty if there was no training digest."""
    data_sha256: dict[str, Sha256] = {}
    """By suite, over the bytes of the data as read; `<suite>.examples` for its worked examples."""
    target_model: str
    started: str
    finished: str
    versions: dict[str, Annotated[str, StringConstraints(max_length=64)]] = {}


class JudgeOpinion(Document):
    """Opinion of one judge about one answer or pair."""

    judge: str
    baseline: str | None
    """None: about the answer on its own."""
    score: float
    """By itself: 0 to 1; of a pair: 1 for the target, 0.5 a tie, 0 for the baseline."""
    reason: Annotated[str, StringConstraints(max_length=2000)]


class EvalSample(Document):
    """A line of samples.jsonl: one answer of one model to one question, with its scores."""

    suite: str
    model: str
    line: int
    """1-based line of the data file."""
    sample: int = 0
    """Index among the suite's samples, from 0."""
    category: str | None
    question: str
    expected: str
    answer: str | None
    """Answer without reasoning; None if no metric needed one."""
    reasoning: str | None = None
    """Reasoning before the answer; None without reasoning (or with an empty think block)."""
    scores: dict[Metric, float] = {}
    """Scores by the metrics that score a generated answer on its own."""
    loss: float | None
    """Sum of negative log-likelihoods over the expected answer's tokens, in nats; sample 0 only."""
    answer_tokens: int | None
    """Number of tokens in `loss`."""
    opinions: list[JudgeOpinion] = []
    prompt_tokens: int | None = None
    """Tokens of all requests for this line, by `usage` of their replies; None if not reported."""
    completion_tokens: int | None = None


class TrackedModel(Document):
    """An evaluation in Weave."""

    suite: str
    model: str
    """`target`, or the baseline's name."""
    url: Annotated[str, StringConstraints(max_length=1024)]


class TrackingReport(Document):
    """`tracking.json` of an evaluation: the result of EvalJob.tracking."""

    contract: Literal[1] = CONTRACT
    run_url: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """W&B run, online."""
    offline_run: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """URI of the folder of the W&B run, offline."""
    evaluations: list[TrackedModel] = Field(default=[], max_length=40)
    failures: list[Annotated[str, StringConstraints(max_length=512)]] = Field(
        default=[], max_length=8
    )
    """A sentence for each tracker that didn't accept everything."""
    finished: str
