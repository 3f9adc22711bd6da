"""What all pods of the product share: the *restricted* Pod Security Standard, scratch space,
credentials by the kubelet, no API token."""

from typing import Any

from qwen3_api.job import layout
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
USER = 65532

CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def build_credentials_env(secret: str, prefix: str = "") -> list[Manifest]:
    """AWS_* of a Secret of the tenant's, put in by the kubelet as `prefix`AWS_*. The session token
    is optional."""
    names = {
        "AWS_ACCESS_KEY_ID": False,
        "AWS_SECRET_ACCESS_KEY": False,
        "AWS_SESSION_TOKEN": True,
    }
    return [
        {
            "name": f"{prefix}{name}",
            "valueFrom": {"secretKeyRef": {"name": secret, "key": name, "optional": optional}},
        }
        for name, optional in names.items()
    ]


def build_pod_identity_env() -> list[Manifest]:
    """Name and uid of the pod, by the downward API."""
    return [
        {
            "name": layout.ENV_POD_NAME,
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
        },
        {
            "name": layout.ENV_POD_UID,
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}},
        },
    ]


def empty_dir(name: str, size: str | None = None, *, memory: bool = False) -> Manifest:
    """A volume of the pod's own. One in memory counts towards the pod's memory limit."""
    spec: Manifest = {}
    if size:
        spec["sizeLimit"] = size
    if memory:
        spec["medium"] = "Memory"
    return {"name": name, "emptyDir": spec}


def build_pod_base(settings: Settings) -> Manifest:
    """The part of a pod spec that never differs."""
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
    }
    if settings.images.pull_secrets:
        pod["imagePullSecrets"] = [{"name": n} for n in settings.images.pull_secrets]
    return pod


def build_owner(kind: str, name: str, uid: str, api_version: str) -> Manifest:
    """The controller reference of a child."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
