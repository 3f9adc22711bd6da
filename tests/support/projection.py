"""The part of a plan that a golden scenario pins: which manifests, and which changes of status.

Fields that have their default are left out, so that a new field with a default changes no
scenario. Manifests are pinned by a digest here, and whole in tests/golden/manifests.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from qwen3_api.job.evaluate import EvalJob
from qwen3_api.job.export import ExportJob
from qwen3_api.job.preflight import PreflightJob
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.evaluation import EvalSpec
from qwen3_operator.resources.labels import (
    ANNOTATION_ORDER,
    COMPONENT_EXPORT,
    COMPONENT_PREFLIGHT,
    COMPONENT_TRAINER,
    LABEL_COMPONENT,
)

Manifest = Mapping[str, Any]
JOB_SPECS: dict[str, type[BaseModel]] = {
    COMPONENT_TRAINER: TrainJob,
    COMPONENT_PREFLIGHT: PreflightJob,
    COMPONENT_EXPORT: ExportJob,
}


def project_manifest(manifest: Manifest) -> dict[str, str]:
    """Kind, name and a digest of everything in it that isn't a default."""
    text = json.dumps(without_defaults(manifest), sort_keys=True)
    return {
        "kind": manifest["kind"],
        "name": manifest["metadata"]["name"],
        "digest": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def without_defaults(manifest: Manifest) -> dict[str, Any]:
    """A copy whose documents of the contract have no fields with their default."""
    found: dict[str, Any] = json.loads(json.dumps(manifest, default=dict))
    if found["kind"] == "Job":
        template = found["spec"]["template"]["metadata"]
        annotations = template.get("annotations", {})
        if ANNOTATION_ORDER in annotations:
            model = JOB_SPECS[template["labels"][LABEL_COMPONENT]]
            annotations[ANNOTATION_ORDER] = _dump(model, json.loads(annotations[ANNOTATION_ORDER]))
    elif found["kind"] == "ConfigMap" and "job.json" in found["data"]:
        found["data"]["job.json"] = _dump(EvalJob, json.loads(found["data"]["job.json"]))
    elif found["kind"] == "Qwen3Eval":
        found["spec"] = _dump(EvalSpec, found["spec"])
    return found


def _dump(model: type[BaseModel], document: Any) -> dict[str, Any]:
    parsed = model.model_validate(document)
    return parsed.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def project_status(before: BaseModel, after: BaseModel | None) -> dict[str, Any] | None:
    """The fields of status that a plan changes, and the names of those that it drops.

    Conditions are compared by type; other fields are shown whole.
    """
    if after is None:
        return None
    old, new = (
        m.model_dump(mode="json", by_alias=True, exclude_defaults=True) for m in (before, after)
    )
    known = {c["type"]: c for c in old.pop("conditions", ())}
    conditions = new.pop("conditions", ())
    dropped = sorted({*old} - {*new} | {*known} - {c["type"] for c in conditions})
    return {
        "conditions": [c for c in conditions if known.get(c["type"]) != c],
        **{name: value for name, value in new.items() if old.get(name) != value},
        **({"dropped": dropped} if dropped else {}),
    }
