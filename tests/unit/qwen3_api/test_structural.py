"""The converter: what it translates, and that it raises on all else."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from qwen3_api.kinds import KINDS
from qwen3_api.structural import (
    UnsupportedSchemaError,
    full_default,
    structural_schema,
    with_defaults,
)
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.meta import ATOMIC, KubeModel, ListMap, ListSet, Rule, TransitionRule
from qwen3_api.v1alpha1.numbers import FractionString, NumberOrString
from support.api_objects import FULL, MINIMAL


class Colour(StrEnum):
    """A colour."""

    RED = "Red"
    BLUE = "Blue"


class Inner(KubeModel):
    """Inner object."""

    size: Annotated[int, Field(ge=1, le=10)] = 3
    """size of it."""
    label: Annotated[str, Field(max_length=5, pattern="^[a-z]+$")] | None = None
    """label on
    it."""


class Ruled(KubeModel):
    """Object with rules."""

    first_half: int = 1
    """firstHalf of it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.firstHalf > 0", "firstHalf is small", lambda m: m.first_half > 0, ".firstHalf"),
    )
    transition_rules: ClassVar[tuple[TransitionRule, ...]] = (
        TransitionRule("self == oldSelf", "fixed", lambda new, old: new == old),
    )


def field(annotation: Any, **default: Any) -> dict[str, Any]:
    """The schema of a field of this type."""
    namespace = {"__annotations__": {"it": annotation}, "__module__": __name__, **default}
    model = type("Model", (KubeModel,), namespace)
    found: dict[str, Any] = structural_schema(model)["properties"]["it"]
    return found


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bool, {"type": "boolean"}),
        (int, {"type": "integer", "format": "int64"}),
        (
            Annotated[int, Field(ge=0, le=16)],
            {"type": "integer", "format": "int32", "minimum": 0, "maximum": 16},
        ),
        (Annotated[int, Field(le=2**31)], {"type": "integer", "format": "int64", "maximum": 2**31}),
        (Annotated[str, Field(max_length=4)], {"type": "string", "maxLength": 4}),
        (
            FractionString,
            {
                "description": "A number, or a string that holds one.",
                "x-kubernetes-preserve-unknown-fields": True,
                "minimum": 0,
                "maximum": 1,
                "pattern": r"^(0(\.[0-9]+)?|1(\.0+)?)$",
                "maxLength": 128,
                "not": {"enum": [True, False]},
                "minProperties": 1,
                "maxProperties": 0,
                "minItems": 1,
                "maxItems": 0,
            },
        ),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (Literal[8, 16], {"type": "integer", "enum": [8, 16], "format": "int64"}),
        (Colour, {"description": "A colour.", "type": "string", "enum": ["Red", "Blue"]}),
        (
            Annotated[dict[str, bool], Field(max_length=2)],
            {
                "type": "object",
                "maxProperties": 2,
                "additionalProperties": {"type": "boolean"},
            },
        ),
        (
            list[bool],
            {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "boolean"}},
        ),
        (
            Annotated[list[Colour], ListSet()],
            {
                "type": "array",
                "x-kubernetes-list-type": "set",
                "items": {"description": "A colour.", "type": "string", "enum": ["Red", "Blue"]},
            },
        ),
    ],
)
def test_type(annotation: Any, expected: dict[str, Any]) -> None:
    assert field(annotation) == expected


def test_optional_is_a_plain_field_that_is_not_required() -> None:
    schema = structural_schema(Inner)
    assert "required" not in schema
    assert schema["properties"]["label"] == {
        "description": "label on it.",
        "type": "string",
        "pattern": "^[a-z]+$",
        "maxLength": 5,
    }
    assert field(Inner | None, it=None)["type"] == "object"


def test_bounds_of_a_number_are_exclusive_by_a_flag() -> None:
    """OpenAPI 3.0, where JSON Schema has a number."""
    kind = Annotated[str, NumberOrString("^[0-9]+$", below=3, positive=True)]
    schema = field(kind | None, it=None)
    assert (schema["minimum"], schema["exclusiveMinimum"]) == (0, True)
    assert (schema["maximum"], schema["exclusiveMaximum"]) == (3, True)
    assert "default" not in schema
    assert field(kind, it="1")["default"] == "1"


def test_list_map_names_its_key() -> None:
    schema = field(Annotated[list[Inner], ListMap("size")])
    assert schema["x-kubernetes-list-type"] == "map"
    assert schema["x-kubernetes-list-map-keys"] == ["size"]
    assert schema["items"]["properties"]["size"]["default"] == 3


def test_atomic_object() -> None:
    class Reference(KubeModel):
        """Reference."""

        model_config = ATOMIC
        name: str

    assert structural_schema(Reference)["x-kubernetes-map-type"] == "atomic"


def test_nested_defaults_are_left_to_the_inner_fields() -> None:
    assert field(Inner, it=Inner())["default"] == {}
    assert field(Inner, it=Inner(size=4))["default"] == {"size": 4}
    assert full_default(field(Inner, it=Inner(size=4))) == {"size": 4}
    assert full_default(field(Inner, it=Inner())) == {"size": 3}


def test_default_of_a_ruled_object_is_whole() -> None:
    """The API server runs the rule over the default as written, so it needs the fields."""
    assert field(Ruled, it=Ruled())["default"] == {"firstHalf": 1}


def test_rules_become_validations() -> None:
    assert structural_schema(Ruled)["x-kubernetes-validations"] == [
        {
            "rule": "self.firstHalf > 0",
            "message": "firstHalf is small",
            "fieldPath": ".firstHalf",
        },
        {"rule": "self == oldSelf", "message": "fixed"},
    ]
    assert field(Ruled | None, it=None)["x-kubernetes-validations"][1]["message"] == "fixed"


class Recursive(KubeModel):
    """Contains itself."""

    inner: "Recursive | None" = None


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        (float, "'number'"),
        (Any, "None"),
        (set[str], "uniqueItems"),
        (tuple[int, str], "an array needs|maxItems|prefixItems"),
        (int | str, "union"),
        (int | str | None, "union"),
        (dict[str, Any], "free-form"),
        (dict[str, float], "'number'"),
        (list[float], "'number'"),
        (Annotated[int, Field(gt=0)], "exclusiveMinimum"),
        (Annotated[int, Field(multiple_of=2)], "multipleOf"),
        (Annotated[str, Field(json_schema_extra={"format": "uuid"})], "format 'uuid'"),
        (Annotated[str, Field(json_schema_extra={"x-kubernetes-nonsense": 1})], "nonsense"),
        (Annotated[str, Field(examples=["a"])], "examples"),
        (dict[Annotated[str, Field(max_length=3)], str], "propertyNames"),
        (Literal["a", 1], "None"),
        (Annotated[FractionString, Field(json_schema_extra={"examples": [0.5]})], "examples"),
        (Recursive, "contains itself"),
    ],
)
def test_anything_else_raises_and_names_the_field(annotation: Any, problem: str) -> None:
    with pytest.raises(UnsupportedSchemaError, match=rf"Model\.it.*({problem})"):
        field(annotation)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("objects", [MINIMAL, FULL], ids=["minimal", "full"])
def test_defaults_of_schema_and_model_are_the_same(kind: Any, objects: Any) -> None:
    """One source: what the API server fills in is what pydantic fills in."""
    spec = objects[kind.kind]
    filled = with_defaults(structural_schema(kind.spec), spec)
    assert filled == kind.spec.model_validate(spec).to_wire()


def test_schema_is_pure() -> None:
    assert structural_schema(FineTuneSpec) == structural_schema(FineTuneSpec)
