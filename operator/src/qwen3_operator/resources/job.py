"""What all Jobs share: the failure policy from the contract's exit codes, mounted data, and how the
order gets into the pod.

The order of the trainer image's Jobs is an annotation of their own pod: one write less for each
fine-tune than a ConfigMap, and never another order than the Job was made for. An evaluation's may
be longer than annotations can be, and is a ConfigMap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwen3_api.data_sources import DatasetSource, DataSource, resolve_source
from qwen3_api.job import layout
from qwen3_api.job.base import Document, S3Location
from qwen3_api.job.exit_codes import ACTIONS, PodFailureAction
from qwen3_api.job.train import JobWandb
from qwen3_api.v1alpha1.tracking import WandbMode, WandbSpec
from qwen3_operator.resources.labels import ANNOTATION_ORDER, ANNOTATION_PARKED
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import JobView

Manifest = dict[str, Any]


def build_failure_policy(container: str) -> Manifest:
    """batch/v1 podFailurePolicy. Rules are tried in order.

    A pod that the cluster took away (DisruptionTarget) and one that stopped on request are free.
    Exit codes that would come again fail the Job at once. Everything else counts towards
    backoffLimit, which is the API server's default for what no rule matches.
    """

    def on_codes(action: PodFailureAction) -> Manifest:
        return {
            "action": str(action),
            "onExitCodes": {
                "containerName": container,
                "operator": "In",
                "values": sorted(int(code) for code, a in ACTIONS.items() if a is action),
            },
        }

    return {
        "rules": [
            on_codes(PodFailureAction.FAIL_JOB),
            on_codes(PodFailureAction.IGNORE),
            {
                "action": str(PodFailureAction.IGNORE),
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
        ]
    }


def build_single_run(
    container: str,
    tags: dict[str, str],
    pod: Manifest,
    *,
    retries: int,
    order: Document | None = None,
    **limits: int,
) -> Manifest:
    """Spec of a Job with one pod that runs to its end.

    `order` goes into ORDER_VOLUME; `limits` are further fields of batch/v1 JobSpec. It has no
    `suspend`, which belongs to the second field manager.
    """
    metadata: Manifest = {"labels": tags}
    if order is not None:
        metadata["annotations"] = {ANNOTATION_ORDER: order.to_json().decode()}
    return {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": retries,
        **limits,
        # Never two pods at once, not even while the first one still terminates.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": build_failure_policy(container),
        "template": {"metadata": metadata, "spec": pod},
    }


@dataclass(frozen=True)
class MountedData:
    """A ConfigMap dataset inside a pod."""

    role: str
    config_map: str
    key: str

    @property
    def path(self) -> str:
        """Path of the file in the pod."""
        return f"{layout.CONFIG_MAP_DATA}/{self.role}/{self.key}"

    def build_volume(self) -> Manifest:
        """The volume; `optional`, so that a missing ConfigMap is told by the program, with a
        reason, instead of a pod that hangs in ContainerCreating."""
        return {
            "name": f"data-{self.role}",
            "configMap": {
                "name": self.config_map,
                "optional": True,
                "items": [{"key": self.key, "path": self.key}],
            },
        }

    def build_mount(self) -> Manifest:
        """Its mount."""
        return {
            "name": f"data-{self.role}",
            "mountPath": f"{layout.CONFIG_MAP_DATA}/{self.role}",
            "readOnly": True,
        }


def mounted_data(role: str, source: DatasetSource | None) -> MountedData | None:
    """The mount that a source needs, if it is a ConfigMap."""
    if source is None or source.config_map is None:
        return None
    return MountedData(role, source.config_map.name, source.config_map.key)


def resolve_data(role: str, source: DatasetSource, storage: StorageTarget) -> DataSource:
    """The contract's view of a data source. S3 data are read at the artifacts' endpoint."""
    return resolve_source(source, role, storage.location(""))


def parse_s3_uri(uri: str, storage: StorageTarget) -> S3Location:
    """s3://bucket/key at the endpoint of `storage`, without a trailing slash."""
    return storage.location("").at_uri(uri)


def build_order_config_map(
    name: str, namespace: str, order: bytes, labels: dict[str, str], owner: Manifest
) -> Manifest:
    """The ConfigMap that carries the contract into the pod; applied with its Job, and so once.

    Not `immutable`: when the Job is made again, its order may say something else (the image), and
    would be refused for ever.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "data": {"job.json": order.decode()},
    }


ORDER_MOUNT: Manifest = {"name": "order", "mountPath": "/etc/qwen3", "readOnly": True}
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


def build_order_volume(config_map: str) -> Manifest:
    """The volume of `build_order_config_map`."""
    return {"name": "order", "configMap": {"name": config_map}}


def build_lifecycle(namespace: str, job: JobView, spec: Mapping[str, Any]) -> Manifest:
    """The mutable fields of a Job under the second field manager; what is left out is given up.

    With the uid, an apply that comes too late is a conflict; without, it would create another Job.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name, "namespace": namespace, "uid": job.uid},
        "spec": dict(spec),
    }


def build_parking(namespace: str, job: JobView) -> Manifest:
    """Suspend a Job and say who did. Both go when the manager gives them up."""
    manifest = dict(build_lifecycle(namespace, job, {"suspend": True}))
    manifest["metadata"] = {**manifest["metadata"], "annotations": {ANNOTATION_PARKED: "true"}}
    return manifest


def resolve_wandb(wandb: WandbSpec) -> JobWandb:
    """The contract's view of a W&B project. The key comes by the kubelet."""
    return JobWandb(
        project=wandb.project,
        entity=wandb.entity,
        offline=wandb.mode is WandbMode.OFFLINE,
        base_url=wandb.base_url,
    )
