"""The place of a resource: its bucket, and the pool of its base model."""

from dataclasses import dataclass

from qwen3_api.v1alpha1.sources import S3Spec
from qwen3_api.v1alpha1.training import BaseModelSpec
from qwen3_operator.resources.names import pool_name
from qwen3_operator.resources.storage import StorageTarget, resolve_storage
from qwen3_operator.settings import Settings


@dataclass(frozen=True)
class Placement:
    """Resolved once, when an object is parsed."""

    storage: StorageTarget | None
    """None while the settings have no such endpoint, or no bucket for it."""
    pool: str | None
    """Name of the pool; None where the spec names no base model."""


def resolve_placement(s3: S3Spec, base: BaseModelSpec | None, settings: Settings) -> Placement:
    """Bucket and pool by the spec's sections and the platform's settings."""
    storage = resolve_storage(s3, settings)
    return Placement(storage, pool_name(base, storage) if base is not None else None)
