"""Training methods: what is declared once reaches API, contract, trainer and documentation."""

import ast
from pathlib import Path

import pytest

from qwen3_api.job.train import TrainJob
from qwen3_api.methods import METHODS, Method, MethodSpec, MethodType, canonicalize, job_sections
from qwen3_api.v1alpha1.numbers import NumberOrString

ROOT = Path(__file__).parents[3]
EACH = pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)


def test_every_type_is_declared() -> None:
    assert set(METHODS) == set(MethodType)


@EACH
def test_spec_has_the_settings_of_the_method(method: Method) -> None:
    if method.settings is None:
        assert method.key not in MethodSpec.model_fields
        return
    assert MethodSpec.model_fields[method.key].annotation == method.settings | None


@EACH
def test_order_has_the_section_of_the_method(method: Method) -> None:
    sections = job_sections(MethodSpec(type=MethodType(method.name)))
    assert set(sections) == ({method.key} if method.resolve else set())
    for key, section in sections.items():
        assert TrainJob.model_fields[key].annotation == type(section) | None


@EACH
def test_decimals_are_those_of_the_settings(method: Method) -> None:
    fields = method.settings.model_fields if method.settings else {}
    decimals = {
        field.alias or name
        for name, field in fields.items()
        if any(isinstance(mark, NumberOrString) for mark in field.metadata)
    }
    assert set(method.decimals) == decimals


@EACH
def test_defaults_written_down_mean_the_same(method: Method) -> None:
    plain: dict[str, object] = {"type": method.name}
    written = MethodSpec(type=MethodType(method.name)).to_wire()
    if method.settings is not None:
        written[method.key] = method.settings().to_wire()
    for wire in (plain, written):
        canonicalize(wire)
    assert plain == written


def test_decimals_are_written_alike() -> None:
    wire = {"type": "DPO", "dpo": {"beta": "1e-1", "lossType": "Sigmoid"}}
    canonicalize(wire)
    assert wire["dpo"] == {"beta": "0.1", "lossType": "Sigmoid"}


@EACH
def test_trainer_has_a_module_of_the_method(method: Method) -> None:
    """Read, not imported: it needs TRL."""
    module = ROOT / f"trainer-image/src/qwen3_trainer/methods/{method.key}.py"
    assigned = {
        target.id
        for node in ast.parse(module.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "METHOD" in assigned


def test_trainer_has_no_module_without_a_declaration() -> None:
    folder = ROOT / "trainer-image/src/qwen3_trainer/methods"
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "base"}
    assert modules == {method.key for method in METHODS.values()}


@EACH
def test_documentation_has_a_row_of_the_method(method: Method) -> None:
    page = (ROOT / "docs/reference/training-methods.md").read_text(encoding="utf-8")
    assert f"| `{method.name}` | `{method.rows.value}` |" in page
