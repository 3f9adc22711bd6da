"""Names of everything the operator makes. Deterministic: a second run finds what the first made."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from qwen3_api.job.base import S3Location
from qwen3_api.job.export import MERGED, gguf_name
from qwen3_api.methods import canonicalize
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_api.v1alpha1.sources import S3Spec
from qwen3_api.v1alpha1.training import AdapterType, BaseModelSpec
from qwen3_operator.settings import Settings

FIELD_MANAGER = "qwen3-operator"
LIFECYCLE_MANAGER = "qwen3-operator-lifecycle"
"""Second field manager, for the mutable fields of a Job. The Job itself is applied once: its
template is immutable, and a second apply by the first manager would try to change it after an
operator upgrade. Under a manager of their own, `suspend` and the TTL come and go alone."""
FINALIZER = "qwen3.dev/artifacts"

LABEL_MANAGED = "qwen3.dev/managed"
LABEL_FINE_TUNE = "qwen3.dev/fine-tune"
LABEL_EVAL = "qwen3.dev/eval"
LABEL_SCHEDULE = "qwen3.dev/eval-schedule"
"""On a Qwen3Eval: the one whose schedule it is a run of."""
LABEL_POOL = "qwen3.dev/pool"
LABEL_REVISION = "qwen3.dev/revision"
ANNOTATION_SCHEDULED = "qwen3.dev/scheduled-time"
"""On a run of a schedule: the time that it runs for."""
ANNOTATION_PARKED = "qwen3.dev/parked"
"""On a Job that the operator suspended because of spec.suspend. Without it a suspended Job belongs
to a queue, and the operator never starts it."""
ANNOTATION_RESOURCES = "qwen3.dev/resources"
"""On a training Job: `resources_digest` of the spec that it was made for. Resources make no
revision, but a Job that waits for a node or ran out of memory must follow when they are edited."""
ANNOTATION_CHECKS = "qwen3.dev/checks"
"""On a preflight Job: `checks_digest` of the spec that it was made for."""
ANNOTATION_ORDER = "qwen3.dev/order"
"""On a preflight pod: the order that it reads."""
ANNOTATION_EXPORT = "qwen3.dev/export"
"""On an export Job: `export_digest` of the spec that it was made for."""
LABEL_COMPONENT = "app.kubernetes.io/component"
COMPONENT_PREFLIGHT = "preflight"
COMPONENT_TRAINER = "trainer"
COMPONENT_EXPORT = "export"
LABEL_GPU_PRODUCT = "nvidia.com/gpu.product"
"""Of nodes, by NVIDIA's GPU feature discovery."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"

TRAINING_INPUTS = ("base_model", "dataset", "method", "adapter", "hyperparameters")
"""Fields of the spec that make a revision. Everything else can change without training again."""


DEFAULT_EPOCHS = 3
DECIMALS = (
    ("adapter", "dropout"),
    ("hyperparameters", "learningRate"),
    ("hyperparameters", "warmupRatio"),
    ("hyperparameters", "weightDecay"),
)
"""Training inputs that are numbers written as text."""
NO_INPUTS = (
    ("dataset", "checks"),
    ("hyperparameters", "microBatchSize"),
    ("hyperparameters", "gradientCheckpointing"),
)
"""Fields among them that don't change what is learnt: what the preflight lets pass, and how the
work is cut for the card. (AdapterType QLoRA does change it: the frozen base is another. Left out,
it is the revision of LoRA.)"""


def spec_hash(spec: FineTuneSpec) -> str:
    """sha256 over the training inputs as canonical JSON: the identity of a revision.

    Equal for equal inputs, however they are written; so an edit and its revert are two revisions,
    not three, and the second one finds its adapter in the bucket.
    """
    # What isn't set makes no difference: a field that a later release adds must not retrain all.
    inputs = spec.model_dump(
        mode="json", by_alias=True, include=set(TRAINING_INPUTS), exclude_none=True
    )
    inputs["loadBest"] = spec.checkpoint.load_best
    _canonical(inputs)
    return hashlib.sha256(
        json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _canonical(inputs: dict[str, Any]) -> None:
    """Spell out what means the same, in place: a default written down is no edit, nor is 2e-4 for
    0.0002, nor another Secret for the same weights."""
    inputs["baseModel"].pop("tokenSecretRef", None)
    for section, field in NO_INPUTS:
        inputs[section].pop(field, None)
    adapter, hyper = inputs["adapter"], inputs["hyperparameters"]
    # A set in the API: its order means nothing.
    adapter["targetModules"].sort()
    adapter.setdefault("alpha", adapter["rank"])
    # What the plan makes of it is known only after the preflight, which lies in the revision.
    adapter.setdefault("type", AdapterType.LORA.value)
    if "maxSteps" not in hyper:
        hyper.setdefault("epochs", DEFAULT_EPOCHS)
    canonicalize(inputs["method"])
    if "earlyStopping" in hyper:
        stopping = hyper["earlyStopping"]
        stopping["minDelta"] = str(float(stopping["minDelta"]))
    for section, field in DECIMALS:
        inputs[section][field] = str(float(inputs[section][field]))


def resources_digest(spec: FineTuneSpec) -> str:
    """What a training Job is made of beside its revision: when it changes, the Job is made again
    and goes on from its checkpoint."""
    hyper, policy = spec.hyperparameters, spec.failure_policy
    wire = spec.resources.model_dump(mode="json", by_alias=True, exclude_none=True) | {
        "microBatchSize": hyper.micro_batch_size,
        "gradientCheckpointing": hyper.gradient_checkpointing,
        "maxGPUSeconds": spec.limits.max_gpu_seconds,
        "onOutOfMemory": policy.on_out_of_memory,
        "allowQuantization": policy.allow_quantization,
        "stallTimeoutSeconds": policy.stall_timeout_seconds,
    }
    if spec.adapter.type is None:
        # The same revision as LoRA, whose Job may be another. What names a type keeps its digest.
        wire["adapterType"] = None
    return short_digest(wire)


def checks_digest(spec: FineTuneSpec) -> str:
    """What a preflight Job is made of beside its revision."""
    # Without what is unset: a Job from before the field existed was made of the same.
    wire = spec.dataset.checks.model_dump(mode="json", by_alias=True, exclude_none=True)
    return short_digest(wire)


def short_digest(wire: dict[str, Any]) -> str:
    """Tells settings apart: 16 hex digits of the sha256 of their JSON, whatever the keys' order."""
    return hashlib.sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()[:16]


def wanted_exports(spec: FineTuneSpec) -> tuple[str, ...]:
    """Names of the artifacts that are made of every result."""
    merged = (MERGED,) if spec.serving.mode is ServingMode.MERGED else ()
    types = spec.export.gguf if spec.export is not None else ()
    return (*merged, *(gguf_name(t) for t in types))


def export_digest(spec: FineTuneSpec) -> str:
    """What an export Job is made of beside its revision."""
    wire = json.dumps(sorted(wanted_exports(spec)))
    return hashlib.sha256(wire.encode()).hexdigest()[:16]


def revision_id(digest: str) -> str:
    """The first eight hex digits of a spec hash."""
    return digest[:8]


def job_name(name: str, revision: str) -> str:
    """Name of the training Job and of its ConfigMap: at most 40 + 1 + 8 characters."""
    return f"{name}-{revision}"


def preflight_name(name: str, revision: str) -> str:
    """Name of the preflight Job of a revision and of its ConfigMap."""
    return f"{name}-{revision}-pre"


def export_name(name: str, revision: str) -> str:
    """Name of the export Job of a revision."""
    return f"{name}-{revision}-exp"


def eval_job_name(name: str) -> str:
    """Name of an evaluation's Job and ConfigMap. Ends in a word no revision is made of."""
    return f"{name}-eval"


def labels(component: str, **extra: str) -> dict[str, str]:
    """Labels of every child; `extra` holds the owner's key."""
    return {
        "app.kubernetes.io/name": "qwen3-finetune",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": FIELD_MANAGER,
        LABEL_MANAGED: "true",
        **extra,
    }


@dataclass(frozen=True)
class StorageTarget:
    """Where a resource's artifacts go, resolved."""

    endpoint: str | None
    region: str | None
    bucket: str
    prefix: str
    secret: str
    """Secret in the tenant's namespace."""

    def location(self, key: str = "") -> S3Location:
        """A key (or a key prefix) in the bucket."""
        return S3Location(
            endpoint=self.endpoint, region=self.region, bucket=self.bucket, prefix=key
        )


def resolve_storage(s3: S3Spec, settings: Settings) -> StorageTarget | None:
    """The bucket of a resource, or None when its endpoint isn't configured or has no bucket."""
    store = settings.store_for(s3.endpoint)
    bucket = s3.bucket or (store.bucket if store else None)
    if store is None or bucket is None:
        return None
    ref = s3.credentials_secret_ref
    return StorageTarget(
        endpoint=store.endpoint,
        region=s3.region or store.region,
        bucket=bucket,
        prefix=settings.storage.prefix,
        secret=ref.name if ref else settings.storage.tenant_secret,
    )


def pool_name(spec: FineTuneSpec, settings: Settings) -> str:
    """Name of the pool that serves a fine-tune."""
    return pool_of(spec.base_model, spec.artifacts.s3, settings)


def pool_of(base: BaseModelSpec, s3: S3Spec, settings: Settings) -> str:
    """Name of the pool that serves this base model in a namespace.

    Adapters share a pool when base model, its source and revision, the bucket and the credentials
    agree: the sidecar reads one index with one identity.
    """
    target = resolve_storage(s3, settings)
    identity = json.dumps(
        [
            base.model_dump(mode="json"),
            target and [target.endpoint, target.bucket, target.secret],
        ],
        sort_keys=True,
    )
    slug = re.sub(r"[^a-z0-9]+", "-", base.name.rsplit("/", 1)[1].lower()).strip("-")
    return f"pool-{slug[:30].strip('-')}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"


def pool_endpoint(namespace: str, pool: str, settings: Settings) -> str:
    """Base URL of a pool's OpenAI API, inside the cluster."""
    return f"http://{pool}.{namespace}.svc.{settings.cluster_domain}/v1"
