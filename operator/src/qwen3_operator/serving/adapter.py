"""A guest: an adapter that a pool holds only while an evaluation asks it. Pure."""

from dataclasses import dataclass
from datetime import datetime

from qwen3_api.job.base import FileDigest, S3Location
from qwen3_api.job.report import Commit, adapter_id
from qwen3_api.serving.pool import PoolAdapter, PoolIndex
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.training import BaseModelSpec
from qwen3_operator.finetune.views import FineTune
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.settings import Settings

PERMANENT_HINT = "Apply a new evaluation."


@dataclass(frozen=True)
class Guest:
    """A verified adapter and the pool that shall hold it."""

    namespace: str
    adapter: PoolAdapter
    base_model: BaseModelSpec
    storage: StorageTarget
    pool: str
    since: datetime
    """When its evaluation was created: who came first gets the last place."""
    evaluation: str
    revision: str | None = None
    """Of the fine-tune that made it."""


def build_adapter(
    id_: str, digest: str, location: S3Location, files: list[FileDigest], rank: int
) -> PoolAdapter:
    """A candidate's entry: no pod is unready for want of it."""
    return PoolAdapter(
        id=id_, digest=digest, location=location, files=files, rank=rank, required=False
    )


def build_own_adapter(
    namespace: str, name: str, commit: Commit, storage: StorageTarget
) -> PoolAdapter:
    """The adapter of a fine-tune's revision, under the id that it has or would have as a candidate:
    a pool that holds it already loads nothing."""
    id_ = adapter_id(namespace, name, commit.digest)
    location = storage.location(commit.prefix)
    adapter = build_adapter(id_, commit.digest, location, commit.files, commit.rank)
    return adapter.model_copy(update={"enable_thinking": commit.provenance.enable_thinking})


def check_adapter(
    rank: int, base: str, wanted: BaseModelSpec, settings: Settings
) -> FailureStatus | None:
    """Rank and base model of an adapter against its pool."""
    if base != wanted.name:
        return FailureStatus.of(
            Reason.ARTIFACT_REFUSED,
            f"target.adapter: it was trained on {base[:120]}, but the pool serves {wanted.name}",
            f"Set the base model that it was trained on. {PERMANENT_HINT}",
        )
    limit = settings.serving.max_lora_rank
    if rank > limit:
        return FailureStatus.of(
            Reason.ADAPTER_RANK_TOO_HIGH,
            f"target.adapter: its rank is {rank}, the limit of pools is {limit}",
            "Ask the platform team to raise serving.maxLoraRank, or evaluate an adapter of lower "
            "rank.",
        )
    return None


def find_no_revision(name: str, revision: str, ft: FineTune | None) -> FailureStatus:
    """Nothing is stored under that name."""
    known = [r.id for r in ft.status.revisions if r.adapter_digest] if ft is not None else []
    what = f"revision {revision} of {name} has no stored adapter"
    missing = f"no Qwen3FineTune {name} in this namespace"
    return FailureStatus.of(
        Reason.ADAPTER_NOT_FOUND,
        f"target.adapter.fineTune: {what if ft is not None else missing}",
        f"Stored revisions: {', '.join(known) or 'none'}." if ft is not None else "",
    )


def capacity(settings: Settings) -> int:
    """Adapters that a pod keeps in memory. vLLM takes more and swaps them from disk with every
    other request, which neither users nor a measurement should meet."""
    return max(settings.serving.max_cpu_loras, settings.serving.max_loras)


def is_full(index: PoolIndex | None, id_: str, settings: Settings) -> bool:
    """The pool has no place for this adapter."""
    if index is None or any(a.id == id_ for a in index.adapters):
        return False
    return len(index.adapters) >= capacity(settings)
