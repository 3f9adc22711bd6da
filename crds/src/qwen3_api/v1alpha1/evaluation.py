"""`Qwen3Eval`: questions put to served models, scored; immutable once applied, like a Job."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from qwen3_api.v1alpha1.finetune import DatasetSource, FailureStatus, S3Spec
from qwen3_api.v1alpha1.meta import (
    Condition,
    DnsLabel,
    KubeModel,
    ListMap,
    ListSet,
    Quantity,
    Rule,
    ShortText,
    StatusModel,
    Timestamp,
    TransitionRule,
)

KIND = "Qwen3Eval"
PLURAL = "qwen3evals"


class TargetType(StrEnum):
    """What is asked."""

    FINE_TUNE = "FineTune"
    BASE_MODEL = "BaseModel"


class FineTuneTarget(KubeModel):
    """A fine-tune of this namespace."""

    name: DnsLabel
    """name of the Qwen3FineTune."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", max_length=8)] | None = None
    """revision to ask; default: the one that serves."""


class EvalTarget(KubeModel):
    """What is asked: a fine-tune that serves."""

    type: Literal["FineTune"] = "FineTune"
    """type of the target: FineTune."""
    fine_tune: FineTuneTarget
    """fineTune of this namespace whose adapter is asked."""


class Baseline(KubeModel):
    """What the target is compared with."""

    name: DnsLabel
    """name of the baseline in results."""
    type: TargetType
    """type: BaseModel is the base of the target's pool, FineTune another fine-tune."""
    fine_tune: FineTuneTarget | None = None
    """fineTune of this namespace; only with type FineTune."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.type == 'FineTune') == has(self.fineTune)",
            message="baselines[].fineTune goes with type FineTune, and only with it",
            check=lambda m: (m.type is TargetType.FINE_TUNE) == (m.fine_tune is not None),
            field_path=".fineTune",
        ),
    )


class SuiteType(StrEnum):
    """Kind of suite."""

    QUESTIONS = "Questions"


class Metric(StrEnum):
    """What is measured."""

    EXACT_MATCH = "ExactMatch"
    ASSISTANT_LOSS = "AssistantLoss"


class QuestionsSuite(KubeModel):
    """Rows of question and answer (JSONL: question, answer, optional category)."""

    data: DatasetSource
    """data: JSONL rows with question, answer and, if you like, category and system."""
    metrics: Annotated[list[Metric], Field(min_length=1, max_length=4), ListSet()] = [
        Metric.EXACT_MATCH,
        Metric.ASSISTANT_LOSS,
    ]
    """metrics: ExactMatch compares the trimmed answer, AssistantLoss is the mean negative
    log-likelihood per answer token in nats."""
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """limit to the first rows."""


class GenerationSpec(KubeModel):
    """How answers are sampled."""

    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    """maxTokens of an answer."""
    temperature: Annotated[str, Field(pattern=r"^[0-2](\.[0-9]+)?$", max_length=8)] = "0"
    """temperature as a string; 0 is greedy."""
    thinking: bool = False
    """thinking sets enable_thinking in the chat template."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 3407
    """seed of sampling."""


class Suite(KubeModel):
    """One set of questions."""

    name: DnsLabel
    """name of the suite in results."""
    type: SuiteType = SuiteType.QUESTIONS
    """type: Questions."""
    questions: QuestionsSuite
    """questions to ask; only with type Questions."""
    generation: GenerationSpec = GenerationSpec()
    """generation settings of the answers."""


class RunnerSpec(KubeModel):
    """The Job that asks. It needs no GPU."""

    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """concurrency: requests in flight."""
    cpu: Quantity | None = None
    """cpu request of the pod."""
    memory: Quantity | None = None
    """memory request and limit of the pod."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=604_800)] = 7200
    """activeDeadlineSeconds of the Job."""
    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """maxRetries of the Job."""


class EvalOutput(KubeModel):
    """Where the report goes."""

    s3: S3Spec = S3Spec()
    """s3 bucket of report and samples."""


def _frozen(field: str) -> TransitionRule:
    """The field can't change; the order of a list with names is no change (CEL agrees)."""

    def value(spec: Any) -> Any:
        found = getattr(spec, field)
        return {item.name: item for item in found} if isinstance(found, list) else found

    return TransitionRule(
        cel=f"self.{field} == oldSelf.{field}",
        message=f"{field} can't change once an evaluation exists; apply another evaluation",
        check=lambda new, old: value(new) == value(old),
        field_path=f".{field}",
    )


class EvalSpec(KubeModel):
    """What the user wants to know."""

    target: EvalTarget
    """target that is asked."""
    baselines: Annotated[list[Baseline], Field(max_length=4), ListMap("name")] = [
        Baseline(name="base", type=TargetType.BASE_MODEL)
    ]
    """baselines that answer the same questions."""
    suites: Annotated[list[Suite], Field(min_length=1, max_length=8), ListMap("name")]
    """suites of questions."""
    runner: RunnerSpec = RunnerSpec()
    """runner: the Job that asks."""
    output: EvalOutput = EvalOutput()
    """output of report and samples."""
    suspend: bool = False
    """suspend keeps the Job from starting."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = 86400
    """ttlSecondsAfterFinished removes the finished Job, never the report."""

    transition_rules: ClassVar[tuple[TransitionRule, ...]] = tuple(
        _frozen(field) for field in ("target", "baselines", "suites", "runner", "output")
    )


class ResultStatus(StatusModel):
    """One number with what it is compared to."""

    suite: ShortText
    """suite that was asked."""
    metric: ShortText
    """metric that was computed."""
    baseline_name: ShortText | None = None
    """baselineName that value is compared with."""
    value: ShortText
    """value of the target, a decimal string."""
    baseline: ShortText | None = None
    """baseline is the same metric of the baseline."""
    delta: ShortText | None = None
    """delta is value minus baseline."""
    samples: int
    """samples that were scored."""


class EvalProgress(StatusModel):
    """How far it is."""

    completed: int
    """completed requests."""
    total: int
    """total requests."""
    suite: ShortText | None = None
    """suite that is being asked."""
    eta_seconds: int | None = None
    """etaSeconds at the present speed."""


class ResolvedStatus(StatusModel):
    """What exactly was asked."""

    endpoint: Annotated[str, Field(max_length=253)] | None = None
    """endpoint that was asked."""
    target_model: ShortText | None = None
    """targetModel is the immutable id that was asked."""
    target_revision: ShortText | None = None
    """targetRevision of the fine-tune."""
    target_digest: ShortText | None = None
    """targetDigest of the adapter."""


class Verdict(StrEnum):
    """Outcome for people. Gates arrive with a later release: Completed says only that it ran."""

    COMPLETED = "Completed"
    ERROR = "Error"


class EvalStatus(StatusModel):
    """What is true."""

    observed_generation: int = 0
    """observedGeneration of the spec that this status speaks of."""
    conditions: Annotated[list[Condition], Field(max_length=16), ListMap("type")] = []
    """conditions, one of each type."""
    stage: ShortText | None = None
    """stage is the reason of Ready, for people; no contract."""
    verdict: Verdict | None = None
    """verdict of the evaluation."""
    job_name: ShortText | None = None
    """jobName of the evaluation Job."""
    progress: EvalProgress | None = None
    """progress of the requests."""
    results: Annotated[list[ResultStatus], Field(max_length=64)] = []
    """results by suite, metric and baseline."""
    score: ShortText | None = None
    """score is the first metric of the first suite."""
    delta: ShortText | None = None
    """delta of the score against the first baseline."""
    samples: int | None = None
    """samples behind the score."""
    resolved: ResolvedStatus | None = None
    """resolved target."""
    report_uri: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="reportURI"
    )
    """reportURI of the report in the bucket."""
    failure: FailureStatus | None = None
    """failure, if it didn't run to its end."""
    start_time: Timestamp | None = None
    """startTime of the Job."""
    completion_time: Timestamp | None = None
    """completionTime of the report."""


PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "Target", "type": "string", "jsonPath": ".spec.target.fineTune.name"},
    {"name": "Stage", "type": "string", "jsonPath": ".status.stage"},
    {"name": "Completed", "type": "integer", "jsonPath": ".status.progress.completed"},
    {"name": "Total", "type": "integer", "jsonPath": ".status.progress.total"},
    {"name": "Score", "type": "string", "jsonPath": ".status.score"},
    {"name": "Delta", "type": "string", "jsonPath": ".status.delta"},
    {"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Samples", "type": "integer", "jsonPath": ".status.samples", "priority": 1},
    {"name": "Report", "type": "string", "jsonPath": ".status.reportURI", "priority": 1},
)
