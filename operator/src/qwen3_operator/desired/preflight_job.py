"""The preflight Job of one revision: the trainer image on a CPU, before any GPU is asked for."""

from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.preflight import PreflightJob
from qwen3_api.v1alpha1.finetune import KIND, FineTuneSpec
from qwen3_api.v1alpha1.meta import API_VERSION
from qwen3_operator.desired.job import (
    ORDER_MOUNT,
    MountedData,
    build_single_run,
)
from qwen3_operator.desired.names import (
    ANNOTATION_CHECKS,
    ANNOTATION_ORDER,
    COMPONENT_PREFLIGHT,
    LABEL_FINE_TUNE,
    LABEL_REVISION,
    StorageTarget,
    checks_digest,
    labels,
    preflight_name,
)
from qwen3_operator.desired.pod import (
    CONTAINER_SECURITY,
    build_credentials_env,
    build_owner,
    build_pod_base,
    build_pod_identity_env,
    empty_dir,
)
from qwen3_operator.desired.train_job import build_hub_env, data_mounts
from qwen3_operator.observed import Meta
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
CONTAINER = "preflight"
RETRIES = 2
"""Failures of the system, like a bucket that is away."""
ORDER_VOLUME: Manifest = {
    "name": "order",
    "downwardAPI": {
        "items": [
            {
                "path": "job.json",
                "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_ORDER}']"},
            }
        ]
    },
}
TTL_SECONDS = 86_400
"""A refused preflight is repeated when its Job has gone: once a day, the data may be mended."""


def build_preflight_job(
    meta: Meta, spec: FineTuneSpec, order: PreflightJob, storage: StorageTarget, settings: Settings
) -> Manifest:
    """The Job. Its order is an annotation of its own pod: one write less for each fine-tune than a
    ConfigMap, and never another order than the Job was made for."""
    name = preflight_name(meta.name, order.revision)
    tags = labels(
        COMPONENT_PREFLIGHT, **{LABEL_FINE_TUNE: meta.name, LABEL_REVISION: order.revision}
    )
    owner = build_owner(KIND, meta.name, meta.uid, API_VERSION)
    mounts = data_mounts(spec)
    pod = build_pod_base(settings) | {
        "restartPolicy": "Never",
        "containers": [_build_container(spec, storage, settings, mounts)],
        "volumes": [
            ORDER_VOLUME,
            empty_dir("work", settings.preflight.scratch),
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
            "annotations": {ANNOTATION_CHECKS: checks_digest(spec)},
            "ownerReferences": [owner],
        },
        "spec": build_single_run(
            CONTAINER,
            tags,
            pod,
            retries=RETRIES,
            annotations={ANNOTATION_ORDER: order.to_json().decode()},
            ttlSecondsAfterFinished=TTL_SECONDS,
        ),
    }


def _build_container(
    spec: FineTuneSpec, storage: StorageTarget, settings: Settings, mounts: list[MountedData]
) -> Manifest:
    preflight = settings.preflight
    return {
        "name": CONTAINER,
        "image": settings.images.trainer,
        "imagePullPolicy": settings.images.pull_policy,
        "args": ["preflight"],
        "env": [
            *build_pod_identity_env(),
            *build_credentials_env(storage.secret),
            {"name": "HOME", "value": layout.WORK_DIR},
            *build_hub_env(spec),
        ],
        "resources": {
            "requests": {"cpu": preflight.cpu, "memory": preflight.memory},
            "limits": {"memory": preflight.memory},
        },
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            ORDER_MOUNT,
            {"name": "work", "mountPath": layout.WORK_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own emptyDir
            *(m.build_mount() for m in mounts),
        ],
    }
