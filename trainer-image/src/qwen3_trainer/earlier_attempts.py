"""What earlier attempts of the revision left behind: GPU seconds used, rungs of the memory ladder.

Both come from their progress.json in the bucket, the one place that outlives a pod whatever ended
it. Its owner is the tenant, so a document that can't be right is skipped with a warning; a tenant
who edits it changes the own budget and nothing else.
"""

import logging
from dataclasses import dataclass

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.report import Progress, Sizing
from qwen3_trainer.store import Bucket, ObjectMissingError

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 20
MAX_GPU_SECONDS = 1e12
"""Of an attempt: more than any cluster has, and sums of it stay finite."""


@dataclass(frozen=True)
class EarlierAttempts:
    """Sums over the attempts before this one."""

    gpu_seconds: float = 0.0
    sizings: tuple[Sizing, ...] = ()
    """In force at the end of each."""
    adaptations: tuple[str, ...] = ()
    """Of the attempt that made the most."""


def read_earlier(bucket: Bucket, revision: str, own_prefix: str) -> EarlierAttempts:
    """Reads every other attempt's progress. Raises FailureError of the store."""
    found = []
    for key, size in bucket.list(f"{revision}/{layout.ATTEMPTS}/"):
        attempt, _, name = key.rpartition("/")
        is_progress = name == layout.PROGRESS and attempt.count("/") == own_prefix.count("/")
        if not is_progress or attempt == own_prefix:
            continue
        progress = _read(bucket, key) if size <= MAX_BYTES else None
        if progress is None:
            log.warning("%s is no progress of an attempt and doesn't count", key)
        else:
            found.append(progress)
    return summed(found)


def summed(progress: list[Progress]) -> EarlierAttempts:
    """The attempts taken together. Pure."""
    return EarlierAttempts(
        gpu_seconds=sum(p.gpu_seconds for p in progress),
        sizings=tuple(p.sizing for p in progress if p.sizing is not None),
        adaptations=max((tuple(p.adaptations) for p in progress), key=len, default=()),
    )


def _read(bucket: Bucket, key: str) -> Progress | None:
    try:
        progress = Progress.model_validate_json(bucket.get(key))
    except (ValidationError, ObjectMissingError):
        return None
    return progress if 0 <= progress.gpu_seconds <= MAX_GPU_SECONDS else None
