"""The contract of the evaluator: its order, its progress, its report."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qwen3_api.job.base import CONTRACT, Document, Failure, S3Location, Sha256
from qwen3_api.job.train import DataSource, JobWandb
from qwen3_api.metrics import Metric

ENV_WEAVE_API_KEY = "WEAVE_API_KEY"
"""Environment variable of the evaluator with the key for Weave; the one for W&B may be another."""
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
    """Environment variable of the evaluator with the key to send; None: send none."""


class JudgePrice(Document):
    """What a million tokens cost, in any currency."""

    prompt: float
    completion: float


class EvalJudge(Document):
    """The jury of a suite."""

    endpoints: list[EvalEndpoint]
    rubric: str | None
    """None: the evaluator's own."""
    swap_positions: bool
    max_requests: int
    prices: list[JudgePrice | None] = []
    """In the order of `endpoints`, None where it isn't known; empty: of none."""
    max_cost: float | None = None
    """Of all judges together, in each attempt; then every price is known."""


class EvalBenchmark(Document):
    """What makes prompts and scores of a suite EvalScope's."""

    dataset: str
    """EvalScope's name of the benchmark; the suite's data are rows of its shape."""
    few_shot: int = 0
    """Worked examples in each prompt, of the question's own subject where there are subjects."""
    examples: DataSource | None = None
    """Rows of the same shape that the examples are taken from; None without examples."""


class PydanticField(Document):
    """A field of the model that PydanticScorer validates answers against."""

    name: str
    type: Literal["String", "Integer", "Number", "Boolean", "List", "Object"]
    required: bool = True
    """Otherwise it may be missing or null."""


class EvalSuite(Document):
    """Questions and how to ask them."""

    name: str
    data: DataSource
    benchmark: EvalBenchmark | None = None
    """None: the rows are questions and answers of the user's own."""
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
    """Of PydanticScorer's model; only with that metric."""
    judge: EvalJudge | None = None


class EvalGate(Document):
    """A gate, as qwen3_api.v1alpha1.suites.Gate means it. Exactly one bound is set."""

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
"""Before AWS_ACCESS_KEY_ID and the others: the credentials of `EvalJob.data_credentials`."""


class EvalHoldout(Document):
    """What the questions are compared with before anything is asked."""

    training: S3Location
    """The object `training-digest` of the target's revision."""
    max_leaked_percent: int | None
    """Of a suite's questions; None: any share passes."""


class EvalWeave(Document):
    """A Weave project. The key comes in the environment (ENV_WEAVE_API_KEY)."""

    project: str
    entity: str | None
    base_url: str | None
    """Of a self-hosted W&B server."""
    trace_url: str | None
    """Of its trace server; None: <base_url>/traces."""


class EvalTracking(Document):
    """Where the results go once they are in the bucket."""

    wandb: JobWandb | None = None
    """The key comes in the environment (WANDB_API_KEY)."""
    weave: EvalWeave | None = None


class EvalTraining(Document):
    """The training that the target came out of, for the report. It lies in the same bucket."""

    revision: str
    folder: S3Location
    """Folder of the revision (`layout.revision_prefix`)."""
    price_per_gpu_hour: float | None = None
    """By the platform's price list, in `currency`."""
    currency: str = ""


class EvalJob(Document):
    """The whole order, mounted as JSON at `layout.JOB_FILE`."""

    contract: Literal[1] = CONTRACT
    namespace: str
    name: str
    uid: str
    target: EvalEndpoint
    baselines: list[EvalEndpoint]
    suites: list[EvalSuite]
    gates: list[EvalGate] = []
    holdout: EvalHoldout | None = None
    """None: nobody knows what the target was trained on."""
    data_credentials: bool = False
    """The suites' data are read with credentials of their own, see ENV_DATA_PREFIX."""
    concurrency: int
    output: S3Location
    """Folder of the evaluation (`layout.eval_prefix`)."""
    tracking: EvalTracking = EvalTracking()
    training: EvalTraining | None = None
    """None: the target is no revision of a fine-tune, or its folder is under other credentials."""
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
    """Only of a metric that compares with each baseline: whom the target was compared with."""
    value: float
    """In the metric's unit, aggregated as the metric declares it."""
    low: float | None = None
    """Lower end of the two-sided 95 % confidence interval of `value`."""
    high: float | None = None
    samples: int
    """Questions that were scored."""


class EvalComparison(Document):
    """The target against a baseline, over the same questions in pairs."""

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
    """How a gate was decided."""

    name: str
    verdict: GateVerdict
    estimate: float | None
    """The value; with a baseline the improvement (the sign turned for a loss)."""
    low: float | None = None
    """One-sided bounds at the gate's confidence, of what `estimate` is."""
    high: float | None = None
    samples: int
    needed_samples: int | None = None
    """With verdict Inconclusive: how many questions could tell, at this estimate and spread."""
    message: Annotated[str, StringConstraints(max_length=512)]


class JudgeUsage(Document):
    """What the judges cost."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """By the prices that are known, in their currency."""
    unreadable: int = 0
    """Answers that were no verdict, asked again."""
    disagreements: int = 0
    """Pairs on which the two orders, or two judges, disagreed."""


class EvalLeakage(Document):
    """Questions of a suite that are in the training data; see `qwen3_api.job.holdout`."""

    suite: str
    questions: int
    leaked: int
    """Those below, together."""
    by_text: int
    """The whole text is one of training."""
    by_ngrams: int
    """Most runs of its words are."""
    lines: list[int] = Field(max_length=20)
    """Of the first leaked ones, in the suite's data."""
    training_rows: int
    covered_rows: int
    """The first so many training rows were compared."""


class ModelUsage(Document):
    """What asking a model cost: the tokens of the answers that count, as its server returns them.

    A request that was repeated after an error counts once.
    """

    model: str
    """`target`, or the baseline's name."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class EvalReport(Document):
    """`report.json` of an evaluation, written once at its end."""

    contract: Literal[1] = CONTRACT
    outcome: Literal["Completed", "Failed"]
    failure: Failure | None = None
    verdict: ReportVerdict = "Completed"
    """Completed without gates; else Failed if one failed, Inconclusive if one is, Passed."""
    results: list[EvalResult] = Field(default=[], max_length=2048)
    comparisons: list[EvalComparison] = Field(default=[], max_length=2048)
    gates: list[EvalGateResult] = Field(default=[], max_length=16)
    usage: list[ModelUsage] = Field(default=[], max_length=16)
    """By model; a model whose server returned no tokens is left out."""
    judge: JudgeUsage | None = None
    holdout: list[EvalLeakage] = Field(default=[], max_length=16)
    """By suite; empty if there was nothing to compare with."""
    data_sha256: dict[str, Sha256] = {}
    """By suite, over the bytes of the data as read; `<suite>.examples`: of its worked examples."""
    target_model: str
    started: str
    finished: str
    versions: dict[str, Annotated[str, StringConstraints(max_length=64)]] = {}


class JudgeOpinion(Document):
    """What one judge said about one answer or pair."""

    judge: str
    baseline: str | None
    """None: about the answer by itself."""
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
    """Which of suite.samples answers, from 0."""
    category: str | None
    question: str
    expected: str
    answer: str | None
    """None when no metric needed one. Without the thinking."""
    reasoning: str | None = None
    """What was thought before; None when nothing was (an empty think block is nothing)."""
    scores: dict[Metric, float] = {}
    """By the metrics that score a generated answer by itself."""
    loss: float | None
    """Sum of negative log-likelihoods over the expected answer's tokens, in nats; sample 0 only."""
    answer_tokens: int | None
    """Tokens of the expected answer that `loss` is over."""
    opinions: list[JudgeOpinion] = []
    prompt_tokens: int | None = None
    """Of all requests behind this line, by `usage` of their replies; None when it wasn't told."""
    completion_tokens: int | None = None


class TrackedModel(Document):
    """An evaluation at Weave."""

    suite: str
    model: str
    """`target`, or the baseline's name."""
    url: Annotated[str, StringConstraints(max_length=1024)]


class TrackingReport(Document):
    """`tracking.json` of an evaluation: what became of EvalJob.tracking."""

    contract: Literal[1] = CONTRACT
    run_url: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """W&B run, online."""
    offline_run: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """URI of the folder of the W&B run, offline."""
    evaluations: list[TrackedModel] = Field(default=[], max_length=40)
    failures: list[Annotated[str, StringConstraints(max_length=512)]] = Field(
        default=[], max_length=8
    )
    """A sentence for each tracker that did not take everything."""
    finished: str
