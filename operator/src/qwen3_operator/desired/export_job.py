"""The export Job of one revision: the trainer image on a CPU, after the result is committed."""

import math
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.export import ExportJob
from qwen3_api.v1alpha1.finetune import KIND, FineTuneSpec
from qwen3_api.v1alpha1.meta import API_VERSION
from qwen3_operator.desired.job import ORDER_MOUNT, build_single_run
from qwen3_operator.desired.names import (
    ANNOTATION_EXPORT,
    ANNOTATION_ORDER,
    COMPONENT_EXPORT,
    LABEL_FINE_TUNE,
    LABEL_REVISION,
    StorageTarget,
    export_digest,
    export_name,
    labels,
)
from qwen3_operator.desired.pod import (
    CONTAINER_SECURITY,
    build_credentials_env,
    build_owner,
    build_pod_base,
    build_pod_identity_env,
    empty_dir,
)
from qwen3_operator.desired.preflight_job import ORDER_VOLUME
from qwen3_operator.desired.train_job import build_hub_env
from qwen3_operator.observed import Meta
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
CONTAINER = "export"
RETRIES = 2
"""Failures of the system, like a bucket that is away."""
COPIES = 2.1
"""The scratch volume holds the model in 16 bits twice: base and merged files, then merged and
converted ones. A tenth more for tokenizers and the block sizes of file systems."""
OVERHEAD_GIB = 1


def scratch_size(weight_bytes: int | None, settings: Settings) -> str:
    """Size of /work for a model whose weights take `weight_bytes` in 16 bits, as a quantity."""
    if weight_bytes is None:
        return settings.export.scratch
    return f"{math.ceil(COPIES * weight_bytes / 2**30) + OVERHEAD_GIB}Gi"


def build_export_job(
    meta: Meta,
    spec: FineTuneSpec,
    order: ExportJob,
    weight_bytes: int | None,
    storage: StorageTarget,
    settings: Settings,
) -> Manifest:
    """The Job; its order is an annotation of its own pod, as the preflight's."""
    tags = labels(COMPONENT_EXPORT, **{LABEL_FINE_TUNE: meta.name, LABEL_REVISION: order.revision})
    scratch = scratch_size(weight_bytes, settings)
    pod = build_pod_base(settings) | {
        "restartPolicy": "Never",
        "containers": [_build_container(spec, scratch, storage, settings)],
        "volumes": [ORDER_VOLUME, empty_dir("work", scratch), empty_dir("tmp")],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": export_name(meta.name, order.revision),
            "namespace": meta.namespace,
            "labels": tags,
            "annotations": {ANNOTATION_EXPORT: export_digest(spec)},
            "ownerReferences": [build_owner(KIND, meta.name, meta.uid, API_VERSION)],
        },
        "spec": build_single_run(
            CONTAINER,
            tags,
            pod,
            retries=RETRIES,
            annotations={ANNOTATION_ORDER: order.to_json().decode()},
        ),
    }


def _build_container(
    spec: FineTuneSpec, scratch: str, storage: StorageTarget, settings: Settings
) -> Manifest:
    export = settings.export
    return {
        "name": CONTAINER,
        "image": settings.images.trainer,
        "imagePullPolicy": settings.images.pull_policy,
        "args": ["export"],
        "env": [
            *build_pod_identity_env(),
            *build_credentials_env(storage.secret),
            {"name": "HOME", "value": layout.WORK_DIR},
            *build_hub_env(spec),
        ],
        "resources": {
            # Asked for, so that the scheduler says at once when no node has the room.
            "requests": {
                "cpu": export.cpu,
                "memory": export.memory,
                "ephemeral-storage": scratch,
            },
            "limits": {"memory": export.memory},
        },
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            ORDER_MOUNT,
            {"name": "work", "mountPath": layout.WORK_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own emptyDir
        ],
    }
