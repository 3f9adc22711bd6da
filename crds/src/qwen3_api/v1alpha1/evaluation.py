"""`Qwen3Eval`: questions put to served models, scored; immutable once applied, like a Job.

With a schedule it asks nothing itself: each run is a Qwen3Eval of its own.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from qwen3_api.metrics import PER_BASELINE, spell
from qwen3_api.v1alpha1.adapter_target import AdapterTarget
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.holdout import HoldoutSpec, HoldoutStatus
from qwen3_api.v1alpha1.meta import (
    Condition,
    DnsLabel,
    KubeModel,
    ListMap,
    Message,
    Rule,
    ShortText,
    StatusModel,
    Timestamp,
    TransitionRule,
)
from qwen3_api.v1alpha1.promotion import RevisionId
from qwen3_api.v1alpha1.schedule import EvalSchedule, ScheduleStatus
from qwen3_api.v1alpha1.sources import S3Spec
from qwen3_api.v1alpha1.suites import (
    GATES_MEASURED,
    EndpointTarget,
    Gates,
    RunnerSpec,
    Suites,
    by_name,
)
from qwen3_api.v1alpha1.tracking import TrackingSpec

KIND = "Qwen3Eval"
PLURAL = "qwen3evals"
TrackedUrl = Annotated[str, Field(max_length=1024)]


class TargetType(StrEnum):
    """What is asked."""

    FINE_TUNE = "FineTune"
    BASE_MODEL = "BaseModel"
    ENDPOINT = "Endpoint"


class FineTuneTarget(KubeModel):
    """A fine-tune of this namespace."""

    name: DnsLabel
    """name of the Qwen3FineTune."""
    revision: RevisionId | None = None
    """revision to ask; default: the one that serves."""


class EvalTarget(KubeModel):
    """What is asked."""

    type: Literal["FineTune", "Adapter", "Endpoint"] = "FineTune"
    """type of the target: FineTune, Adapter for one that needn't serve, or Endpoint for anything
    that speaks the OpenAI API."""
    fine_tune: FineTuneTarget | None = None
    """fineTune of this namespace whose adapter is asked; only with type FineTune."""
    adapter: AdapterTarget | None = None
    """adapter that is loaded and asked; only with type Adapter."""
    endpoint: EndpointTarget | None = None
    """endpoint that is asked; only with type Endpoint."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.type == 'Adapter') == has(self.adapter)",
            message="target.adapter goes with type Adapter, and only with it",
            check=lambda m: (m.type == "Adapter") == (m.adapter is not None),
            field_path=".adapter",
        ),
        Rule(
            cel="(self.type == 'FineTune') == has(self.fineTune)",
            message="target.fineTune goes with type FineTune, and only with it",
            check=lambda m: (m.type == "FineTune") == (m.fine_tune is not None),
            field_path=".fineTune",
        ),
        Rule(
            cel="(self.type == 'Endpoint') == has(self.endpoint)",
            message="target.endpoint goes with type Endpoint, and only with it",
            check=lambda m: (m.type == "Endpoint") == (m.endpoint is not None),
            field_path=".endpoint",
        ),
    )


class Baseline(KubeModel):
    """What the target is compared with."""

    name: DnsLabel
    """name of the baseline in results."""
    type: TargetType
    """type: BaseModel is the base of the target's pool, FineTune another fine-tune or revision,
    Endpoint anything that speaks the OpenAI API."""
    fine_tune: FineTuneTarget | None = None
    """fineTune of this namespace; only with type FineTune."""
    endpoint: EndpointTarget | None = None
    """endpoint that is asked; only with type Endpoint."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.name != 'target'",
            message="baselines[].name can't be target: results use that name",
            check=lambda m: m.name != "target",
            field_path=".name",
        ),
        Rule(
            cel="(self.type == 'FineTune') == has(self.fineTune)",
            message="baselines[].fineTune goes with type FineTune, and only with it",
            check=lambda m: (m.type is TargetType.FINE_TUNE) == (m.fine_tune is not None),
            field_path=".fineTune",
        ),
        Rule(
            cel="(self.type == 'Endpoint') == has(self.endpoint)",
            message="baselines[].endpoint goes with type Endpoint, and only with it",
            check=lambda m: (m.type is TargetType.ENDPOINT) == (m.endpoint is not None),
            field_path=".endpoint",
        ),
    )


class EvalOutput(KubeModel):
    """Where the report goes."""

    s3: S3Spec = S3Spec()
    """s3 bucket of report and samples."""


def _frozen(field: str) -> TransitionRule:
    """The field can't change; the order of a list with names is no change (CEL agrees)."""

    def value(spec: Any) -> Any:
        found = getattr(spec, field)
        return by_name(found) if isinstance(found, list) else found

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
    suites: Suites
    """suites of questions."""
    gates: Gates = []
    """gates that must all pass for the verdict Passed; none: the verdict is Completed."""
    holdout: HoldoutSpec | None = None
    """holdout: how the questions are kept apart from training."""
    runner: RunnerSpec = RunnerSpec()
    """runner: the Job that asks."""
    output: EvalOutput = EvalOutput()
    """output of report and samples."""
    schedule: EvalSchedule | None = None
    """schedule repeats the evaluation against what serves at that time; default: it runs once."""
    tracking: TrackingSpec = TrackingSpec()
    """tracking of the results in other systems, after the verdict."""
    suspend: bool = False
    """suspend keeps the Job from starting; with a schedule, further runs."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = 86400
    """ttlSecondsAfterFinished removes the finished Job, never the report."""

    rules: ClassVar[tuple[Rule, ...]] = (
        GATES_MEASURED,
        Rule(
            cel="self.gates.all(g, !has(g.baseline)"
            " || self.baselines.exists(b, b.name == g.baseline))",
            message="gates[].baseline is one of baselines",
            check=lambda m: all(
                g.baseline is None or g.baseline in by_name(m.baselines) for g in m.gates
            ),
            field_path=".gates",
        ),
        Rule(
            cel="self.target.type != 'Endpoint'"
            " || !self.baselines.exists(b, b.type == 'BaseModel')",
            message="a baseline of type BaseModel needs a target of type FineTune or Adapter; "
            "set baselines, [] for none",
            check=lambda m: (
                m.target.type != "Endpoint"
                or not any(b.type is TargetType.BASE_MODEL for b in m.baselines)
            ),
            field_path=".baselines",
        ),
        Rule(
            cel="self.baselines.size() > 0"
            " || !self.suites.exists(s, has(s.questions) && "
            + " || ".join(f"'{metric}' in s.questions.metrics" for metric in PER_BASELINE)
            + ")",
            message=f"the metric {spell(PER_BASELINE, 'or')} needs baselines to compare with",
            check=lambda m: bool(
                m.baselines or not any(x in PER_BASELINE for s in m.suites for x in s.metrics)
            ),
            field_path=".baselines",
        ),
        Rule(
            cel="!has(self.schedule) || !has(self.target.fineTune)"
            " || !has(self.target.fineTune.revision)",
            message="a schedule asks what serves at that time; leave target.fineTune.revision out",
            check=lambda m: (
                m.schedule is None
                or m.target.fine_tune is None
                or m.target.fine_tune.revision is None
            ),
            field_path=".target",
        ),
        Rule(
            cel="!has(self.holdout) || !has(self.holdout.maxLeakedPercent)"
            " || has(self.target.fineTune)"
            " || (has(self.target.adapter) && has(self.target.adapter.fineTune))",
            message="holdout.maxLeakedPercent needs a target that a fine-tune made: the training "
            "data of others are unknown",
            check=lambda m: (
                m.holdout is None
                or m.holdout.max_leaked_percent is None
                or m.target.fine_tune is not None
                or (m.target.adapter is not None and m.target.adapter.fine_tune is not None)
            ),
            field_path=".holdout",
        ),
        Rule(
            cel="!has(self.schedule) || self.target.type != 'Adapter'",
            message="a schedule asks what serves at that time; target.type is FineTune or Endpoint",
            check=lambda m: m.schedule is None or m.target.type != "Adapter",
            field_path=".target",
        ),
    )
    transition_rules: ClassVar[tuple[TransitionRule, ...]] = (
        *(
            _frozen(field)
            for field in ("target", "baselines", "suites", "gates", "runner", "output", "tracking")
        ),
        TransitionRule(
            cel="has(self.holdout) == has(oldSelf.holdout)"
            " && (!has(self.holdout) || self.holdout == oldSelf.holdout)",
            message="holdout can't change once an evaluation exists; apply another evaluation",
            check=lambda new, old: new.holdout == old.holdout,
            field_path=".holdout",
        ),
        TransitionRule(
            cel="has(self.schedule) == has(oldSelf.schedule)",
            message="schedule can be edited, but neither added nor taken away; "
            "apply another evaluation",
            check=lambda new, old: (new.schedule is None) == (old.schedule is None),
            field_path=".schedule",
        ),
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
    ci_low: ShortText | None = None
    """ciLow: lower end of the 95 % confidence interval of delta; of value without a baseline."""
    ci_high: ShortText | None = None
    """ciHigh: upper end of it."""
    samples: int
    """samples that were scored."""


class GateStatus(StatusModel):
    """How one gate was decided."""

    name: DnsLabel
    """name of the gate."""
    verdict: ShortText
    """verdict: Passed, Failed or Inconclusive."""
    estimate: ShortText | None = None
    """estimate of what the gate looks at: the value, or the improvement over the baseline."""
    ci_low: ShortText | None = None
    """ciLow: lower bound at the gate's confidence, one-sided."""
    ci_high: ShortText | None = None
    """ciHigh: upper bound at the gate's confidence, one-sided."""
    samples: int = 0
    """samples it was decided from."""
    needed_samples: int | None = None
    """neededSamples that could tell, when these could not."""
    message: Message = ""
    """message says it in words."""


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

    endpoint: Annotated[str, Field(max_length=512)] | None = None
    """endpoint that was asked."""
    target_model: Annotated[str, Field(max_length=160)] | None = None
    """targetModel is the immutable id that was asked."""
    target_revision: ShortText | None = None
    """targetRevision of the fine-tune."""
    target_digest: ShortText | None = None
    """targetDigest of the adapter."""


class TrackedEvaluation(StatusModel):
    """One evaluation at Weave."""

    suite: DnsLabel
    """suite that was asked."""
    model: DnsLabel
    """model that was asked: target, or the baseline's name."""
    url: TrackedUrl
    """url of the evaluation."""


class EvalTrackingStatus(StatusModel):
    """Where the results are, beside the bucket. Whether all are there: the condition Tracked."""

    run_url: TrackedUrl | None = Field(default=None, alias="runURL")
    """runURL of the W&B run."""
    offline_run_uri: TrackedUrl | None = Field(default=None, alias="offlineRunURI")
    """offlineRunURI of the folder that `wandb sync` takes."""
    evaluations: Annotated[list[TrackedEvaluation], Field(max_length=40)] = []
    """evaluations at Weave."""


class Verdict(StrEnum):
    """Outcome for people and for promotion."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
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
    gates: Annotated[list[GateStatus], Field(max_length=16), ListMap("name")] = []
    """gates, as they were decided."""
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
    """reportURI of the report for people in the bucket (HTML; report.json lies beside it)."""
    tracking: EvalTrackingStatus | None = None
    """tracking: addresses at the trackers of spec.tracking."""
    failure: FailureStatus | None = None
    """failure, if it didn't run to its end."""
    start_time: Timestamp | None = None
    """startTime of the Job."""
    completion_time: Timestamp | None = None
    """completionTime of the report."""
    holdout: Annotated[list[HoldoutStatus], Field(max_length=16), ListMap("suite")] = []
    """holdout: the suites' questions against the training data of the target."""
    schedule: ScheduleStatus | None = None
    """schedule of a repeated evaluation; verdict, results and report are of its newest ended
    run."""


PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "Target", "type": "string", "jsonPath": ".spec.target.fineTune.name"},
    {"name": "Stage", "type": "string", "jsonPath": ".status.stage"},
    {"name": "Completed", "type": "integer", "jsonPath": ".status.progress.completed"},
    {"name": "Total", "type": "integer", "jsonPath": ".status.progress.total"},
    {"name": "Score", "type": "string", "jsonPath": ".status.score"},
    {"name": "Delta", "type": "string", "jsonPath": ".status.delta"},
    {"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Schedule", "type": "string", "jsonPath": ".spec.schedule.cron", "priority": 1},
    {"name": "Next", "type": "string", "jsonPath": ".status.schedule.nextTime", "priority": 1},
    {"name": "Samples", "type": "integer", "jsonPath": ".status.samples", "priority": 1},
    {"name": "Report", "type": "string", "jsonPath": ".status.reportURI", "priority": 1},
)
