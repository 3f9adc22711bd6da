"""`Qwen3Eval`: an evaluation of served models; immutable once applied, like a Job.

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
    """Target of an evaluation."""

    FINE_TUNE = "FineTune"
    BASE_MODEL = "BaseModel"
    ENDPOINT = "Endpoint"


class FineTuneTarget(KubeModel):
    """A fine-tune of this namespace."""

    name: DnsLabel
    """name of the Qwen3FineTune."""
    revision: RevisionId | None = None
    """revision to evaluate; default: the one in service."""


class EvalTarget(KubeModel):
    """Target of an evaluation."""

    type: Literal["FineTune", "Adapter", "Endpoint"] = "FineTune"
    """type of the target: FineTune, Adapter for an adapter that isn't necessarily served, or
    Endpoint for any OpenAI-compatible API."""
    fine_tune: FineTuneTarget | None = None
    """fineTune of this namespace whose adapter is evaluated; only with type FineTune."""
    adapter: AdapterTarget | None = None
    """adapter that is loaded and evaluated; only with type Adapter."""
    endpoint: EndpointTarget | None = None
    """endpoint to evaluate; only with type Endpoint."""

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
    """A model that the target is compared with."""

    name: DnsLabel
    """name of the baseline in results."""
    type: TargetType
    """type: BaseModel for the base model of the target's pool, FineTune for another fine-tune or
    revision, Endpoint for any OpenAI-compatible API."""
    fine_tune: FineTuneTarget | None = None
    """fineTune of this namespace; only with type FineTune."""
    endpoint: EndpointTarget | None = None
    """endpoint to evaluate; only with type Endpoint."""

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
    """Location of the report."""

    s3: S3Spec = S3Spec()
    """s3 bucket for report and samples."""


def _frozen(field: str) -> TransitionRule:
    """A rule that the field can't change. Reordering a list with names isn't a change (as in
    CEL)."""

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
    """Desired evaluation."""

    target: EvalTarget
    """target to evaluate."""
    baselines: Annotated[list[Baseline], Field(max_length=4), ListMap("name")] = [
        Baseline(name="base", type=TargetType.BASE_MODEL)
    ]
    """baselines that are evaluated on the same questions."""
    suites: Suites
    """suites of questions."""
    gates: Gates = []
    """gates that must all pass for the verdict Passed; without gates the verdict is Completed."""
    holdout: HoldoutSpec | None = None
    """holdout: how the questions are kept separate from the training data."""
    runner: RunnerSpec = RunnerSpec()
    """runner: the Job that runs the evaluation."""
    output: EvalOutput = EvalOutput()
    """output of report and samples."""
    schedule: EvalSchedule | None = None
    """schedule repeats the evaluation against the revision in service at that time; default: it
    runs once."""
    tracking: TrackingSpec = TrackingSpec()
    """tracking of the results in other systems, after the verdict."""
    suspend: bool = False
    """suspend prevents the Job from starting; with a schedule, it prevents further runs."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = 86400
    """ttlSecondsAfterFinished is how long the finished Job is kept; the report is never deleted."""

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
            message="a schedule evaluates the revision in service; omit target.fineTune.revision",
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
            message="holdout.maxLeakedPercent needs a target from a fine-tune: the training data "
            "of other models is unknown",
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
            message="a schedule evaluates a model in service; target.type must be FineTune or "
            "Endpoint",
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
            message="schedule can be edited, but neither added nor removed; "
            "apply another evaluation",
            check=lambda new, old: (new.schedule is None) == (old.schedule is None),
            field_path=".schedule",
        ),
    )


class ResultStatus(StatusModel):
    """One metric, with its comparison to a baseline."""

    suite: ShortText
    """suite of the result."""
    metric: ShortText
    """metric that was computed."""
    baseline_name: ShortText | None = None
    """baselineName of the baseline that value is compared with."""
    value: ShortText
    """value of the target, a decimal string."""
    baseline: ShortText | None = None
    """baseline is the same metric of the baseline."""
    delta: ShortText | None = None
    """delta is value minus baseline."""
    ci_low: ShortText | None = None
    """ciLow: lower end of the 95 % confidence interval of delta; without a baseline, of value."""
    ci_high: ShortText | None = None
    """ciHigh: upper end of it."""
    samples: int
    """samples that were scored."""


class GateStatus(StatusModel):
    """Decision of one gate."""

    name: DnsLabel
    """name of the gate."""
    verdict: ShortText
    """verdict: Passed, Failed or Inconclusive."""
    estimate: ShortText | None = None
    """estimate of the gate's quantity: the value, or the improvement over the baseline."""
    ci_low: ShortText | None = None
    """ciLow: lower bound at the gate's confidence, one-sided."""
    ci_high: ShortText | None = None
    """ciHigh: upper bound at the gate's confidence, one-sided."""
    samples: int = 0
    """samples that the decision is based on."""
    needed_samples: int | None = None
    """neededSamples for a conclusive decision, when the verdict is Inconclusive."""
    message: Message = ""
    """message explains the decision."""


class EvalProgress(StatusModel):
    """Progress of an evaluation."""

    completed: int
    """completed requests."""
    total: int
    """total requests."""
    suite: ShortText | None = None
    """suite in progress."""
    eta_seconds: int | None = None
    """etaSeconds at the current speed."""


class ResolvedStatus(StatusModel):
    """The resolved target."""

    endpoint: Annotated[str, Field(max_length=512)] | None = None
    """endpoint that was evaluated."""
    target_model: Annotated[str, Field(max_length=160)] | None = None
    """targetModel is the immutable id that was evaluated."""
    target_revision: ShortText | None = None
    """targetRevision of the fine-tune."""
    target_digest: ShortText | None = None
    """targetDigest of the adapter."""


class TrackedEvaluation(StatusModel):
    """One evaluation in Weave."""

    suite: DnsLabel
    """suite of the result."""
    model: DnsLabel
    """model that was evaluated: target, or the baseline's name."""
    url: TrackedUrl
    """url of the evaluation."""


class EvalTrackingStatus(StatusModel):
    """Locations of the results in trackers. The condition Tracked shows whether they are
    complete."""

    run_url: TrackedUrl | None = Field(default=None, alias="runURL")
    """runURL of the W&B run."""
    offline_run_uri: TrackedUrl | None = Field(default=None, alias="offlineRunURI")
    """offlineRunURI of the folder for `wandb sync`."""
    evaluations: Annotated[list[TrackedEvaluation], Field(max_length=40)] = []
    """evaluations in Weave."""


class Verdict(StrEnum):
    """Outcome of an evaluation."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    COMPLETED = "Completed"
    ERROR = "Error"


class EvalStatus(StatusModel):
    """Observed state of an evaluation."""

    observed_generation: int = 0
    """observedGeneration of the spec that this status describes."""
    conditions: Annotated[list[Condition], Field(max_length=16), ListMap("type")] = []
    """conditions, one of each type."""
    stage: ShortText | None = None
    """stage is the reason of Ready, for display only."""
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
    """reportURI of the HTML report in the bucket (report.json is in the same folder)."""
    tracking: EvalTrackingStatus | None = None
    """tracking: URLs in the trackers of spec.tracking."""
    failure: FailureStatus | None = None
    """failure, if it didn't complete."""
    start_time: Timestamp | None = None
    """startTime of the Job."""
    completion_time: Timestamp | None = None
    """completionTime of the report."""
    holdout: Annotated[list[HoldoutStatus], Field(max_length=16), ListMap("suite")] = []
    """holdout: comparison of the suites' questions with the target's training data."""
    schedule: ScheduleStatus | None = None
    """schedule of a repeated evaluation; verdict, results and report are those of its newest
    finished run."""


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
