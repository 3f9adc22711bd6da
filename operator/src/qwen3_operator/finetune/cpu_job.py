"""What the trainer image's Jobs without a GPU have in common: preflight and export."""

from collections.abc import Sequence
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.base import Document
from qwen3_api.v1alpha1.finetune import KIND, FineTuneSpec
from qwen3_api.v1alpha1.meta import API_VERSION
from qwen3_operator.finetune.training.manifests import build_hub_env
from qwen3_operator.resources.job import (
    ORDER_MOUNT,
    ORDER_VOLUME,
    MountedData,
    build_single_run,
)
from qwen3_operator.resources.pod import (
    CONTAINER_SECURITY,
    build_credentials_env,
    build_owner,
    build_pod_base,
    build_pod_identity_env,
    empty_dir,
)
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import Meta
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
RETRIES = 2
"""Failures of the system, like a bucket that is away."""


def build_cpu_job(
    meta: Meta,
    *,
    name: str,
    tags: dict[str, str],
    annotations: dict[str, str],
    container: Manifest,
    scratch: str,
    order: Document,
    settings: Settings,
    mounts: Sequence[MountedData] = (),
    **limits: Any,
) -> Manifest:
    """The Job of a container. `limits` go into its spec; `scratch` is the size of /work."""
    pod = build_pod_base(settings) | {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [
            ORDER_VOLUME,
            empty_dir("work", scratch),
            empty_dir("tmp"),
            *(m.build_volume() for m in mounts),
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": tags,
            "annotations": annotations,
            "ownerReferences": [build_owner(KIND, meta.name, meta.uid, API_VERSION)],
        },
        "spec": build_single_run(
            container["name"],
            tags,
            pod,
            retries=RETRIES,
            order=order,
            **limits,
        ),
    }


def build_cpu_container(
    command: str,
    spec: FineTuneSpec,
    storage: StorageTarget,
    settings: Settings,
    *,
    requests: dict[str, str],
    mounts: Sequence[MountedData] = (),
) -> Manifest:
    """The container that runs a command of the trainer; it may use the memory it requests."""
    return {
        "name": command,
        "image": settings.images.trainer,
        "imagePullPolicy": settings.images.pull_policy,
        "args": [command],
        "env": [
            *build_pod_identity_env(),
            *build_credentials_env(storage.secret),
            {"name": "HOME", "value": layout.WORK_DIR},
            *build_hub_env(spec),
        ],
        "resources": {"requests": requests, "limits": {"memory": requests["memory"]}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            ORDER_MOUNT,
            {"name": "work", "mountPath": layout.WORK_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own emptyDir
            *(m.build_mount() for m in mounts),
        ],
    }
