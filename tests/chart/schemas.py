"""JSON schemas for kubeconform, made from what an API server says that it serves.

The usual ones are downloaded from GitHub. These are of the very version that we test against, and
know our custom resources and those of the Prometheus operator as well.
"""

import json
from pathlib import Path
from typing import Any

REFERENCE = "#/definitions/"


def write_schemas(openapi: dict[str, Any], folder: Path) -> str:
    """One strict schema per kind, `<kind>-<group>-<version>.json` in lower case.

    openapi: the document at /openapi/v2.
    Returns the template that kubeconform finds them by.
    """
    definitions = {
        name: _strict(name, definition) for name, definition in openapi["definitions"].items()
    }
    (folder / "definitions.json").write_text(json.dumps({"definitions": definitions}))
    for name, definition in openapi["definitions"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            # kubeconform drops everything after the first dot of a group.
            parts = [kind["kind"], *kind["group"].split(".")[:1], kind["version"]]
            file = "-".join(part.lower() for part in parts if part) + ".json"
            reference = {"$ref": f"definitions.json{REFERENCE}{name}"}
            (folder / file).write_text(json.dumps(reference))
    return f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


def _strict(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """The definition with unknown properties refused, as `kubectl --validate=strict` does."""
    if name.endswith("util.intstr.IntOrString"):
        # The document calls it a string; both are served.
        return {"type": ["integer", "string"]}
    if name.endswith("api.resource.Quantity"):
        return {"type": ["number", "string"]}
    return _close(definition)


def _close(node: dict[str, Any]) -> dict[str, Any]:
    closed = dict(node)
    if node.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
        closed.pop("format", None)
    if "properties" in node:
        closed["properties"] = {key: _close(child) for key, child in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            closed[key] = _close(node[key])
    return closed
