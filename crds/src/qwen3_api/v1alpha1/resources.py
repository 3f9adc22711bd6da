"""Resources, limits, failure policy and artifact storage of a run."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from qwen3_api.v1alpha1.meta import (
    DnsLabel,
    DnsSubdomain,
    KubeModel,
    Rule,
)
from qwen3_api.v1alpha1.numbers import Quantity
from qwen3_api.v1alpha1.sources import S3Spec

LABEL_KEY = (
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
LabelValue = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]


class Toleration(KubeModel):
    """A pod toleration (core/v1), with core/v1's own rules: otherwise the pod couldn't be
    created."""

    key: Annotated[str, Field(pattern=LABEL_KEY, max_length=317)] | None = None
    """key of the taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """operator: Exists or Equal."""
    value: LabelValue | None = None
    """value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """effect of the taint; unset matches all."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """tolerationSeconds is how long a NoExecute taint is tolerated."""

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
    """Resources and placement of the training pod."""

    gpus: Annotated[int, Field(ge=0, le=8)] = 1
    """gpus (nvidia.com/gpu) of the training pod; several train in parallel (DDP), 0 trains on the
    CPU."""
    gpu_product: LabelValue | None = None
    """gpuProduct is the node label nvidia.com/gpu.product to run on, for example
    NVIDIA-H100-80GB-HBM3; the run is sized for its memory. Default: nodeSelector's
    nvidia.com/gpu.product, else the platform's first product."""
    cpu: Quantity | None = None
    """cpu request, in cores: 8, 0.5 or 500m; default: the platform's."""
    memory: Quantity | None = None
    """memory request and limit, 64Gi for example; without a unit in bytes, as in core/v1. Default:
    the platform's."""
    node_selector: Annotated[
        dict[str, LabelValue],
        Field(max_length=16, json_schema_extra={"x-kubernetes-map-type": "atomic"}),
    ] = {}
    """nodeSelector of the training pod; nvidia.com/gpu.product in it selects the GPU like
    gpuProduct."""
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
    """Limits of a run."""

    max_gpu_seconds: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, alias="maxGPUSeconds"
    )
    """maxGPUSeconds of all attempts together: GPUs times wall-clock seconds of training pods."""


class OnOutOfMemory(StrEnum):
    """Reaction to an out-of-memory error of the GPU."""

    ADAPT = "Adapt"
    FAIL = "Fail"


class FailurePolicySpec(KubeModel):
    """Handling of failures."""

    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """maxRetries after system failures; disruptions and suspensions don't count, and user errors
    are never retried."""
    on_out_of_memory: OnOutOfMemory = OnOutOfMemory.ADAPT
    """onOutOfMemory: Adapt halves the micro-batch size, then enables gradient checkpointing, then
    (if allowed) switches to a 4-bit base, with the effective batch size unchanged; Fail ends the
    run."""
    allow_quantization: bool = False
    """allowQuantization lets Adapt change a LoRA run into a QLoRA run as its last step."""
    stall_timeout_seconds: Annotated[int, Field(ge=30, le=86_400)] = 1800
    """stallTimeoutSeconds is the time without a step after which an attempt ends; the next one
    resumes from its checkpoint. Startup and verification of the adapter have the same limit."""


class DeletionPolicy(StrEnum):
    """Handling of artifacts when the object is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class ArtifactsSpec(KubeModel):
    """Storage of results."""

    s3: S3Spec = S3Spec()
    """s3 bucket for the results."""
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """deletionPolicy: Retain keeps the artifacts when the object is deleted, Delete removes them.
    It can be changed until they are removed."""
