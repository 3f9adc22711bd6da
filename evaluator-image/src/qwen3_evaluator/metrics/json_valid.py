"""JSONValid: the answer is JSON that the suite's schema allows."""

import json
from collections.abc import Iterator
from typing import Any

from jsonschema import exceptions as schema_errors
from jsonschema import validators
from jsonschema.protocols import Validator
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY

from qwen3_api.job.evaluate import EvalSuite
from qwen3_api.metrics import Metric
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.metrics.registry import Score, scorer
from qwen3_evaluator.metrics.text import matches
from qwen3_evaluator.questions import Question


@scorer(Metric.JSON_VALID)
def json_valid(suite: EvalSuite) -> Score:
    """1 for JSON that the schema allows, else 0. Raises FailureError: it is no schema."""
    validator = build_validator(suite.name, suite.json_schema or "true")

    def score(_: Question, answer: str) -> float:
        try:
            return float(is_valid_json(answer, validator))
        except (TimeoutError, RecursionError, Unresolvable) as error:
            raise FailureError(
                Reason.INVALID_SPEC,
                f"suite {suite.name}: jsonSchema can't be applied to an answer of {len(answer)} "
                f"characters: {type(error).__name__}: {error}",
                hint="A pattern takes exponential time, or a $ref goes round in circles.",
            ) from error

    return score


def build_validator(suite: str, schema: str) -> Validator:
    """The validator of a JSON schema (draft by its $schema, else 2020-12).

    It loads nothing from anywhere, and its `pattern` can't take for ever. Raises FailureError:
    the text is no JSON schema, or refers to another document.
    """
    try:
        document = json.loads(schema)
        if not isinstance(document, dict | bool):
            raise ValueError("it is neither an object nor true or false")
        kind: Any = validators.validator_for(document, default=validators.Draft202012Validator)
        kind.check_schema(document, format_checker=kind.FORMAT_CHECKER)
        guarded = _extend(kind, {"pattern": _check_pattern})
        # Without a registry of its own jsonschema fetches what $ref names.
        validator: Validator = guarded(document, registry=EMPTY_REGISTRY)
        resource: Resource[Any] = Resource.from_contents(document, DRAFT202012)
        resolver = EMPTY_REGISTRY.with_resource("", resource).resolver()
        for reference in _find_references(document):
            if not reference.startswith("#"):
                raise ValueError(f"$ref {reference} is outside of the schema")
            resolver.lookup(reference)
    except schema_errors.SchemaError as error:
        raise _bad_schema(suite, f"{error.json_path}: {error.message}") from error
    except (ValueError, RecursionError, Unresolvable) as error:
        raise _bad_schema(suite, f"{type(error).__name__}: {error}") from error
    return validator


_extend: Any = validators.extend  # untyped in its stubs


def _bad_schema(suite: str, complaint: str) -> FailureError:
    return FailureError(
        Reason.INVALID_SPEC,
        f"suite {suite}: jsonSchema is no JSON schema that can be used: {complaint}",
        hint="It must be JSON text, a valid schema, and refer to nothing but its own parts (#/…).",
    )


def _find_references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, child in node.items():
            if name in ("$ref", "$dynamicRef") and isinstance(child, str):
                yield child
            yield from _find_references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _find_references(child)


def _check_pattern(
    validator: Validator, pattern: str, instance: object, schema: object
) -> Iterator[schema_errors.ValidationError]:
    """`pattern`, with an end. Raises TimeoutError."""
    if isinstance(instance, str) and not matches(pattern, instance):
        yield schema_errors.ValidationError("does not match")


def is_valid_json(answer: str, validator: Validator) -> bool:
    """Whether the whole answer is JSON that the schema allows: no code fence, no NaN."""
    try:
        document = json.loads(answer, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return validator.is_valid(document)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
