"""`status` of a Qwen3FineTune."""

from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.export import ExportStatus
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.meta import (
    Condition,
    ListMap,
    Message,
    ShortText,
    StatusModel,
    Timestamp,
)
from qwen3_api.v1alpha1.promotion import (
    EvaluationStatus,
    HistoryEntry,
)


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
    quantized: bool | None = None
    """quantized: it learned over a base in 4 bits; unset before its first step."""
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
    tokens: int | None = None
    """tokens of the whole run, padding not counted."""
    memory_mib: int | None = Field(default=None, alias="memoryMiB")
    """memoryMiB of one GPU at its peak."""
    seconds: int | None = None
    """seconds of the whole run: start, base model, training, evaluations on validation rows."""
    gpu_seconds: int | None = Field(default=None, alias="gpuSeconds")
    """gpuSeconds: seconds times GPUs."""
    gpu_hours: ShortText | None = Field(default=None, alias="gpuHours")
    """gpuHours: gpuSeconds for people, a decimal string."""
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
    padding_free: bool | None = None
    """paddingFree: rows stand one behind the other, none is filled up to the longest."""
    gpu: ShortText | None = None
    """gpu that was planned for."""
    message: Message = ""
    """message says why."""


class TokenBucket(StatusModel):
    """Rows of about the same length."""

    tokens: int
    """tokens that its rows have at most, before cutting; more than those of the bucket before."""
    rows: int
    """rows among countedRows."""


class PreflightStatus(StatusModel):
    """What was found before any GPU was asked for; without what an early end left unknown."""

    revision: ShortText
    """revision that it speaks of."""
    rows: int | None = None
    """rows of training data; of data with a bad row, those before it."""
    validation_rows: int | None = None
    """validationRows, once all of them were read."""
    counted_rows: int | None = None
    """countedRows were tokenised: all, or of large data a sample that percentiles and percentages
    are of."""
    tokens: int | None = None
    """tokens of one epoch, after cutting."""
    p50_tokens: int | None = None
    """p50Tokens: half of the rows are at most this long."""
    p95_tokens: int | None = None
    """p95Tokens: 95 % of the rows are at most this long."""
    max_tokens: int | None = None
    """maxTokens of the longest row, before cutting; of large data possibly a bound, which
    preflight.json says."""
    truncated_percent: ShortText | None = None
    """truncatedPercent of the rows are longer than maxSequenceLength."""
    duplicate_rows: int | None = None
    """duplicateRows of the training data."""
    leaked_rows: int | None = None
    """leakedRows: validation rows that are training rows too, once all were compared."""
    thinking: ShortText | None = None
    """thinking is the policy that the rows were read by."""
    reasoning_rows: int | None = None
    """reasoningRows have reasoning in their last answer as it stands in the data."""
    stripped_rows: int | None = None
    """strippedRows: thinking Disabled took reasoning from them."""
    warnings: Annotated[list[Message], Field(max_length=8)] = []
    """warnings of what stops no run, but is seldom meant."""
    token_buckets: Annotated[list[TokenBucket], Field(max_length=32), ListMap("tokens")] = []
    """tokenBuckets are the histogram of the lengths of countedRows."""
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
    """tokensPerSecond over the last minute, padding not counted."""
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
    """sizing of the present attempt; after an out-of-memory error it differs from the plan, and its
    message is the adaptation."""
    adaptations: Annotated[list[Message], Field(max_length=16)] = []
    """adaptations to out-of-memory errors, one line each."""
    tracking_url: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="trackingURL"
    )
    """trackingURL of the run."""
    offline_runs_uri: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="offlineRunsURI"
    )
    """offlineRunsURI: where attempts that ended left their offline runs of W&B, a folder each."""


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
    """stage is the reason of Ready, or of the store that can't be read beside Ready=True; no
    contract."""
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
