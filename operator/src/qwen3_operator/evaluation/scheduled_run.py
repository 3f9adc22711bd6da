"""A run of a schedule: a Qwen3Eval of its own, with its own Job, report and verdict."""

import hashlib
from datetime import datetime
from typing import Any

from qwen3_api.v1alpha1.evaluation import KIND, EvalSpec
from qwen3_api.v1alpha1.meta import API_VERSION, MAX_NAME_LENGTH
from qwen3_operator.resources.labels import ANNOTATION_SCHEDULED, LABEL_SCHEDULE
from qwen3_operator.resources.pod import build_owner
from qwen3_operator.resources.views import Meta

Manifest = dict[str, Any]
DIGEST = 6


def run_name(meta: Meta, scheduled: datetime) -> str:
    """`<evaluation>-<minutes since 1970>-<digest>`, the evaluation's name cut so that it fits.

    The time alone decides, as with a CronJob's Jobs: planned twice, it is made once. The digest is
    of the schedule's own uid: a namesake's runs of yesterday are none of its.
    """
    minutes = str(int(scheduled.timestamp()) // 60)
    digest = hashlib.sha256(f"{meta.uid} {meta.name}".encode()).hexdigest()[:DIGEST]
    room = MAX_NAME_LENGTH - len(minutes) - DIGEST - 2
    return f"{meta.name[:room].rstrip('-')}-{minutes}-{digest}"


def build_run(meta: Meta, spec: EvalSpec, scheduled: datetime) -> Manifest:
    """The Qwen3Eval of a scheduled time, owned by the one with the schedule."""
    once = spec.model_copy(update={"schedule": None, "suspend": False})
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": run_name(meta, scheduled),
            "namespace": meta.namespace,
            "labels": {
                "app.kubernetes.io/name": "qwen3-finetune",
                LABEL_SCHEDULE: meta.name,
            },
            "annotations": {ANNOTATION_SCHEDULED: f"{scheduled:%Y-%m-%dT%H:%M:%SZ}"},
            "ownerReferences": [build_owner(KIND, meta.name, meta.uid, API_VERSION)],
        },
        "spec": once.to_wire(),
    }
