"""The kinds of object that the operator works with."""

from collections.abc import Mapping
from typing import Any

from qwen3_api.v1alpha1 import evaluation, finetune
from qwen3_api.v1alpha1.meta import GROUP, VERSION
from qwen3_operator.controller.kind import Kind
from qwen3_operator.resources.labels import (
    LABEL_EVAL,
    LABEL_FINE_TUNE,
    LABEL_MANAGED,
    LABEL_POOL,
    LABEL_SCHEDULE,
)

OWNER_LABELS = (LABEL_FINE_TUNE, LABEL_EVAL, LABEL_POOL, LABEL_SCHEDULE)
"""The label that names the object a child is for, in the child's namespace."""

MANAGED_SELECTOR = f"{LABEL_MANAGED}=true"
"""Watches and lists of children select by it, so that a big cluster's own Jobs and Pods are never
mirrored."""


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
