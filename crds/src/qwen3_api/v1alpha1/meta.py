"""Parts of every API model: the base class, cross-field rules, and the shared types.

A cross-field rule is written once, as a pair: the CEL text that the API server runs at admission
and the Python check that pydantic runs when the operator parses an object. `structural.py` puts the
first into the CRD; `KubeModel` runs the second. One table test drives both, so they can't disagree.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

GROUP = "qwen3.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class Rule:
    """A cross-field rule of one model.

    cel: the expression for `x-kubernetes-validations`, true when the object is good.
    message: what the user reads; names the field and the fix.
    check: the same rule over the parsed model; true when it is good.
    field_path: the field to blame, in CRD spelling (".maxSteps").
    """

    cel: str
    message: str
    check: Callable[[Any], bool]
    field_path: str | None = None


@dataclass(frozen=True)
class TransitionRule:
    """A rule over an update: CEL that names `oldSelf`, and the same over (new, old)."""

    cel: str
    message: str
    check: Callable[[Any, Any], bool]
    field_path: str | None = None


class KubeModel(BaseModel):
    """Base of every API model: camelCase on the wire, unknown fields refused, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    transition_rules: ClassVar[tuple[TransitionRule, ...]] = ()

    @model_validator(mode="after")
    def _run_rules(self) -> Self:
        for rule in self.rules:
            if not rule.check(self):
                where = f"{rule.field_path}: " if rule.field_path else ""
                raise ValueError(f"{where}{rule.message}")
        return self

    def to_wire(self) -> dict[str, Any]:
        """The object as JSON for the API server: camelCase, unset optionals left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(KubeModel):
    """Base of status models: an older operator must be able to read a newer one's status."""

    model_config = ConfigDict(extra="ignore")


def _refuse_duplicates(keys: Iterable[object]) -> None:
    seen: set[object] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"Duplicate value: {key}")
        seen.add(key)


@dataclass(frozen=True)
class ListMap:
    """Marks a list of objects that are unique by one field (`x-kubernetes-list-type: map`).

    key: the field, required in every item and spelt alike in Python and on the wire.
    """

    key: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [self.key],
        }

    def _check(self, items: list[Any]) -> list[Any]:
        _refuse_duplicates(getattr(item, self.key) for item in items)
        return items


@dataclass(frozen=True)
class ListSet:
    """Marks a list of unique scalars (`x-kubernetes-list-type: set`)."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"x-kubernetes-list-type": "set"}

    def _check(self, items: list[Any]) -> list[Any]:
        _refuse_duplicates(items)
        return items


ATOMIC = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})
"""Config of a model that server-side apply replaces as a whole, like core/v1's references."""

MAX_NAME_LENGTH = 40  # children add suffixes, and a Job name is a label value of at most 63

NAME_RULES: tuple[Rule, ...] = (
    Rule(
        cel=f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
        message=f"metadata.name must have at most {MAX_NAME_LENGTH} characters, "
        "because the names of its Jobs and pods are built from it",
        check=lambda name: len(name) <= MAX_NAME_LENGTH,
        field_path=".metadata.name",
    ),
    Rule(
        cel="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message="metadata.name must start with a letter and hold lower-case letters, digits and "
        "dashes only",
        check=lambda name: re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) is not None,
        field_path=".metadata.name",
    ),
)
"""Rules of metadata.name in every kind; their check takes the name."""


def _check_timestamp(text: str) -> str:
    """The API server refuses a status with a date that isn't one; so does the model."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", text):
        raise ValueError("must be an RFC 3339 time")
    datetime.fromisoformat(text)
    return text


DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
DnsSubdomain = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253
    ),
]
ModelAlias = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=120)]
S3Uri = Annotated[
    str,
    Field(
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[A-Za-z0-9][A-Za-z0-9_=.\-/]*$",
        max_length=1024,
    ),
]
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", max_length=63)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", max_length=253)]
ShortText = Annotated[str, Field(max_length=128)]
Message = Annotated[str, Field(max_length=1024)]
Timestamp = Annotated[
    str,
    AfterValidator(_check_timestamp),
    Field(json_schema_extra={"format": "date-time"}, max_length=40),
]


class ConditionStatus(StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """One condition, as in the Kubernetes API conventions."""

    type: Annotated[str, Field(max_length=64)]
    """type of the condition, a CamelCase word."""
    status: ConditionStatus
    """status is True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """observedGeneration is the metadata.generation that this condition describes."""
    last_transition_time: Timestamp
    """lastTransitionTime is when the status last changed."""
    reason: Annotated[str, Field(max_length=64)]
    """reason is one CamelCase word of the documented vocabulary."""
    message: Message = ""
    """message explains the reason to a user, with the fix if there is one."""


class LocalObjectReference(KubeModel):
    """A named object in the namespace of the resource."""

    model_config = ATOMIC

    name: DnsSubdomain
    """name of the object in this namespace."""
