"""`Qwen3FineTune`: one adapter of a Qwen3 base model, from a dataset to a served public name."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from qwen3_api.methods import METHODS, Method, MethodSpec, RowKind
from qwen3_api.v1alpha1.export import ExportSpec
from qwen3_api.v1alpha1.meta import (
    KubeModel,
    Rule,
    TransitionRule,
)
from qwen3_api.v1alpha1.promotion import (
    EvaluationSpec,
    PromotionSpec,
)
from qwen3_api.v1alpha1.resources import ArtifactsSpec, FailurePolicySpec, LimitsSpec, ResourcesSpec
from qwen3_api.v1alpha1.serving_spec import ServingMode, ServingSpec
from qwen3_api.v1alpha1.tracking import TrackingSpec
from qwen3_api.v1alpha1.training import (
    AdapterSpec,
    BaseModelSpec,
    CheckpointSpec,
    DatasetFormat,
    DatasetSpec,
    HyperparametersSpec,
)

KIND = "Qwen3FineTune"
PLURAL = "qwen3finetunes"


class Mode(StrEnum):
    """Extent of a run."""

    RUN = "Run"
    PLAN = "Plan"


def _gets_its_rows(method: Method) -> Callable[["FineTuneSpec"], bool]:
    """Another method, or rows of the kind that it takes. Formats but Preference, Auto too, are
    conversations."""

    def check(spec: "FineTuneSpec") -> bool:
        pairs = spec.dataset.format is DatasetFormat.PREFERENCE
        return spec.method.type != method.name or pairs == (method.rows is RowKind.PREFERENCE)

    return check


def _row_rules() -> Iterator[Rule]:
    """Each method gets rows of the kind that it learns from."""
    by_kind = {
        kind: [method for method in METHODS.values() if method.rows is kind] for kind in RowKind
    }
    preferring = " or ".join(method.name for method in by_kind[RowKind.PREFERENCE])
    for method in by_kind[RowKind.PREFERENCE]:
        yield Rule(
            cel=f"self.method.type != '{method.name}' || self.dataset.format == 'Preference'",
            message=f"method {method.name} needs dataset.format Preference (rows of prompt, "
            "chosen, rejected)",
            check=_gets_its_rows(method),
            field_path=".dataset.format",
        )
    for method in by_kind[RowKind.CONVERSATION]:
        yield Rule(
            cel=f"self.method.type != '{method.name}' || self.dataset.format != 'Preference'",
            message=f"dataset.format Preference needs method {preferring}",
            check=_gets_its_rows(method),
            field_path=".dataset.format",
        )


class FineTuneSpec(KubeModel):
    """Desired state of a fine-tune."""

    mode: Mode = Mode.RUN
    """mode: Run, or Plan for the preflight and the estimate only; Plan requests no GPU."""
    suspend: bool = False
    """suspend stops the run at a checkpoint; false resumes from there."""
    base_model: BaseModelSpec
    """baseModel to fine-tune."""
    dataset: DatasetSpec
    """dataset to train on."""
    method: MethodSpec = MethodSpec()
    """method of training."""
    adapter: AdapterSpec = AdapterSpec()
    """adapter to train."""
    hyperparameters: HyperparametersSpec = HyperparametersSpec()
    """hyperparameters of training."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """checkpoint policy."""
    resources: ResourcesSpec = ResourcesSpec()
    """resources of the training pod."""
    limits: LimitsSpec = LimitsSpec()
    """limits of the run."""
    failure_policy: FailurePolicySpec = FailurePolicySpec()
    """failurePolicy of the training Job."""
    tracking: TrackingSpec = TrackingSpec()
    """tracking of runs and their evaluations in other systems."""
    artifacts: ArtifactsSpec = ArtifactsSpec()
    """artifacts: where results are stored."""
    serving: ServingSpec = ServingSpec()
    """serving of the result."""
    export: ExportSpec | None = None
    """export of every result to other formats; default: none."""
    evaluation: EvaluationSpec | None = None
    """evaluation of a new revision before its promotion; default: none, it is promoted once it is
    loaded."""
    promotion: PromotionSpec = PromotionSpec()
    """promotion of a revision to the public name."""
    revision_history_limit: Annotated[int, Field(ge=1, le=20)] = 5
    """revisionHistoryLimit is the number of revisions kept in status."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = 86400
    """ttlSecondsAfterFinished is how long the finished Job and its pods are kept; results are never
    deleted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *_row_rules(),
        Rule(
            cel="!has(self.hyperparameters.earlyStopping) || has(self.dataset.validation)",
            message="hyperparameters.earlyStopping needs dataset.validation",
            check=lambda m: (
                m.hyperparameters.early_stopping is None or m.dataset.validation is not None
            ),
            field_path=".hyperparameters.earlyStopping",
        ),
        Rule(
            cel="self.resources.gpus < 2 || self.hyperparameters.effectiveBatchSize"
            " % (self.resources.gpus * (self.hyperparameters.microBatchSize > 0"
            " ? self.hyperparameters.microBatchSize : 1)) == 0",
            message="hyperparameters.effectiveBatchSize must be a multiple of resources.gpus times "
            "microBatchSize",
            check=lambda m: (
                m.resources.gpus < 2
                or m.hyperparameters.effective_batch_size
                % (m.resources.gpus * (m.hyperparameters.micro_batch_size or 1))
                == 0
            ),
            field_path=".hyperparameters.effectiveBatchSize",
        ),
        Rule(
            cel="!has(self.evaluation) || self.serving.mode == 'SharedBase'",
            message="evaluation needs serving.mode SharedBase: a candidate is evaluated on the "
            "pool that would serve it",
            check=lambda m: m.evaluation is None or m.serving.mode is ServingMode.SHARED_BASE,
            field_path=".evaluation",
        ),
    )
    transition_rules: ClassVar[tuple[TransitionRule, ...]] = (
        TransitionRule(
            # Spelt out: CEL's optional types cost more than the API server allows.
            cel="self.baseModel.name == oldSelf.baseModel.name"
            " && has(self.baseModel.revision) == has(oldSelf.baseModel.revision)"
            " && (!has(self.baseModel.revision)"
            " || self.baseModel.revision == oldSelf.baseModel.revision)"
            " && has(self.baseModel.source) == has(oldSelf.baseModel.source)"
            " && (!has(self.baseModel.source)"
            " || self.baseModel.source == oldSelf.baseModel.source)",
            message="baseModel can't change: another base model needs another serving pool, and "
            "the current adapter would go out of service; apply another fine-tune",
            check=lambda new, old: (
                (new.base_model.name, new.base_model.revision, new.base_model.source)
                == (old.base_model.name, old.base_model.revision, old.base_model.source)
            ),
            field_path=".baseModel",
        ),
        TransitionRule(
            cel="self.artifacts.s3 == oldSelf.artifacts.s3",
            message="artifacts.s3 can't change: results would be split between two buckets; "
            "delete the object and apply it again",
            check=lambda new, old: new.artifacts.s3 == old.artifacts.s3,
            field_path=".artifacts.s3",
        ),
    )


def alias_of(namespace: str, name: str, spec: FineTuneSpec) -> str:
    """The public model name: spec.serving.modelName, else `<namespace>.<name>`."""
    return spec.serving.model_name or f"{namespace}.{name}"


PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "Model", "type": "string", "jsonPath": ".spec.baseModel.name"},
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type=='Ready')].status",
    },
    {"name": "Stage", "type": "string", "jsonPath": ".status.stage"},
    {"name": "Progress", "type": "string", "jsonPath": ".status.training.progress"},
    {"name": "Loss", "type": "string", "jsonPath": ".status.training.loss"},
    # Wide ones stand beside what they go with: kubectl keeps this order.
    {
        "name": "Eval loss",
        "type": "string",
        "jsonPath": ".status.training.evalLoss",
        "priority": 1,
    },
    {"name": "ETA", "type": "string", "jsonPath": ".status.training.eta"},
    {
        "name": "Tokens/s",
        "type": "string",
        "jsonPath": ".status.training.tokensPerSecond",
        "priority": 1,
    },
    {
        "name": "GPU MiB",
        "type": "integer",
        "jsonPath": ".status.training.gpuMemoryMiB",
        "priority": 1,
    },
    {"name": "Verdict", "type": "string", "jsonPath": ".status.evaluation.verdict"},
    {"name": "Serving", "type": "string", "jsonPath": ".status.serving.revision"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Method", "type": "string", "jsonPath": ".spec.method.type", "priority": 1},
    {"name": "Adapter", "type": "string", "jsonPath": ".spec.adapter.type", "priority": 1},
    {"name": "Queue", "type": "string", "jsonPath": ".spec.resources.queueName", "priority": 1},
    {
        "name": "Tracking",
        "type": "string",
        "jsonPath": ".status.training.trackingURL",
        "priority": 1,
    },
    {"name": "Digest", "type": "string", "jsonPath": ".status.serving.digest", "priority": 1},
    {"name": "Endpoint", "type": "string", "jsonPath": ".status.serving.endpoint", "priority": 1},
    {
        "name": "Message",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type=='Ready')].message",
        "priority": 1,
    },
)
