"""What the platform team decides: one YAML file, mounted by the chart, read once at start."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from qwen3_api.v1alpha1.meta import HttpUrl
from qwen3_api.v1alpha1.numbers import NumberOrString
from qwen3_api.v1alpha1.training import BaseModelSource

# The chart's schema has the same pattern.
Quantity = Annotated[str, NumberOrString(r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")]


class _Section(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Images(_Section):
    """Images of the pods that the operator starts; by digest in production."""

    trainer: str
    server: str
    evaluator: str
    pull_secrets: list[str] = []
    """Names of imagePullSecrets in the tenants' namespaces."""
    pull_policy: str = "IfNotPresent"


class Store(_Section):
    """An object store that the operator has credentials for."""

    endpoint: HttpUrl | None = None
    """None is AWS."""
    region: str | None = None
    bucket: str | None = None
    """Bucket for a fine-tune that names none."""
    credentials_dir: str | None = None
    """Folder with files AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: the operator's own, mounted
    from a Secret of its namespace. None: the ambient identity (workload identity)."""


class Storage(_Section):
    """Object stores and how tenants get at them."""

    default: Store
    additional: list[Store] = []
    """Further endpoints that a fine-tune may name."""
    prefix: str = "qwen3"
    """First part of every key."""
    tenant_secret: str = "qwen3-s3"  # noqa: S105  the name of a Secret, not its content
    """Secret in each tenant's namespace for a fine-tune that names none."""


class CatalogueModel(_Section):
    """A base model that may be fine-tuned."""

    name: str
    source: BaseModelSource
    revision: str | None = None


class GPUSettings(_Section):
    """A GPU that the platform offers. Memory and speed of known ones needn't be said."""

    product: str
    """The node label nvidia.com/gpu.product."""
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    """Memory of the card in GiB."""
    tflops: Annotated[float, Field(gt=0)] | None = None
    """Dense bfloat16 TFLOP/s by its data sheet."""
    price_per_hour: Annotated[Decimal, Field(ge=0)] | None = None
    """In `currency`."""


class PreflightSettings(_Section):
    """Preflight pods."""

    cpu: Quantity = "1"
    memory: Quantity = "2Gi"
    scratch: Quantity = "20Gi"


class ExportSettings(_Section):
    """Export pods: on a CPU."""

    cpu: Quantity = "4"
    memory: Quantity = "16Gi"
    """Several matrices of the largest size in 32 bits."""
    scratch: Quantity = "200Gi"
    """Size limit of the pod's /work where the size of the model isn't known."""


class TrainingSettings(_Section):
    """Training pods."""

    gpus: list[GPUSettings] = []
    """GPUs of the platform; the first is planned for when a fine-tune names none, and with several
    its pod is then bound to nodes of that product."""
    currency: str = "USD"

    gpu_resource: str = "nvidia.com/gpu"
    cpu: Quantity = "4"
    memory: Quantity = "32Gi"
    shared_memory: Quantity = "8Gi"
    """Size of /dev/shm."""
    scratch: Quantity = "100Gi"
    """Size limit of the pod's /work."""
    grace_seconds: int = 120
    """Time for a checkpoint after SIGTERM: longer than a step plus an upload."""
    progress_seconds: int = 10
    allow_cpu: bool = False
    """For clusters without GPUs where one is only advertised: train on the CPU."""


class RequestLimitSettings(_Section):
    """The largest share of a pool that one request may ask for (`RequestLimits`)."""

    max_sequences: Annotated[int, Field(ge=1, le=4096)] = 32
    """Answers of one request: its prompts times its n or best_of."""
    max_tokens: Annotated[int, Field(ge=1, le=1_048_576)] = 32_768
    """Tokens of one answer, reasoning included; also for requests that name no limit."""
    max_prompt_logprobs: Annotated[int, Field(ge=0, le=20)] = 5
    """Alternatives per token of the prompt: prompt_logprobs, or logprobs with echo."""


class ServingSettings(_Section):
    """Pools."""

    max_lora_rank: int = 64
    """Cap on the rank of served adapters (vLLM --max-lora-rank)."""
    max_loras: int = 8
    """Adapters in one batch (vLLM --max-loras)."""
    max_cpu_loras: int = 32
    """Adapters kept in memory (vLLM --max-cpu-loras)."""
    gpus: int = 1
    cpu: Quantity = "4"
    memory: Quantity = "32Gi"
    shared_memory: Quantity = "8Gi"
    drain_seconds: int = 120
    """How long the previous adapter stays loaded after a promotion: the longest request."""
    startup_seconds: int = 3600
    """Time for vLLM to load the base model before the kubelet restarts it."""
    args: list[str] = []
    """More vLLM arguments."""
    env: dict[str, str] = {}
    """More vLLM environment."""
    node_selector: dict[str, str] = {}
    limits: RequestLimitSettings = RequestLimitSettings()
    """What one request may ask for; more is refused with OpenAI's error."""
    poll_seconds: float = 2.0
    """How often the operator asks the sidecars while something is moving."""


class EvaluationSettings(_Section):
    """Evaluation pods."""

    cpu: Quantity = "500m"
    memory: Quantity = "1Gi"


class Settings(_Section):
    """The whole file."""

    watch_namespaces: list[str] = []
    """Empty: all."""
    operator_namespace: str = "qwen3-system"
    lease_name: str = "qwen3-operator"
    cluster_domain: str = "cluster.local"
    workers: Annotated[int, Field(ge=1)] = 32
    resync_seconds: int = 120
    metrics_port: int = 8080
    images: Images
    storage: Storage
    catalogue: list[CatalogueModel] = []
    preflight: PreflightSettings = PreflightSettings()
    export: ExportSettings = ExportSettings()
    training: TrainingSettings = TrainingSettings()
    serving: ServingSettings = ServingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    def store_for(self, endpoint: str | None) -> Store | None:
        """The store with this endpoint (None: the default one), or None if it isn't configured."""
        if endpoint is None:
            return self.storage.default
        stores = (self.storage.default, *self.storage.additional)
        return next((s for s in stores if s.endpoint == endpoint), None)


def load_settings(path: Path) -> Settings:
    """Read the settings file.

    Raises:
        pydantic.ValidationError: a field is missing, misspelt or of the wrong type.
        OSError: the file can't be read.
    """
    return Settings.model_validate(yaml.safe_load(path.read_text()))
