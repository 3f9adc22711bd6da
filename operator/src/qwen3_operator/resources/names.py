"""Names of everything that the operator makes. Deterministic: a second run finds them again."""

import hashlib
import json
import re

from qwen3_api.v1alpha1.training import BaseModelSpec
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.settings import Settings


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


def pool_name(base: BaseModelSpec, storage: StorageTarget | None) -> str:
    """Name of the pool that serves this base model in a namespace.

    Adapters share a pool when base model, its source and revision, the bucket and the credentials
    agree: the sidecar reads one index with one identity.
    """
    identity = json.dumps(
        [
            base.model_dump(mode="json"),
            storage and [storage.endpoint, storage.bucket, storage.secret],
        ],
        sort_keys=True,
    )
    slug = re.sub(r"[^a-z0-9]+", "-", base.name.rsplit("/", 1)[1].lower()).strip("-")
    return f"pool-{slug[:30].strip('-')}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"


def pool_endpoint(namespace: str, pool: str, settings: Settings) -> str:
    """Base URL of a pool's OpenAI API, inside the cluster."""
    return f"http://{pool}.{namespace}.svc.{settings.cluster_domain}/v1"
