"""The kinds of object that the operator deals with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwen3_api.v1alpha1 import evaluation, finetune
from qwen3_api.v1alpha1.meta import GROUP, VERSION
from qwen3_operator.desired.names import (
    LABEL_EVAL,
    LABEL_FINE_TUNE,
    LABEL_MANAGED,
    LABEL_POOL,
    LABEL_SCHEDULE,
)

Manifest = dict[str, Any]
"""An object as JSON: apiVersion, kind, metadata and the rest."""
Manifests = list[Manifest]

OWNER_LABELS = (LABEL_FINE_TUNE, LABEL_EVAL, LABEL_POOL, LABEL_SCHEDULE)
"""The label that names the object a child is for, in the child's namespace."""

MANAGED_SELECTOR = f"{LABEL_MANAGED}=true"
"""Watches and lists of children select by it, so that a big cluster's own Jobs and Pods are never
mirrored."""


@dataclass(frozen=True)
class Kind:
    """One namespaced resource of the API."""

    name: str
    """As in `kind:`."""
    group: str
    """Empty for the core group."""
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
        """The URL path of a collection (all namespaces if None), an object or a subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace is not None:
            parts.append(f"namespaces/{namespace}")
        parts.extend(part for part in (self.plural, name, sub) if part)
        return "/".join(parts)


CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
POD = Kind("Pod", "", "v1", "pods")
SERVICE = Kind("Service", "", "v1", "services")
EVENT = Kind("Event", "", "v1", "events")
JOB = Kind("Job", "batch", "v1", "jobs")
DEPLOYMENT = Kind("Deployment", "apps", "v1", "deployments")
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")
POD_DISRUPTION_BUDGET = Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets")
NETWORK_POLICY = Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies")
FINE_TUNE = Kind(finetune.KIND, GROUP, VERSION, finetune.PLURAL)
EVALUATION = Kind(evaluation.KIND, GROUP, VERSION, evaluation.PLURAL)

ALL_KINDS = (
    CONFIG_MAP, POD, SERVICE, EVENT, JOB, DEPLOYMENT, LEASE, POD_DISRUPTION_BUDGET,
    NETWORK_POLICY, FINE_TUNE, EVALUATION,
)  # fmt: skip
CUSTOM_KINDS = (FINE_TUNE, EVALUATION)
CHILD_KINDS = (JOB, POD, DEPLOYMENT, SERVICE, CONFIG_MAP)
"""Children that are cached and watched, those labelled as managed only."""
CACHED_KINDS = CUSTOM_KINDS + CHILD_KINDS

_BY_TYPE = {(kind.api_version, kind.name): kind for kind in ALL_KINDS}


def selector_of(kind: Kind) -> str | None:
    """The label selector that lists and watches of this kind use."""
    return MANAGED_SELECTOR if kind in CHILD_KINDS else None


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """The kind of a manifest.

    Raises:
        ValueError: the operator has no business with such objects.
    """
    found = _BY_TYPE.get((obj.get("apiVersion", ""), obj.get("kind", "")))
    if found is None:
        raise ValueError(f"unknown kind {obj.get('apiVersion')}/{obj.get('kind')}")
    return found
