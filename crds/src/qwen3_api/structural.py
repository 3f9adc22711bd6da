"""From a pydantic model to a structural OpenAPI v3 schema of a CustomResourceDefinition. Pure.

pydantic's JSON Schema has words that a structural schema refuses, drops or restricts ($ref, const,
anyOf with null, `additionalProperties: false`, null defaults). Each is translated here; any word
that isn't known raises, so that a constraint never vanishes on its way to the API server.
"""

from collections.abc import Callable
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from qwen3_api.v1alpha1.meta import KubeModel, Rule, TransitionRule

Schema = dict[str, Any]


class UnsupportedSchemaError(Exception):
    """The model uses something that has no place in a structural schema."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


# Words that mean nothing to the API server.
_DROPPED = {"title", "$defs"}
# Words that are copied, in this order, by type.
_COPIED: dict[str, tuple[str, ...]] = {
    "object": ("maxProperties", "minProperties", "x-kubernetes-map-type"),
    "array": (
        "maxItems",
        "minItems",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
    ),
    "string": ("format", "enum", "pattern", "maxLength", "minLength"),
    "integer": ("format", "enum", "minimum", "maximum"),
    "boolean": ("enum",),
}
# A number or a text: each word applies to values of its own kind.
_NUMBER_OR_STRING = ["number", "string"]
_OF_NUMBER_OR_STRING = (
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "pattern",
    "maxLength",
)
NUMBER_OR_STRING_NOTE = "A number, or a string that holds one."
"""Ends the description of such a field: `kubectl explain` calls whatever has no type an Object."""
_FORMATS = {"date-time"}
_COMMON = {"type", "description", "default", "x-kubernetes-validations"}
_TRANSLATED: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items"},
    "string": {"const"},
    "integer": {"const"},
    "boolean": {"const"},
}
_INT32_MAX = 2_147_483_647


class _WithRules(GenerateJsonSchema):
    """pydantic's generator, which also writes each model's rules beside its properties."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json_schema = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, KubeModel) and (found := model.rules + model.transition_rules):
            json_schema["x-kubernetes-validations"] = [validation(rule) for rule in found]
        return json_schema

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        """Leaves the order as written: it is the order that people read."""
        return value


def validation(rule: Rule | TransitionRule) -> dict[str, str]:
    """The entry of `x-kubernetes-validations` for a rule."""
    entry = {"rule": rule.cel, "message": rule.message}
    if rule.field_path:
        entry["fieldPath"] = rule.field_path
    return entry


def structural_schema(model: type[KubeModel]) -> Schema:
    """The structural schema of a model with everything it refers to in place.

    Raises UnsupportedSchemaError, naming the path, on any keyword, format or shape that has no
    known translation.
    """
    document = model.model_json_schema(schema_generator=_WithRules)
    return _Converter(document.get("$defs", {})).convert(document, model.__name__, ())


class _Converter:
    """Conversion of one document; `definitions` are its $defs."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def convert(self, node: Schema, path: str, open_refs: tuple[str, ...]) -> Schema:
        """One node. `open_refs` are the references on the way here, to notice recursion."""
        node, open_refs = self._resolved(node, path, open_refs)
        if node.get("type") == _NUMBER_OR_STRING:
            return _number_or_string(node, path)
        kind = node.get("type")
        if kind not in _COPIED:
            raise UnsupportedSchemaError(path, f"type {kind!r} can't be in a custom resource")
        known = _COMMON | _DROPPED | set(_COPIED[kind]) | _TRANSLATED[kind]
        if unknown := sorted(node.keys() - known):
            raise UnsupportedSchemaError(path, f"unknown keyword {unknown[0]!r} of a {kind}")
        if (name := node.get("format")) is not None and name not in _FORMATS:
            raise UnsupportedSchemaError(path, f"unknown format {name!r}")

        out: Schema = {}
        if "description" in node:
            out["description"] = _flowing(node["description"])
        out["type"] = kind
        out |= {word: node[word] for word in _COPIED[kind] if word in node}
        if "const" in node:
            out["enum"] = [node["const"]]
        if kind == "integer":
            out["format"] = "int32" if abs(node.get("maximum", 2**62)) <= _INT32_MAX else "int64"
        if kind == "array":
            out |= self._array(node, path, open_refs)
        if kind == "object":
            out |= self._object(node, path, open_refs)
        if "default" in node:
            out["default"] = _shortest_default(out, node["default"])
        if "x-kubernetes-validations" in node:
            # The API server runs rules over the default as it stands, without inner defaults.
            if "default" in out:
                out["default"] = full_default(out)
            out["x-kubernetes-validations"] = node["x-kubernetes-validations"]
        return out

    def _resolved(
        self, node: Schema, path: str, open_refs: tuple[str, ...]
    ) -> tuple[Schema, tuple[str, ...]]:
        """The node without $ref and without `anyOf: [X, null]`; what stands beside them wins."""
        while "$ref" in node or "anyOf" in node:
            beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
            if "anyOf" in node:
                options = [option for option in node["anyOf"] if option != {"type": "null"}]
                if len(options) != 1 or len(node["anyOf"]) != 2:
                    raise UnsupportedSchemaError(path, "a union must be an optional value")
                if beside.get("default", ...) is None:
                    del beside["default"]
                node = options[0] | beside
                continue
            name = node["$ref"].removeprefix("#/$defs/")
            if name in open_refs:
                raise UnsupportedSchemaError(path, f"{name} contains itself")
            open_refs = (*open_refs, name)
            node = self._definitions[name] | beside
        return node, open_refs

    def _array(self, node: Schema, path: str, open_refs: tuple[str, ...]) -> Schema:
        if "items" not in node:
            raise UnsupportedSchemaError(path, "an array needs a type of its items")
        return {
            "x-kubernetes-list-type": node.get("x-kubernetes-list-type", "atomic"),
            "items": self.convert(node["items"], f"{path}[]", open_refs),
        }

    def _object(self, node: Schema, path: str, open_refs: tuple[str, ...]) -> Schema:
        additional = node.get("additionalProperties", False)
        if isinstance(additional, dict):
            if "properties" in node:
                raise UnsupportedSchemaError(path, "an object has fields or is a map, not both")
            values = self.convert(additional, f"{path}{{}}", open_refs)
            return {"additionalProperties": values}
        if additional is True or "properties" not in node:
            raise UnsupportedSchemaError(path, "a free-form object can't be checked")
        # additionalProperties: false is the API server's own behaviour: strict or pruned.
        fields = {
            name: self.convert(field, f"{path}.{name}", open_refs)
            for name, field in node["properties"].items()
        }
        required = {"required": node["required"]} if node.get("required") else {}
        return required | {"properties": fields}


def _number_or_string(node: Schema, path: str) -> Schema:
    """A field for 2e-4 as well as "2e-4".

    A structural schema can't list two types, and only objects without a type may keep what isn't
    specified. So there is no type, and what else JSON has is refused value by value.
    """
    known = {"type", "description", "default", *_DROPPED, *_OF_NUMBER_OR_STRING}
    if unknown := sorted(node.keys() - known):
        raise UnsupportedSchemaError(path, f"unknown keyword {unknown[0]!r} of a number or string")
    description = _flowing(node.get("description", ""))
    out: Schema = {"description": f"{description} {NUMBER_OR_STRING_NOTE}".strip()}
    out["x-kubernetes-preserve-unknown-fields"] = True
    for bound in ("minimum", "maximum"):
        if bound in node:
            out[bound] = node[bound]
        # A flag in OpenAPI 3.0, a number in JSON Schema.
        if (exclusive := f"exclusive{bound.capitalize()}") in node:
            out |= {bound: node[exclusive], exclusive: True}
    out |= {word: node[word] for word in ("pattern", "maxLength") if word in node}
    out |= {"not": {"enum": [True, False]}}
    out |= {"minProperties": 1, "maxProperties": 0, "minItems": 1, "maxItems": 0}
    if "default" in node:
        out["default"] = node["default"]
    return out


def is_number_or_string(schema: Schema) -> bool:
    """The field takes a JSON number as well as a text of one: it has no type."""
    return "type" not in schema


def _flowing(text: str) -> str:
    """A docstring as paragraphs of one line each."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def full_default(schema: Schema) -> Any:
    """The value that the API server puts for a missing field, with its inner fields."""
    return with_defaults(schema, schema["default"])


def with_defaults(schema: Schema, value: Any) -> Any:
    """The value after structural defaulting, as the API server does it."""
    if is_number_or_string(schema):
        return value
    if schema["type"] == "array":
        return [with_defaults(schema["items"], item) for item in value]
    if schema["type"] != "object":
        return value
    if "additionalProperties" in schema:
        return {key: with_defaults(schema["additionalProperties"], v) for key, v in value.items()}
    filled = {
        name: full_default(field)
        for name, field in schema["properties"].items()
        if "default" in field and name not in value
    }
    return filled | {k: with_defaults(schema["properties"][k], v) for k, v in value.items()}


def _shortest_default(schema: Schema, default: Any) -> Any:
    """The default without what the inner fields' own defaults say; often `{}`."""
    value = _without_nulls(default)
    if "properties" not in schema:
        return value
    return {
        name: _shortest_default(field, value[name])
        for name, field in schema["properties"].items()
        if name in value and not ("default" in field and full_default(field) == value[name])
    }


def walk(schema: Schema, path: str, visit: Callable[[str, Schema], None]) -> None:
    """Calls `visit(path, node)` for every node: `spec.suites[].name`, `spec.nodeSelector{}`."""
    visit(path, schema)
    for name, field in schema.get("properties", {}).items():
        walk(field, f"{path}.{name}", visit)
    if "items" in schema:
        walk(schema["items"], f"{path}[]", visit)
    if "additionalProperties" in schema:
        walk(schema["additionalProperties"], f"{path}{{}}", visit)
