"""Frozen views of a fine-tune and of the world around it.

`gather` builds these once per reconcile; nothing later reads the cluster or the bucket again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.export import Export
from qwen3_api.job.preflight import Preflight
from qwen3_api.job.report import Commit, Progress, TrainReport
from qwen3_api.job.train import StartAdapter
from qwen3_api.serving.pool import CurrentAlias
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune import FineTuneSpec, alias_of
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_api.v1alpha1.resources import ArtifactsSpec
from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_operator.evaluation.views import Evaluation
from qwen3_operator.finetune.gpu import Price, resolve_price
from qwen3_operator.resources.identity import revision_id, spec_hash
from qwen3_operator.resources.placement import resolve_placement
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import (
    JobView,
    Meta,
    Object,
    PodView,
    explain_invalid,
    parse_meta,
    salvage,
)
from qwen3_operator.serving.views import PoolView
from qwen3_operator.settings import Settings


@dataclass(frozen=True)
class UnreadableFineTune:
    """A Qwen3FineTune whose stored spec breaks a rule that is newer than it."""

    meta: Meta
    status: FineTuneStatus
    error: str
    """The rule, with the path of the field."""
    artifacts: ArtifactsSpec | None = None
    """spec.artifacts, parsed on its own; None if that can't be done either."""
    storage: StorageTarget | None = None
    """The bucket of `artifacts`; None also where the settings don't have it."""
    cause: Exception | None = None
    """The exception that reading the object raised, where that isn't a broken rule; its own
    reconcile raises it again. To all others it is an object that can't be read."""


@dataclass(frozen=True)
class ReadableFineTune:
    """A Qwen3FineTune, and what follows from its spec and the platform's settings alone."""

    meta: Meta
    spec: FineTuneSpec
    status: FineTuneStatus
    digest: str
    """`spec_hash` of the training inputs."""
    storage: StorageTarget | None
    """None while the settings have no such endpoint, or no bucket for it."""
    pool: str
    """Name of the pool of its base model, whether or not it serves there."""
    price: Price | None
    """Of a GPU hour; None where the platform's list doesn't say."""

    @property
    def revision(self) -> str:
        """Id of the revision that the spec describes."""
        return revision_id(self.digest)

    @property
    def alias(self) -> str:
        """The public name."""
        return alias_of(self.meta.namespace, self.meta.name, self.spec)

    @property
    def artifacts(self) -> ArtifactsSpec:
        """spec.artifacts."""
        return self.spec.artifacts

    @property
    def is_served(self) -> bool:
        """The spec asks for serving by a pool."""
        return self.spec.serving.mode is ServingMode.SHARED_BASE


FineTune = ReadableFineTune | UnreadableFineTune


def revision_folder(meta: Meta, revision: str, storage: StorageTarget) -> S3Location:
    """Where everything of a revision is stored."""
    return storage.location(
        layout.revision_prefix(storage.prefix, meta.namespace, meta.uid, revision)
    )


def parse_finetune(body: Object, settings: Settings) -> FineTune:
    """A Qwen3FineTune; never raises on a bad spec (it may be older than a rule)."""
    meta, status = parse_meta(body), FineTuneStatus.model_validate(body.get("status") or {})
    try:
        spec = FineTuneSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        artifacts = _parse_artifacts(body)
        placement = resolve_placement(artifacts.s3, None, settings) if artifacts else None
        storage = placement.storage if placement else None
        return UnreadableFineTune(meta, status, explain_invalid(error), artifacts, storage)
    return resolve_finetune(meta, spec, status, settings)


def salvage_finetune(body: Object, cause: Exception) -> UnreadableFineTune:
    """An object that can't be read for a reason that nobody expected. Of its status stays what can
    be read, so that others leave alone what it serves."""
    status = salvage(FineTuneStatus, body.get("status"), ("serving", "revisions", "conditions"))
    return UnreadableFineTune(
        parse_meta(body), status, f"{type(cause).__name__}: {cause}", cause=cause
    )


def resolve_finetune(
    meta: Meta, spec: FineTuneSpec, status: FineTuneStatus, settings: Settings
) -> ReadableFineTune:
    """A readable fine-tune of its parts: the one place that resolves its spec."""
    placement = resolve_placement(spec.artifacts.s3, spec.base_model, settings)
    return ReadableFineTune(
        meta=meta,
        spec=spec,
        status=status,
        digest=spec_hash(spec),
        storage=placement.storage,
        pool=placement.pool or "",
        price=resolve_price(spec, settings),
    )


def _parse_artifacts(body: Object) -> ArtifactsSpec | None:
    spec = body.get("spec")
    if not isinstance(spec, Mapping):
        return None
    try:
        return ArtifactsSpec.model_validate(spec.get("artifacts", {}))
    except ValidationError:
        return None


@dataclass(frozen=True)
class Alias:
    """The pointer behind a public name, with the ETag that a compare-and-swap needs."""

    current: CurrentAlias | None
    """None: what lies there is no pointer; the next promotion overwrites it."""
    etag: str


@dataclass(frozen=True)
class Observed:
    """The world around one fine-tune."""

    job: JobView | None = None
    """The Job of the current revision."""
    other_jobs: tuple[JobView, ...] = ()
    """Jobs of other revisions."""
    pods: tuple[PodView, ...] = ()
    """Pods of the current Job, oldest first."""
    preflight_job: JobView | None = None
    """The preflight Job of the current revision."""
    preflight_pods: tuple[PodView, ...] = ()
    """Its pods, oldest first."""
    preflight: Preflight | None = None
    """preflight.json of the current revision."""
    start: StartAdapter | FailureStatus | None = None
    """The adapter that spec.adapter.from names, or why there is none."""
    export_job: JobView | None = None
    """The export Job of the current revision."""
    export_pods: tuple[PodView, ...] = ()
    """Its pods, oldest first."""
    exports: tuple[Export, ...] = ()
    """Artifacts of the current revision that are asked for and complete."""
    export_problem: FailureStatus | None = None
    """An EXPORT.json that isn't what the contract says."""
    commit: Commit | None = None
    verified: bool = False
    """The commit's files were all found as it says."""
    artifact_problem: FailureStatus | None = None
    """What is wrong with the committed files."""
    storage_problem: FailureStatus | None = None
    """The bucket can't be used; nothing else about it is known then."""
    progress: Progress | None = None
    """Of the newest pod that wrote any."""
    report: TrainReport | None = None
    """Of the newest finished pod."""
    alias: Alias | None = None
    rollback: Commit | FailureStatus | None = None
    """The verified commit of promotion.rollbackTo, or why there is none."""
    evaluation: Evaluation | None = None
    """The fine-tune's own Qwen3Eval that decides about its current revision."""
    other_evaluations: tuple[Evaluation, ...] = ()
    """Its others, of other revisions or questions."""
    alias_owner: str | None = None
    """Name of another fine-tune that has the older claim on the public name."""
    pool: PoolView | None = None
