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
    """One revision: a spec hash of the training inputs, and its results."""

    id: ShortText
    """id of the revision: the first eight hex digits of specHash."""
    spec_hash: ShortText
    """specHash is sha256 over the training inputs of the spec."""
    created_time: Timestamp
    """createdTime is when the operator first observed the revision."""
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
    """quantized: it was trained on a 4-bit base; unset before its first step."""
    seed: int | None = None
    """seed of the run."""
    final_loss: ShortText | None = None
    """finalLoss is the training loss at the end."""
    verdict: ShortText | None = None
    """verdict of its evaluation."""
    exports: Annotated[list[ExportStatus], Field(max_length=11), ListMap("name")] = []
    """exports of the revision that are complete in the bucket."""


class EstimateStatus(StatusModel):
    """Estimated cost of the run."""

    steps: int | None = None
    """steps of the optimizer."""
    tokens: int | None = None
    """tokens of the whole run, excluding padding."""
    memory_mib: int | None = Field(default=None, alias="memoryMiB")
    """memoryMiB is the peak memory of one GPU."""
    seconds: int | None = None
    """seconds of the whole run: startup, base model, training, evaluations on validation rows."""
    gpu_seconds: int | None = Field(default=None, alias="gpuSeconds")
    """gpuSeconds: seconds times GPUs."""
    gpu_hours: ShortText | None = Field(default=None, alias="gpuHours")
    """gpuHours: gpuSeconds in hours, a decimal string."""
    duration: ShortText | None = None
    """duration in readable form, like 1h20m."""
    cost: ShortText | None = None
    """cost by the platform's price list, with its currency."""


class SizingStatus(StatusModel):
    """Sizes of the run on its GPU."""

    micro_batch_size: int | None = None
    """microBatchSize: rows per micro-batch and GPU."""
    gradient_accumulation_steps: int | None = None
    """gradientAccumulationSteps per optimizer step."""
    gradient_checkpointing: bool | None = None
    """gradientCheckpointing is on or off."""
    quantized: bool | None = None
    """quantized: a 4-bit base."""
    padding_free: bool | None = None
    """paddingFree: rows are concatenated instead of being padded to the longest."""
    gpu: ShortText | None = None
    """gpu that the run is sized for."""
    message: Message = ""
    """message says why."""


class TokenBucket(StatusModel):
    """Rows of similar length."""

    tokens: int
    """tokens of its longest rows at most, before truncation; more than those of the previous
    bucket."""
    rows: int
    """rows among countedRows."""


class PreflightStatus(StatusModel):
    """Findings of the preflight, before any GPU is requested; fields that an early exit left
    unknown are unset."""

    revision: ShortText
    """revision that was checked."""
    rows: int | None = None
    """rows of training data; if a row is invalid, those before it."""
    validation_rows: int | None = None
    """validationRows, once all have been read."""
    counted_rows: int | None = None
    """countedRows were tokenized: all rows, or for large data a sample, which percentiles and
    percentages describe."""
    tokens: int | None = None
    """tokens of one epoch, after truncation."""
    p50_tokens: int | None = None
    """p50Tokens: half of the rows are at most this long."""
    p95_tokens: int | None = None
    """p95Tokens: 95 % of the rows are at most this long."""
    max_tokens: int | None = None
    """maxTokens of the longest row, before truncation; for large data possibly an upper bound (see
    preflight.json)."""
    truncated_percent: ShortText | None = None
    """truncatedPercent of the rows are longer than maxSequenceLength."""
    duplicate_rows: int | None = None
    """duplicateRows of the training data."""
    leaked_rows: int | None = None
    """leakedRows: validation rows that are also training rows, once all have been compared."""
    thinking: ShortText | None = None
    """thinking is the policy that the rows were read with."""
    reasoning_rows: int | None = None
    """reasoningRows have reasoning in their last answer in the data."""
    stripped_rows: int | None = None
    """strippedRows: thinking Disabled removed their reasoning."""
    warnings: Annotated[list[Message], Field(max_length=8)] = []
    """warnings about data that is valid but rarely intended."""
    token_buckets: Annotated[list[TokenBucket], Field(max_length=32), ListMap("tokens")] = []
    """tokenBuckets are a histogram of the lengths of countedRows."""
    template_hash: ShortText | None = None
    """templateHash is sha256 of the chat template."""
    uri: Annotated[str, Field(max_length=1024)] | None = None
    """uri of preflight.json."""
    estimate: EstimateStatus | None = None
    """estimate of the run."""
    sizing: SizingStatus | None = None
    """sizing of the run."""


class BestCheckpointStatus(StatusModel):
    """The checkpoint with the lowest validation loss."""

    step: int
    """step of the checkpoint."""
    eval_loss: ShortText
    """evalLoss of the checkpoint."""


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
    """step of the optimizer."""
    total_steps: int | None = None
    """totalSteps of the run."""
    progress: ShortText | None = None
    """progress in readable form, like 420/1200."""
    epoch: ShortText | None = None
    """epoch as a decimal string."""
    loss: ShortText | None = None
    """loss of the last logged step."""
    eval_loss: ShortText | None = None
    """evalLoss on the validation rows."""
    learning_rate: ShortText | None = None
    """learningRate of the last logged step."""
    tokens_per_second: ShortText | None = None
    """tokensPerSecond over the last minute, excluding padding."""
    eta_seconds: int | None = None
    """etaSeconds is the remaining time at the current speed."""
    eta: ShortText | None = None
    """eta in readable form, like 3m20s."""
    start_time: Timestamp | None = None
    """startTime of the Job."""
    completion_time: Timestamp | None = None
    """completionTime of the commit."""
    last_heartbeat_time: Timestamp | None = None
    """lastHeartbeatTime is when the trainer last reported."""
    last_checkpoint: CheckpointStatus | None = None
    """lastCheckpoint in the bucket."""
    resumed_from_step: int | None = None
    """resumedFromStep is the step that the current attempt resumed from."""
    best_checkpoint: BestCheckpointStatus | None = None
    """bestCheckpoint so far, if there are validation rows."""
    gpu_memory_mib: int | None = Field(default=None, alias="gpuMemoryMiB")
    """gpuMemoryMiB: peak memory of the current attempt, on the GPU that uses most."""
    sizing: SizingStatus | None = None
    """sizing of the current attempt; after an out-of-memory error it differs from the plan, and its
    message describes the adaptation."""
    adaptations: Annotated[list[Message], Field(max_length=16)] = []
    """adaptations to out-of-memory errors, one line each."""
    tracking_url: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="trackingURL"
    )
    """trackingURL of the run."""
    offline_runs_uri: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="offlineRunsURI"
    )
    """offlineRunsURI is where finished attempts stored their offline W&B runs, one folder each."""


class QueueStatus(StatusModel):
    """State of the queue."""

    local_queue: ShortText | None = None
    """localQueue is the Kueue LocalQueue."""
    message: Message = ""
    """message of the queue."""


class ServingStatus(StatusModel):
    """State of serving."""

    endpoint: Annotated[str, Field(max_length=253)] | None = None
    """endpoint of the OpenAI API, inside the cluster."""
    model_name: ShortText | None = None
    """modelName is the public name."""
    model_id: ShortText | None = Field(default=None, alias="modelID")
    """modelID is the immutable id behind the public name."""
    revision: ShortText | None = None
    """revision behind the public name."""
    digest: ShortText | None = None
    """digest of the adapter in service; every ready pod reports the same."""
    loaded_replicas: int = 0
    """loadedReplicas are the ready pods whose sidecars report the digest."""
    desired_replicas: int = 0
    """desiredReplicas of the pool."""
    candidate_id: ShortText | None = Field(default=None, alias="candidateID")
    """candidateID is the immutable id that is being loaded."""
    canary_weight_percent: int | None = None
    """canaryWeightPercent is the share of requests that the candidate answers."""


class FineTuneStatus(StatusModel):
    """Observed state of a fine-tune."""

    observed_generation: int = 0
    """observedGeneration of the spec that this status describes."""
    conditions: Annotated[list[Condition], Field(max_length=16), ListMap("type")] = []
    """conditions, one of each type."""
    stage: ShortText | None = None
    """stage is the reason of Ready, or beside Ready=True the reason why the store can't be read;
    for display only."""
    current_revision: ShortText | None = None
    """currentRevision is behind the public name (or, without serving, is stored)."""
    candidate_revision: ShortText | None = None
    """candidateRevision is the revision of the spec, while it isn't current."""
    revisions: Annotated[list[RevisionStatus], Field(max_length=20), ListMap("id")] = []
    """revisions, newest first."""
    preflight: PreflightStatus | None = None
    """preflight of the current spec."""
    training: TrainingStatus | None = None
    """training of the current spec."""
    usage: UsageStatus | None = None
    """usage of the current revision."""
    queue: QueueStatus | None = None
    """queue, while it holds the Job."""
    evaluation: EvaluationStatus | None = None
    """evaluation of the current spec's revision."""
    serving: ServingStatus | None = None
    """serving state."""
    history: Annotated[list[HistoryEntry], Field(max_length=50)] = []
    """history of the public name, newest first: every promotion, rollback and rejection."""
    failure: FailureStatus | None = None
    """failure of the current spec."""
