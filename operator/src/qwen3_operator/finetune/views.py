"""Frozen views of a fine-tune and of the world around it.

`gather` builds these once per reconcile; nothing later reads the cluster or the bucket again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from qwen3_api.job.export import Export
from qwen3_api.job.preflight import Preflight
from qwen3_api.job.report import Commit, Progress, TrainReport
from qwen3_api.job.train import StartAdapter
from qwen3_api.serving.pool import CurrentAlias
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_api.v1alpha1.resources import ArtifactsSpec
from qwen3_operator.evaluation.views import Evaluation
from qwen3_operator.resources.views import (
    JobView,
    Meta,
    Object,
    PodView,
    Problem,
    explain_invalid,
    parse_meta,
)
from qwen3_operator.serving.views import PoolView


@dataclass(frozen=True)
class FineTune:
    """A parsed Qwen3FineTune. `spec` is None when it can't be parsed; then `error` says why."""

    meta: Meta
    spec: FineTuneSpec | None
    status: FineTuneStatus
    error: str = ""
    artifacts: ArtifactsSpec | None = None
    """spec.artifacts, parsed on its own where the whole spec can't be; None if that can't be done
    either."""


def parse_finetune(body: Object) -> FineTune:
    """A Qwen3FineTune; never raises on a bad spec (it may be older than a rule)."""
    status = FineTuneStatus.model_validate(body.get("status") or {})
    try:
        spec = FineTuneSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return FineTune(
            parse_meta(body), None, status, explain_invalid(error), _parse_artifacts(body)
        )
    return FineTune(parse_meta(body), spec, status, artifacts=spec.artifacts)


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
    start: StartAdapter | Problem | None = None
    """The adapter that spec.adapter.from names, or why there is none."""
    export_job: JobView | None = None
    """The export Job of the current revision."""
    export_pods: tuple[PodView, ...] = ()
    """Its pods, oldest first."""
    exports: tuple[Export, ...] = ()
    """Artifacts of the current revision that are asked for and complete."""
    export_problem: Problem | None = None
    """An EXPORT.json that isn't what the contract says."""
    commit: Commit | None = None
    verified: bool = False
    """The commit's files were all found as it says."""
    artifact_problem: Problem | None = None
    """What is wrong with the committed files."""
    storage_problem: Problem | None = None
    """The bucket can't be used; nothing else about it is known then."""
    progress: Progress | None = None
    """Of the newest pod that wrote any."""
    report: TrainReport | None = None
    """Of the newest finished pod."""
    alias: Alias | None = None
    rollback: Commit | Problem | None = None
    """The verified commit of promotion.rollbackTo, or why there is none."""
    evaluation: Evaluation | None = None
    """The fine-tune's own Qwen3Eval that decides about its current revision."""
    other_evaluations: tuple[Evaluation, ...] = ()
    """Its others, of other revisions or questions."""
    alias_owner: str | None = None
    """Name of another fine-tune that has the older claim on the public name."""
    pool: PoolView | None = None
