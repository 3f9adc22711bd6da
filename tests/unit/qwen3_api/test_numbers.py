"""Numbers of a spec, as JSON numbers and as texts: one text in the models, nothing else taken."""

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from qwen3_api.kinds import EVAL, FINE_TUNE
from qwen3_api.v1alpha1.numbers import (
    LARGEST,
    MAX_LENGTH,
    SMALLEST,
    DecimalString,
    FractionString,
    NumberOrString,
    PositiveDecimalString,
    Quantity,
    decimal_text,
)
from qwen3_api.v1alpha1.suites import Temperature
from support.api_objects import EVAL_MINIMAL, FINE_TUNE_MINIMAL, changed

ANY_FLOAT = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
IN_BOUNDS = st.floats(min_value=SMALLEST, max_value=float(LARGEST))
TYPES = (DecimalString, PositiveDecimalString, FractionString, Quantity, Temperature)


def rules_of(annotation: Any) -> NumberOrString:
    (rules,) = annotation.__metadata__
    assert isinstance(rules, NumberOrString)
    return rules


def parse(annotation: Any, value: Any) -> str:
    parsed: str = TypeAdapter(annotation).validate_python(value)
    return parsed


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2e-4, "0.0002"),
        (5e-05, "0.00005"),
        (1e-7, "0.0000001"),
        (1, "1"),
        (1.0, "1"),
        (10, "10"),
        (100.0, "100"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0, "0"),
        (-0.0, "0"),
        (1e16, "10000000000000000"),
        (68719476736, "68719476736"),
    ],
)
def test_a_number_becomes_its_shortest_plain_text(number: float, text: str) -> None:
    assert parse(DecimalString, number) == text


@given(ANY_FLOAT)
def test_the_text_of_a_float_reads_back_as_it(number: float) -> None:
    text = decimal_text(number)
    assert float(text) == number
    assert re.fullmatch(r"[0-9]+(\.[0-9]*[1-9])?", text)
    for annotation in (DecimalString, PositiveDecimalString):
        assert re.search(rules_of(annotation).pattern, text)


@given(IN_BOUNDS)
def test_a_float_and_its_texts_are_one_value(number: float) -> None:
    text = parse(PositiveDecimalString, number)
    assert float(text) == number
    assert len(text) <= MAX_LENGTH
    # What the operator writes, as into a Qwen3Eval, is taken and stays.
    assert parse(PositiveDecimalString, text) == text
    assert parse(PositiveDecimalString, json.loads(json.dumps(number))) == text
    assert parse(DecimalString, number) == text


@given(st.floats(min_value=SMALLEST, max_value=1))
def test_fractions_and_temperatures_too(number: float) -> None:
    for annotation in (FractionString, Temperature):
        text = parse(annotation, number)
        assert float(text) == number
        assert parse(annotation, text) == text


@given(st.integers(min_value=1, max_value=LARGEST))
def test_integers_are_exact(number: int) -> None:
    assert parse(Quantity, number) == str(number)


@pytest.mark.parametrize("text", ["2e-4", "0.0002", "2E+4", "00.10", "1"])
def test_a_text_stays_as_it_is(text: str) -> None:
    """Digests of stored objects are over it."""
    assert parse(DecimalString, text) == text
    assert parse(PositiveDecimalString, text) == text


@pytest.mark.parametrize("annotation", TYPES)
@pytest.mark.parametrize(
    "value",
    ["abc", "", "nan", "1e999", True, False, None, {}, {"a": 1}, [], [1], -1, -1e-9, 1e19, 10**400,
     1e-100, float("nan"), float("inf")],
    ids=repr,
)  # fmt: skip
def test_nonsense_is_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        parse(annotation, value)


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (PositiveDecimalString, ["1e-5", "0.01", 1e-5], ["0", "0.0", "0e5", "00", 0, 0.0]),
        (FractionString, [0, 1, 1.0, 0.5, "1.0"], [1.1, 2, "1.1"]),
        (Temperature, [0, 0.7, 2, 2.5, "2.5", "0.000000"], [3, 3.5, "3", "0.0000000"]),
        (Quantity, [8, 0.5, 0, "500m", "64Gi"], ["8 cores", "64gi"]),
    ],
)
def test_bounds(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        parse(annotation, value)
    for value in bad:
        with pytest.raises(ValidationError):
            parse(annotation, value)


def test_a_refused_number_is_told_with_its_bounds() -> None:
    with pytest.raises(ValidationError, match="must be a number from 1e-99 to 1e\\+18"):
        parse(PositiveDecimalString, 0)
    with pytest.raises(ValidationError, match="must be 0 or a number from 1e-99 to below 3"):
        parse(Temperature, 3)
    with pytest.raises(ValidationError, match="must be a number, or a string that holds one"):
        parse(Quantity, True)


# --- from YAML ------------------------------------------------------------------------------------


def test_pyyaml_reads_an_exponent_without_a_point_as_text() -> None:
    """YAML 1.1 wants a point and a sign: our loaders give "2e-4" where kubectl gives 0.0002. It is
    one value to the models; `tests/integration/test_admission.py` has what kubectl sends."""
    assert yaml.safe_load("[2e-4, 2.0e-4, .5, 1]") == ["2e-4", 0.0002, 0.5, 1]


def test_a_spec_holds_texts_whatever_was_written() -> None:
    spec = FINE_TUNE.spec.model_validate(
        changed(
            FINE_TUNE_MINIMAL,
            {
                "hyperparameters.learningRate": 2e-4,
                "hyperparameters.weightDecay": 0,
                "adapter.dropout": 0.05,
                "resources": {"cpu": 8, "memory": 68719476736},
            },
        )
    ).to_wire()
    assert spec["hyperparameters"]["learningRate"] == "0.0002"
    assert spec["hyperparameters"]["weightDecay"] == "0"
    assert spec["adapter"]["dropout"] == "0.05"
    assert (spec["resources"]["cpu"], spec["resources"]["memory"]) == ("8", "68719476736")


@pytest.mark.parametrize("temperature", [0, 0.0, "0", "0.0", "0.000000"])
def test_several_greedy_samples_are_refused_however_0_is_written(temperature: Any) -> None:
    generation = {"samples": 2, "temperature": temperature}
    with pytest.raises(ValidationError, match="samples above 1 need a temperature above 0"):
        EVAL.spec.model_validate(changed(EVAL_MINIMAL, {"suites[0].generation": generation}))
