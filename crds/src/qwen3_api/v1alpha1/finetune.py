"""`Qwen3FineTune`: one adapter of a Qwen3 base model, from a dataset to a served public name."""

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from qwen3_api.v1alpha1.export import ExportSpec, ExportStatus
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.meta import (
    Condition,
    DecimalString,
    DnsLabel,
    DnsSubdomain,
    FractionString,
    KubeModel,
    ListMap,
    ListSet,
    LocalObjectReference,
    Message,
    ModelAlias,
    Quantity,
    Rule,
    ShortText,
    StatusModel,
    Timestamp,
    TransitionRule,
)
from qwen3_api.v1alpha1.promotion import (
    EvaluationSpec,
    EvaluationStatus,
    HistoryEntry,
    PromotionSpec,
)
from qwen3_api.v1alpha1.sources import DatasetSource, S3Object, S3Spec
from qwen3_api.v1alpha1.tracking import TrackingSpec

KIND = "Qwen3FineTune"
PLURAL = "qwen3finetunes"


# --- base model -----------------------------------------------------------------------------------


class BaseModelSourceType(StrEnum):
    """Where the weights come from."""

    HUGGING_FACE = "HuggingFace"
    S3 = "S3"


class BaseModelSource(KubeModel):
    """Where the weights of the base model come from."""

    type: BaseModelSourceType
    """type of the source: HuggingFace (the hub, by spec.baseModel.name) or S3."""
    s3: S3Object | None = None
    """s3 prefix that holds config.json, tokenizer and *.safetensors; only with type S3."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.type == 'S3') == has(self.s3)",
            message="baseModel.source.s3 goes with type S3, and only with it",
            check=lambda m: (m.type is BaseModelSourceType.S3) == (m.s3 is not None),
            field_path=".s3",
        ),
    )


class BaseModelSpec(KubeModel):
    """The model to start from."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=96),
    ]
    """name of the base model as its users know it, for example Qwen/Qwen3-8B; also its name on the
    serving pool."""
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-/]+$", max_length=64)] | None = None
    """revision (commit, tag or branch) of the model on the hub; default: the catalogue's."""
    source: BaseModelSource | None = None
    """source of the weights; default: the platform's catalogue decides."""
    token_secret_ref: LocalObjectReference | None = None
    """tokenSecretRef names a Secret with key HF_TOKEN, for gated models."""


# --- dataset --------------------------------------------------------------------------------------


class DatasetFormat(StrEnum):
    """Shape of a row."""

    AUTO = "Auto"
    MESSAGES = "Messages"
    SHARE_GPT = "ShareGPT"
    ALPACA = "Alpaca"
    PROMPT_COMPLETION = "PromptCompletion"
    PREFERENCE = "Preference"


class DatasetChecks(KubeModel):
    """What the preflight lets pass."""

    max_truncated_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """maxTruncatedPercent of the rows may be longer than maxSequenceLength."""
    max_dropped_percent: Annotated[int, Field(ge=0, le=100)] = 5
    """maxDroppedPercent of the rows may have nothing to learn left after being cut."""
    fail_on_leakage: bool = True
    """failOnLeakage refuses validation rows that are training rows too."""


class Thinking(StrEnum):
    """What becomes of the think block of an answer (Qwen3's template always writes one)."""

    AS_IN_DATA = "AsInData"
    ENABLED = "Enabled"
    DISABLED = "Disabled"


class ChatTemplateSpec(KubeModel):
    """How rows become text."""

    thinking: Thinking = Thinking.AS_IN_DATA
    """thinking: AsInData learns what the rows hold, an empty think block included; Enabled refuses
    rows whose last answer has no reasoning; Disabled learns the answer only, for requests with
    enable_thinking false."""


class DatasetSpec(KubeModel):
    """What to learn from."""

    train: DatasetSource
    """train rows."""
    validation: DatasetSource | None = None
    """validation rows, for the validation loss during training."""
    format: DatasetFormat = DatasetFormat.AUTO
    """format of a row; Auto looks at the keys of the first row."""
    max_sequence_length: Annotated[int, Field(ge=32, le=131072)] = 2048
    """maxSequenceLength in tokens; longer rows are cut and counted."""
    chat_template: ChatTemplateSpec = ChatTemplateSpec()
    """chatTemplate: how rows become text."""
    checks: DatasetChecks = DatasetChecks()
    """checks of the preflight."""


# --- method, adapter, hyperparameters -------------------------------------------------------------


class MethodType(StrEnum):
    """Training method."""

    SFT = "SFT"
    DPO = "DPO"


class SFTSpec(KubeModel):
    """Supervised fine-tuning."""

    assistant_only_loss: bool = True
    """assistantOnlyLoss computes the loss on the assistant's turns only."""


class DPOLoss(StrEnum):
    """Loss of direct preference optimisation (TRL loss_type)."""

    SIGMOID = "Sigmoid"
    IPO = "IPO"
    HINGE = "Hinge"


class DPOSpec(KubeModel):
    """Direct preference optimisation."""

    beta: DecimalString = "0.1"
    """beta as a string: how strongly the model is held to its start."""
    loss_type: DPOLoss = DPOLoss.SIGMOID
    """lossType: Sigmoid (the DPO paper's), IPO or Hinge."""


class MethodSpec(KubeModel):
    """How to learn."""

    type: MethodType = MethodType.SFT
    """type of training: SFT on answers, or DPO on pairs of a chosen and a rejected answer."""
    sft: SFTSpec | None = None
    """sft settings; only with type SFT."""
    dpo: DPOSpec | None = None
    """dpo settings; only with type DPO."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.sft) || self.type == 'SFT'",
            message="method.sft goes with type SFT only",
            check=lambda m: m.sft is None or m.type is MethodType.SFT,
            field_path=".sft",
        ),
        Rule(
            cel="!has(self.dpo) || self.type == 'DPO'",
            message="method.dpo goes with type DPO only",
            check=lambda m: m.dpo is None or m.type is MethodType.DPO,
            field_path=".dpo",
        ),
    )


class AdapterType(StrEnum):
    """Precision of the frozen base while the adapter is trained."""

    LORA = "LoRA"
    QLORA = "QLoRA"


TargetModule = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALL_LINEAR: tuple[TargetModule, ...] = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)


class AdapterFrom(KubeModel):
    """The adapter to go on from."""

    fine_tune_ref: LocalObjectReference
    """fineTuneRef names a Qwen3FineTune of this namespace with the same base model, rank and
    target modules."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", max_length=8)]
    """revision of it, as in its status.revisions."""


class AdapterSpec(KubeModel):
    """The adapter (PEFT LoraConfig)."""

    type: AdapterType = AdapterType.LORA
    """type: LoRA keeps the base in 16 bits, QLoRA in 4 bits (nf4)."""
    rank: Literal[8, 16, 32, 64, 128] = 16
    """rank of the update (PEFT r). The serving pool caps it."""
    alpha: Annotated[int, Field(ge=1, le=1024)] | None = None
    """alpha (PEFT lora_alpha); default: the rank."""
    dropout: FractionString = "0"
    """dropout (PEFT lora_dropout), a fraction as a string."""
    target_modules: Annotated[list[TargetModule], Field(min_length=1, max_length=7), ListSet()] = (
        list(ALL_LINEAR)
    )
    """targetModules are the projections that get an update; default: all seven."""
    use_rslora: bool = Field(default=False, alias="useRSLoRA")
    """useRSLoRA scales by alpha / sqrt(rank) instead of alpha / rank."""
    start: AdapterFrom | None = Field(default=None, alias="from")
    """from: the adapter to go on from (SFT, then DPO); default: a fresh one."""


class Scheduler(StrEnum):
    """Learning-rate schedule (transformers lr_scheduler_type)."""

    LINEAR = "Linear"
    COSINE = "Cosine"
    CONSTANT = "Constant"


class EarlyStoppingSpec(KubeModel):
    """When to end before the last step, by the validation loss."""

    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """patience: evaluations (every checkpoint.everySteps) without a better loss."""
    min_delta: DecimalString = "0"
    """minDelta that counts as better."""


class HyperparametersSpec(KubeModel):
    """How long and how fast."""

    epochs: Annotated[int, Field(ge=1, le=100)] | None = None
    """epochs over the training rows; at most one of epochs and maxSteps, default 3 epochs."""
    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """maxSteps of the optimiser; at most one of epochs and maxSteps."""
    learning_rate: DecimalString = "2e-4"
    """learningRate as a string, for example "2e-4"."""
    scheduler: Scheduler = Scheduler.LINEAR
    """scheduler of the learning rate."""
    warmup_ratio: FractionString = "0.03"
    """warmupRatio is the part of all steps spent warming up."""
    weight_decay: DecimalString = "0.01"
    """weightDecay of AdamW."""
    effective_batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """effectiveBatchSize is the number of rows per optimiser step."""
    micro_batch_size: Annotated[int, Field(ge=0, le=512)] = 0
    """microBatchSize is the number of rows in a GPU's memory at once; 0 is planned for the card.
    effectiveBatchSize is a multiple of it times the GPUs."""
    gradient_checkpointing: bool | None = None
    """gradientCheckpointing trades speed for memory; default: planned for the card."""
    early_stopping: EarlyStoppingSpec | None = None
    """earlyStopping by the loss on dataset.validation."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 3407
    """seed of initialisation, order and dropout."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(has(self.epochs) && has(self.maxSteps))",
            message="set either hyperparameters.epochs or hyperparameters.maxSteps, not both",
            check=lambda m: m.epochs is None or m.max_steps is None,
            field_path=".maxSteps",
        ),
        Rule(
            cel="self.microBatchSize == 0 || self.effectiveBatchSize % self.microBatchSize == 0",
            message="effectiveBatchSize must be a multiple of microBatchSize",
            check=lambda m: (
                m.micro_batch_size == 0 or m.effective_batch_size % m.micro_batch_size == 0
            ),
            field_path=".microBatchSize",
        ),
    )


class ResumePolicy(StrEnum):
    """What an attempt does with the checkpoints of earlier ones."""

    AUTO = "Auto"
    NEVER = "Never"


class CheckpointSpec(KubeModel):
    """Checkpoints in object storage."""

    every_steps: Annotated[int, Field(ge=1, le=100_000)] = 50
    """everySteps between two checkpoints; one more is written when the pod is told to stop."""
    keep_last: Annotated[int, Field(ge=1, le=20)] = 2
    """keepLast checkpoints stay in the bucket."""
    resume: ResumePolicy = ResumePolicy.AUTO
    """resume: Auto goes on from the newest checkpoint that verifies, Never starts over."""
    load_best: bool = True
    """loadBest: with validation rows, the checkpoint with the lowest validation loss becomes the
    result; false: the last step does."""


# --- where it runs, where it is kept, how it is served --------------------------------------------


LABEL_KEY = (
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
LabelValue = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]


class Toleration(KubeModel):
    """A pod toleration (core/v1). The rules are core/v1's too: else no pod could be made."""

    key: Annotated[str, Field(pattern=LABEL_KEY, max_length=317)] | None = None
    """key of the taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """operator: Exists or Equal."""
    value: LabelValue | None = None
    """value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """effect of the taint; none matches all."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """tolerationSeconds that a NoExecute taint is tolerated."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.operator == 'Exists' || has(self.key)",
            message="key is needed unless the operator is Exists",
            check=lambda m: m.operator == "Exists" or m.key is not None,
            field_path=".key",
        ),
        Rule(
            cel="self.operator == 'Equal' || !has(self.value)",
            message="value goes with operator Equal only",
            check=lambda m: m.operator == "Equal" or m.value is None,
            field_path=".value",
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="tolerationSeconds goes with effect NoExecute only",
            check=lambda m: m.toleration_seconds is None or m.effect == "NoExecute",
            field_path=".tolerationSeconds",
        ),
    )


class ResourcesSpec(KubeModel):
    """What the training pod asks for."""

    gpus: Annotated[int, Field(ge=0, le=8)] = 1
    """gpus (nvidia.com/gpu) of the training pod; more than one train side by side (DDP), 0 trains
    on the CPU."""
    gpu_product: LabelValue | None = None
    """gpuProduct is the node label nvidia.com/gpu.product to run on, for example
    NVIDIA-H100-80GB-HBM3; its memory is what the run is planned for. Default: the platform's."""
    cpu: Quantity | None = None
    """cpu request; default: the platform's."""
    memory: Quantity | None = None
    """memory request and limit; default: the platform's."""
    node_selector: Annotated[
        dict[str, LabelValue],
        Field(max_length=16, json_schema_extra={"x-kubernetes-map-type": "atomic"}),
    ] = {}
    """nodeSelector of the training pod, for example a GPU product."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = []
    """tolerations of the training pod."""
    priority_class_name: DnsSubdomain | None = None
    """priorityClassName of the training pod."""
    queue_name: DnsLabel | None = None
    """queueName is a Kueue LocalQueue; the Job then starts when Kueue admits it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.nodeSelector.all(key, size(key) <= 317 && key.matches('{LABEL_KEY}'))",
            message="nodeSelector keys must be label names, like nvidia.com/gpu.product",
            check=lambda m: all(re.fullmatch(LABEL_KEY, key) for key in m.node_selector),
            field_path=".nodeSelector",
        ),
    )


class LimitsSpec(KubeModel):
    """What a run may use up."""

    max_gpu_seconds: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, alias="maxGPUSeconds"
    )
    """maxGPUSeconds of all attempts together, GPUs times wall-clock seconds of training pods."""


class OnOutOfMemory(StrEnum):
    """What an out-of-memory error of the GPU leads to."""

    ADAPT = "Adapt"
    FAIL = "Fail"


class FailurePolicySpec(KubeModel):
    """What failures cost."""

    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """maxRetries after failures of the system; disruptions and suspensions are free, errors of the
    user are never retried."""
    on_out_of_memory: OnOutOfMemory = OnOutOfMemory.ADAPT
    """onOutOfMemory: Adapt halves the micro-batch, then checkpoints gradients, then (if allowed)
    keeps the base in 4 bits, with the effective batch unchanged; Fail ends the run."""
    allow_quantization: bool = False
    """allowQuantization lets Adapt turn a LoRA run into a QLoRA run as its last step."""
    stall_timeout_seconds: Annotated[int, Field(ge=30, le=86_400)] = 1800
    """stallTimeoutSeconds without a step end an attempt; the next goes on from its checkpoint."""


class DeletionPolicy(StrEnum):
    """What happens to artifacts when the object is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class ArtifactsSpec(KubeModel):
    """Where results are kept."""

    s3: S3Spec = S3Spec()
    """s3 bucket of the results."""
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """deletionPolicy: Retain leaves the artifacts when the object is deleted, Delete removes
    them."""


class ServingMode(StrEnum):
    """How the adapter is served."""

    NONE = "None"
    SHARED_BASE = "SharedBase"
    MERGED = "Merged"


class CanaryStep(KubeModel):
    """A share of the requests for a while."""

    weight_percent: Annotated[int, Field(ge=1, le=99)]
    """weightPercent of the requests that the candidate answers."""
    hold_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """holdSeconds before the next step."""


class AutoRollbackSpec(KubeModel):
    """When a canary is taken back."""

    max_error_rate_percent: Annotated[int, Field(ge=0, le=100)] = 5
    """maxErrorRatePercent of the candidate's requests that may fail (5xx)."""
    max_latency_increase_percent: Annotated[int, Field(ge=1, le=10_000)] = 100
    """maxLatencyIncreasePercent of the mean time to the first byte, against the incumbent's in the
    same time."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """minRequests of the candidate before a step is judged or left."""


class RolloutSpec(KubeModel):
    """How a candidate takes over from the incumbent."""

    canary_steps: Annotated[list[CanaryStep], Field(max_length=10)] = []
    """canarySteps in order; none: all requests at once. Left out while nothing serves, and by
    promotion.rollbackTo and promotion.force."""
    auto_rollback: AutoRollbackSpec = AutoRollbackSpec()
    """autoRollback of a canary."""


class ServingSpec(KubeModel):
    """How the adapter is served."""

    mode: ServingMode = ServingMode.NONE
    """mode: SharedBase serves beside other adapters on one base model per namespace; None
    doesn't serve; Merged doesn't either, but writes base and adapter as one 16-bit model, for
    servers elsewhere."""
    model_name: ModelAlias | None = None
    """modelName is the public name that clients put into `model`; default <namespace>.<name>."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """replicas of the pool; the pool takes the largest of its fine-tunes."""
    rollout: RolloutSpec = RolloutSpec()
    """rollout of a new revision."""


class Mode(StrEnum):
    """How far to go."""

    RUN = "Run"
    PLAN = "Plan"


class FineTuneSpec(KubeModel):
    """What the user wants."""

    mode: Mode = Mode.RUN
    """mode: Run, or Plan for the preflight and the estimate only: no GPU is asked for."""
    suspend: bool = False
    """suspend parks the run at a checkpoint; false goes on from there."""
    base_model: BaseModelSpec
    """baseModel to start from."""
    dataset: DatasetSpec
    """dataset to learn from."""
    method: MethodSpec = MethodSpec()
    """method of training."""
    adapter: AdapterSpec = AdapterSpec()
    """adapter that is trained."""
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
    """tracking of runs and of their evaluations in other systems."""
    artifacts: ArtifactsSpec = ArtifactsSpec()
    """artifacts: where results are kept."""
    serving: ServingSpec = ServingSpec()
    """serving of the result."""
    export: ExportSpec | None = None
    """export of every result to other formats; default: none."""
    evaluation: EvaluationSpec | None = None
    """evaluation of a new revision before it serves; default: none, it serves once it is loaded."""
    promotion: PromotionSpec = PromotionSpec()
    """promotion of a revision to the public name."""
    revision_history_limit: Annotated[int, Field(ge=1, le=20)] = 5
    """revisionHistoryLimit is how many revisions status remembers."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = 86400
    """ttlSecondsAfterFinished removes the finished Job and its pods, never a result."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.method.type != 'DPO' || self.dataset.format == 'Preference'",
            message="method DPO needs dataset.format Preference (rows of prompt, chosen, rejected)",
            check=lambda m: (
                m.method.type is not MethodType.DPO or m.dataset.format is DatasetFormat.PREFERENCE
            ),
            field_path=".dataset.format",
        ),
        Rule(
            cel="self.method.type != 'SFT' || self.dataset.format != 'Preference'",
            message="dataset.format Preference needs method DPO",
            check=lambda m: (
                m.method.type is not MethodType.SFT
                or m.dataset.format is not DatasetFormat.PREFERENCE
            ),
            field_path=".dataset.format",
        ),
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
            message="evaluation needs serving.mode SharedBase: a candidate is asked where it would "
            "serve",
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
            message="baseModel can't change: another base is another serving pool, and what serves "
            "now would go down with the edit; apply another fine-tune",
            check=lambda new, old: (
                (new.base_model.name, new.base_model.revision, new.base_model.source)
                == (old.base_model.name, old.base_model.revision, old.base_model.source)
            ),
            field_path=".baseModel",
        ),
        TransitionRule(
            cel="self.artifacts.s3 == oldSelf.artifacts.s3",
            message="artifacts.s3 can't change: results would be split over two buckets; "
            "delete the object and apply it again",
            check=lambda new, old: new.artifacts.s3 == old.artifacts.s3,
            field_path=".artifacts.s3",
        ),
    )


# --- status ---------------------------------------------------------------------------------------


class RevisionStatus(StatusModel):
    """One revision: a spec hash of the training inputs and what became of it."""

    id: ShortText
    """id of the revision: the first eight hex digits of specHash."""
    spec_hash: ShortText
    """specHash is sha256 over the training inputs of the spec."""
    created_time: Timestamp
    """createdTime is when the operator first saw the revision."""
    adapter_uri: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="adapterURI"
    )
    """adapterURI is the folder of the committed adapter."""
    adapter_digest: ShortText | None = None
    """adapterDigest is sha256 over the names and digests of the adapter's files."""
    dataset_digest: ShortText | None = None
    """datasetDigest is sha256 over the bytes of the training data."""
    base_commit: ShortText | None = None
    """baseCommit identifies the weights of the base model."""
    seed: int | None = None
    """seed of the run."""
    final_loss: ShortText | None = None
    """finalLoss is the training loss at the end."""
    verdict: ShortText | None = None
    """verdict of its evaluation."""
    exports: Annotated[list[ExportStatus], Field(max_length=11), ListMap("name")] = []
    """exports of it that are complete in the bucket."""


class EstimateStatus(StatusModel):
    """What the run will take."""

    steps: int | None = None
    """steps of the optimiser."""
    memory_mib: int | None = Field(default=None, alias="memoryMiB")
    """memoryMiB of one GPU at its peak."""
    seconds: int | None = None
    """seconds of training."""
    gpu_seconds: int | None = Field(default=None, alias="gpuSeconds")
    """gpuSeconds: seconds times GPUs."""
    duration: ShortText | None = None
    """duration for people, like 1h20m."""
    cost: ShortText | None = None
    """cost by the platform's price list, with its currency."""


class SizingStatus(StatusModel):
    """How the run was planned for the card."""

    micro_batch_size: int | None = None
    """microBatchSize: rows in a GPU's memory at once."""
    gradient_accumulation_steps: int | None = None
    """gradientAccumulationSteps per optimiser step."""
    gradient_checkpointing: bool | None = None
    """gradientCheckpointing on or off."""
    quantized: bool | None = None
    """quantized: the base is kept in 4 bits."""
    gpu: ShortText | None = None
    """gpu that was planned for."""
    message: Message = ""
    """message says why."""


class PreflightStatus(StatusModel):
    """What was found before any GPU was asked for."""

    revision: ShortText
    """revision that it speaks of."""
    rows: int | None = None
    """rows of training data."""
    tokens: int | None = None
    """tokens of one epoch, after cutting."""
    p50_tokens: int | None = None
    """p50Tokens: half of the rows are at most this long."""
    p95_tokens: int | None = None
    """p95Tokens: 95 % of the rows are at most this long."""
    max_tokens: int | None = None
    """maxTokens of the longest row, before cutting."""
    truncated_percent: ShortText | None = None
    """truncatedPercent of the rows are longer than maxSequenceLength."""
    duplicate_rows: int | None = None
    """duplicateRows of the training data."""
    leaked_rows: int | None = None
    """leakedRows: validation rows that are training rows too."""
    template_hash: ShortText | None = None
    """templateHash is sha256 of the chat template."""
    uri: Annotated[str, Field(max_length=1024)] | None = None
    """uri of preflight.json."""
    estimate: EstimateStatus | None = None
    """estimate of the run."""
    sizing: SizingStatus | None = None
    """sizing of the run, as planned."""


class BestCheckpointStatus(StatusModel):
    """The checkpoint with the lowest validation loss."""

    step: int
    """step of the checkpoint."""
    eval_loss: ShortText
    """evalLoss at it."""


class UsageStatus(StatusModel):
    """What the current revision has used up."""

    gpu_seconds: int = Field(default=0, alias="gpuSeconds")
    """gpuSeconds of its attempts so far."""
    cost: ShortText | None = None
    """cost by the platform's price list, with its currency."""


class CheckpointStatus(StatusModel):
    """The newest checkpoint."""

    step: int
    """step of the checkpoint."""
    uri: Annotated[str, Field(max_length=1024)]
    """uri of its folder."""
    time: Timestamp
    """time it was complete in the bucket."""


class TrainingStatus(StatusModel):
    """The run of the current revision."""

    job_name: ShortText | None = None
    """jobName of the training Job."""
    attempt: ShortText | None = None
    """attempt is the uid of the pod that reported last."""
    step: int | None = None
    """step of the optimiser."""
    total_steps: int | None = None
    """totalSteps of the run."""
    progress: ShortText | None = None
    """progress for people, like 420/1200."""
    epoch: ShortText | None = None
    """epoch as a decimal string."""
    loss: ShortText | None = None
    """loss of the last logged step."""
    eval_loss: ShortText | None = None
    """evalLoss on the validation rows."""
    learning_rate: ShortText | None = None
    """learningRate of the last logged step."""
    tokens_per_second: ShortText | None = None
    """tokensPerSecond since the attempt began."""
    eta_seconds: int | None = None
    """etaSeconds is how long the rest will take at the present speed."""
    eta: ShortText | None = None
    """eta for people, like 3m20s."""
    start_time: Timestamp | None = None
    """startTime of the Job."""
    completion_time: Timestamp | None = None
    """completionTime of the commit."""
    last_heartbeat_time: Timestamp | None = None
    """lastHeartbeatTime is when the trainer last reported."""
    last_checkpoint: CheckpointStatus | None = None
    """lastCheckpoint in the bucket."""
    resumed_from_step: int | None = None
    """resumedFromStep is where the present attempt went on."""
    best_checkpoint: BestCheckpointStatus | None = None
    """bestCheckpoint so far, with validation rows."""
    gpu_memory_mib: int | None = Field(default=None, alias="gpuMemoryMiB")
    """gpuMemoryMiB: peak of the present attempt on its fullest GPU."""
    sizing: SizingStatus | None = None
    """sizing of the present attempt; differs from the plan after an out-of-memory error."""
    adaptations: Annotated[list[Message], Field(max_length=16)] = []
    """adaptations to out-of-memory errors, one line each."""
    tracking_url: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="trackingURL"
    )
    """trackingURL of the run."""


class QueueStatus(StatusModel):
    """What a queue says."""

    local_queue: ShortText | None = None
    """localQueue is the Kueue LocalQueue."""
    message: Message = ""
    """message for people."""


class ServingStatus(StatusModel):
    """What answers now."""

    endpoint: Annotated[str, Field(max_length=253)] | None = None
    """endpoint of the OpenAI API, inside the cluster."""
    model_name: ShortText | None = None
    """modelName is the public name."""
    model_id: ShortText | None = Field(default=None, alias="modelID")
    """modelID is the immutable id behind the public name."""
    revision: ShortText | None = None
    """revision that answers under the public name."""
    digest: ShortText | None = None
    """digest of the adapter that answers; every ready pod reports the same."""
    loaded_replicas: int = 0
    """loadedReplicas are the ready pods whose sidecar reports the digest."""
    desired_replicas: int = 0
    """desiredReplicas of the pool."""
    candidate_id: ShortText | None = Field(default=None, alias="candidateID")
    """candidateID is the immutable id that is being loaded."""
    canary_weight_percent: int | None = None
    """canaryWeightPercent of the requests that the candidate answers."""


class FineTuneStatus(StatusModel):
    """What is true."""

    observed_generation: int = 0
    """observedGeneration of the spec that this status speaks of."""
    conditions: Annotated[list[Condition], Field(max_length=16), ListMap("type")] = []
    """conditions, one of each type."""
    stage: ShortText | None = None
    """stage is the reason of Ready, for people; no contract."""
    current_revision: ShortText | None = None
    """currentRevision answers under the public name (or is stored, without serving)."""
    candidate_revision: ShortText | None = None
    """candidateRevision is the one the spec asks for, while it isn't current."""
    revisions: Annotated[list[RevisionStatus], Field(max_length=20), ListMap("id")] = []
    """revisions, newest first."""
    preflight: PreflightStatus | None = None
    """preflight of the current spec."""
    training: TrainingStatus | None = None
    """training of the current spec."""
    usage: UsageStatus | None = None
    """usage of the current revision."""
    queue: QueueStatus | None = None
    """queue, while one holds the Job."""
    evaluation: EvaluationStatus | None = None
    """evaluation of the current spec's revision."""
    serving: ServingStatus | None = None
    """serving now."""
    history: Annotated[list[HistoryEntry], Field(max_length=50)] = []
    """history of the public name, newest first: every move and every refusal."""
    failure: FailureStatus | None = None
    """failure of the current spec."""


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
    {"name": "ETA", "type": "string", "jsonPath": ".status.training.eta"},
    {"name": "Verdict", "type": "string", "jsonPath": ".status.evaluation.verdict"},
    {"name": "Serving", "type": "string", "jsonPath": ".status.serving.revision"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Method", "type": "string", "jsonPath": ".spec.method.type", "priority": 1},
    {"name": "Adapter", "type": "string", "jsonPath": ".spec.adapter.type", "priority": 1},
    {"name": "Queue", "type": "string", "jsonPath": ".spec.resources.queueName", "priority": 1},
    {"name": "Digest", "type": "string", "jsonPath": ".status.serving.digest", "priority": 1},
    {"name": "Endpoint", "type": "string", "jsonPath": ".status.serving.endpoint", "priority": 1},
    {
        "name": "Message",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type=='Ready')].message",
        "priority": 1,
    },
)
