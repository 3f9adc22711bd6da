"""The kinds of object that the operator works with."""

from collections.abc import Mapping
from typing import Any

from qwen3_api.v1alpha1 import evaluation, finetune
from qwen3_api.v1alpha1.meta import GROUP, VERSION
from qwen3_operator.controller.kind import Kind, Kinds
from qwen3_operator.resources import keys
from qwen3_operator.resources.labels import (
    FIELD_MANAGER,
    LABEL_EVAL,
    LABEL_FINE_TUNE,
    LABEL_MANAGED,
    LABEL_POOL,
    LABEL_SCHEDULE,
)

CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
POD = Kind("Pod", "", "v1", "pods")
SERVICE = Kind("Service", "", "v1", "services")
JOB = Kind("Job", "batch", "v1", "jobs")
DEPLOYMENT = Kind("Deployment", "apps", "v1", "deployments")
POD_DISRUPTION_BUDGET = Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets")
NETWORK_POLICY = Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies")
FINE_TUNE = Kind(finetune.KIND, GROUP, VERSION, finetune.PLURAL)
EVALUATION = Kind(evaluation.KIND, GROUP, VERSION, evaluation.PLURAL)

KINDS = Kinds(
    custom={FINE_TUNE: keys.FINE_TUNE, EVALUATION: keys.EVAL},
    children=(JOB, POD, DEPLOYMENT, SERVICE, CONFIG_MAP),
    applied=(POD_DISRUPTION_BUDGET, NETWORK_POLICY),
    owner_labels={
        LABEL_FINE_TUNE: keys.FINE_TUNE,
        LABEL_EVAL: keys.EVAL,
        LABEL_POOL: keys.POOL,
        LABEL_SCHEDULE: keys.EVAL,
    },
    managed_label=LABEL_MANAGED,
    field_manager=FIELD_MANAGER,
    domain=GROUP,
)
"""The kinds that this operator's controller works with."""


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """The kind of a manifest; raises ValueError for a kind that isn't in KINDS."""
    return KINDS.of(obj)
