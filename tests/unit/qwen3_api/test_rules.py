"""The table of API cases against the models. `tests/integration/test_admission.py` puts the same
cases to a real API server."""

from collections.abc import Iterator

import pytest

from qwen3_api.kinds import KINDS, ResourceKind, object_schema
from qwen3_api.structural import walk
from qwen3_api.v1alpha1.meta import NAME_RULES
from support.api_boundaries import (
    SAMPLES,
    boundary_cases,
    covered_paths,
    duplicate_cases,
    patterns_of,
    required_cases,
    samples_by_pattern,
)
from support.api_cases import (
    CASES,
    MULTIPLE,
    TRANSITIONS,
    Refusal,
    model_refusals,
    model_transition_refusals,
)
from support.api_evaluation_cases import (
    CRON,
    GATES_BASELINE,
    GATES_MEASURED,
    GATES_OWN_BASELINE,
)
from support.api_objects import ApiCase, TransitionCase
from support.api_scorer_cases import FIELDS_ONLY, UNKNOWN_SCORER

DERIVED = [*boundary_cases(), *duplicate_cases(), *required_cases()]


BETWEEN = (
    ("microBatchSize", MULTIPLE),  # its upper bound is over the full object's batch
    ("suites[", GATES_MEASURED),  # another name than the gates know
    ("gates[", GATES_MEASURED),
    ("gates[", GATES_BASELINE),
    ("gates[", GATES_OWN_BASELINE),
    ("baselines[", GATES_BASELINE),
    ("schedule.cron", CRON),
    ("weave.scorers[", UNKNOWN_SCORER),
    ("weave.scorers[", FIELDS_ONLY),
)
"""Places in a full object, and the rule between fields that refuses what is in their bounds."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: ApiCase) -> None:
    refusals = model_refusals(case.kind, case.object_name, case.spec)
    if case.blamed is None:
        assert refusals == []
    elif case.message is None:
        assert case.blamed in {refusal.path for refusal in refusals}
    else:
        assert Refusal(case.blamed, case.message) in refusals


@pytest.mark.parametrize("case", TRANSITIONS, ids=lambda case: case.name)
def test_transition(case: TransitionCase) -> None:
    refusals = model_transition_refusals(case)
    assert refusals == (
        [Refusal(case.blamed, case.message)] if case.blamed and case.message else []
    )


@pytest.mark.parametrize(
    "case", [case for case in DERIVED if case.blamed], ids=lambda case: case.name
)
def test_value_over_a_bound_is_refused(case: ApiCase) -> None:
    paths = {refusal.path for refusal in model_refusals(case.kind, case.object_name, case.spec)}
    assert case.blamed in paths


@pytest.mark.parametrize(
    "case",
    [case for case in DERIVED if not case.blamed and "-is-" not in case.name],
    ids=lambda case: case.name,
)
def test_value_within_its_bounds_is_taken(case: ApiCase) -> None:
    refusals = model_refusals(case.kind, case.object_name, case.spec)
    between = {message for place, message in BETWEEN if place in case.name}
    assert [r for r in refusals if r.message not in between] == []


def _rule_messages() -> Iterator[tuple[str, str]]:
    """(message, CEL) of all rules of both kinds, as the CRDs have them."""
    for kind in KINDS:
        found: list[tuple[str, str]] = []
        walk(
            object_schema(kind),
            "",
            lambda _, node, found=found: found.extend(  # type: ignore[misc]
                (rule["message"], rule["rule"]) for rule in node.get("x-kubernetes-validations", ())
            ),
        )
        yield from found


def test_every_rule_has_a_refused_case() -> None:
    refused = {case.message for case in CASES} | {case.message for case in TRANSITIONS}
    assert {message for message, _ in _rule_messages()} <= refused


def test_every_message_of_a_case_is_that_of_a_rule() -> None:
    known = {message for message, _ in _rule_messages()} | {rule.message for rule in NAME_RULES}
    messages = {case.message for case in CASES} | {case.message for case in TRANSITIONS}
    assert messages - {None} <= known


def test_every_pattern_has_samples() -> None:
    patterns = {pattern for kind in KINDS for pattern in patterns_of(kind).values()}
    assert patterns == set(samples_by_pattern())
    assert len(SAMPLES) == len(patterns)


# The other member of a union, or a type whose fields are tried at another place.
TRIED_ELSEWHERE = {
    "spec.method.dpo",
    "spec.dataset.train.configMap",
    "spec.dataset.validation.s3",
    "spec.hyperparameters.epochs",
    "spec.promotion.rollbackTo",
    "spec.target.adapter",
    "spec.target.endpoint",
    "spec.target.fineTune.revision",
    "spec.evaluation.suites.questions.data",
    "spec.evaluation.suites[].evalScope.data",
    "spec.evaluation.suites[].evalScope.examples",
    "spec.suites[].evalScope.data",
    "spec.suites[].evalScope.examples",
    "spec.output.s3.endpoint",
    "spec.output.s3.region",
    "spec.output.s3.credentialsSecretRef",
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_derived_cases_reach_every_field(kind: ResourceKind) -> None:
    paths: list[str] = []
    walk(object_schema(kind)["properties"]["spec"], "spec", lambda path, _: paths.append(path))
    missed = {
        path
        for path in set(paths) - covered_paths(kind)
        if not any(path == other or path.startswith(f"{other}.") for other in TRIED_ELSEWHERE)
    }
    assert missed == set()


def test_case_names_are_unique() -> None:
    names = [case.name for case in CASES] + [case.name for case in TRANSITIONS]
    assert len(names) == len(set(names))
