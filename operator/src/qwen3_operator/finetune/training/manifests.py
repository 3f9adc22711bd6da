"""The training Job of one revision."""

from collections.abc import Mapping
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.finetune import KIND, FineTuneSpec
from qwen3_api.v1alpha1.meta import API_VERSION, LocalObjectReference
from qwen3_operator.finetune.gpu import named_gpu_product, resolve_gpu_product
from qwen3_operator.resources.identity import resources_digest
from qwen3_operator.resources.job import (
    ORDER_MOUNT,
    ORDER_VOLUME,
    MountedData,
    build_single_run,
    mounted_data,
)
from qwen3_operator.resources.labels import (
    ANNOTATION_RESOURCES,
    COMPONENT_TRAINER,
    LABEL_COMPONENT,
    LABEL_FINE_TUNE,
    LABEL_GPU_PRODUCT,
    LABEL_QUEUE,
    LABEL_REVISION,
    labels,
)
from qwen3_operator.resources.names import job_name
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
CONTAINER = "trainer"


def build_train_job(
    meta: Meta, spec: FineTuneSpec, order: TrainJob, storage: StorageTarget, settings: Settings
) -> Manifest:
    """The Job of a revision."""
    tags = labels(COMPONENT_TRAINER, **{LABEL_FINE_TUNE: meta.name, LABEL_REVISION: order.revision})
    queue = {LABEL_QUEUE: spec.resources.queue_name} if spec.resources.queue_name else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(meta.name, order.revision),
            "namespace": meta.namespace,
            "labels": {**tags, **queue},
            "annotations": {ANNOTATION_RESOURCES: resources_digest(spec)},
            "ownerReferences": [build_owner(KIND, meta.name, meta.uid, API_VERSION)],
        },
        "spec": build_single_run(
            CONTAINER,
            tags,
            _build_pod(spec, storage, settings),
            retries=spec.failure_policy.max_retries,
            order=order,
        ),
    }


def is_training_job(manifest: Mapping[str, Any]) -> bool:
    """A manifest of `build_train_job`, not of a preflight."""
    labels = manifest["metadata"].get("labels", {})
    return bool(manifest["kind"] == "Job" and labels.get(LABEL_COMPONENT) == COMPONENT_TRAINER)


def _build_pod(spec: FineTuneSpec, storage: StorageTarget, settings: Settings) -> Manifest:
    training = settings.training
    mounts = data_mounts(spec)
    pod = build_pod_base(settings) | {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": training.grace_seconds,
        "containers": [_build_container(spec, storage, settings, mounts)],
        "volumes": [
            ORDER_VOLUME,
            empty_dir("work", training.scratch),
            empty_dir("tmp"),
            empty_dir("shm", training.shared_memory, memory=True),
            *(m.build_volume() for m in mounts),
        ],
    }
    if selector := _node_selector(spec, settings):
        pod["nodeSelector"] = selector
    if spec.resources.tolerations:
        pod["tolerations"] = [t.to_wire() for t in spec.resources.tolerations]
    if spec.resources.priority_class_name:
        pod["priorityClassName"] = spec.resources.priority_class_name
    return pod


def data_mounts(spec: FineTuneSpec) -> list[MountedData]:
    """The ConfigMaps that hold rows."""
    dataset = spec.dataset
    mounts = (mounted_data("train", dataset.train), mounted_data("validation", dataset.validation))
    return [m for m in mounts if m is not None]


def _node_selector(spec: FineTuneSpec, settings: Settings) -> dict[str, str]:
    """The user's, and the GPU that the run was planned for.

    A platform with one product has no other for the pod to land on, and its nodes may lack the
    label: nothing is pinned there unless the user names the card. Nor where somebody else places
    the pod: the user by other labels, or the flavor of a queue.
    """
    product, placed = named_gpu_product(spec), spec.resources.node_selector
    elsewhere = bool(placed) or spec.resources.queue_name is not None
    if product is None and not elsewhere and _has_several_cards(spec, settings):
        product = resolve_gpu_product(spec, settings)
    return {**spec.resources.node_selector, **({LABEL_GPU_PRODUCT: product} if product else {})}


def _has_several_cards(spec: FineTuneSpec, settings: Settings) -> bool:
    training = settings.training
    if spec.resources.gpus == 0 or training.allow_cpu:
        return False
    return len({g.product for g in training.gpus}) > 1


def build_hub_env(spec: FineTuneSpec) -> list[Manifest]:
    """The token for gated models, put in by the kubelet."""
    return _secret_env(spec.base_model.token_secret_ref, "HF_TOKEN")


def _secret_env(ref: LocalObjectReference | None, name: str) -> list[Manifest]:
    if ref is None:
        return []
    return [{"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": name}}}]


def _build_container(
    spec: FineTuneSpec, storage: StorageTarget, settings: Settings, mounts: list[MountedData]
) -> Manifest:
    training = settings.training
    memory = spec.resources.memory or training.memory
    gpus = {training.gpu_resource: str(spec.resources.gpus)} if spec.resources.gpus else {}
    env = [
        *build_pod_identity_env(),
        *build_credentials_env(storage.secret),
        {"name": "HOME", "value": layout.WORK_DIR},
    ]
    if training.allow_cpu:
        env.append({"name": "QWEN3_ALLOW_CPU", "value": "1"})
    env += build_hub_env(spec)
    if spec.tracking.wandb:
        env += _secret_env(spec.tracking.wandb.secret_ref, "WANDB_API_KEY")
    return {
        "name": CONTAINER,
        "image": settings.images.trainer,
        "imagePullPolicy": settings.images.pull_policy,
        "env": env,
        "resources": {
            "requests": {"cpu": spec.resources.cpu or training.cpu, "memory": memory, **gpus},
            "limits": {"memory": memory, **gpus},
        },
        "securityContext": CONTAINER_SECURITY,
        # The trainer writes its reason here itself; the log is the fallback for a crash.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            ORDER_MOUNT,
            {"name": "work", "mountPath": layout.WORK_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own emptyDir
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
            *(m.build_mount() for m in mounts),
        ],
    }
