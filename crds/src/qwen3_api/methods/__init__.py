"""Training methods: each has a module that declares it (`base.Method`); this module lists them.

API, planner, trainer and model card read the declarations; nothing else names a method. What needs
TRL is `qwen3_trainer.methods`. CONTRIBUTING.md has a worked example, "Add a training method".
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from qwen3_api.job.base import Document, listed
from qwen3_api.methods.base import Costs, Method, RowKind
from qwen3_api.methods.dpo import DPO, DPOSpec, JobDPO
from qwen3_api.methods.sft import SFT, SFTSpec
from qwen3_api.v1alpha1.meta import KubeModel, Rule

__all__ = [
    "METHODS",
    "Costs",
    "DPOSpec",
    "JobDPO",
    "Method",
    "MethodName",
    "MethodSpec",
    "MethodType",
    "RowKind",
    "SFTSpec",
    "canonicalize",
    "job_sections",
]


class MethodType(StrEnum):
    """Training method."""

    SFT = "SFT"
    DPO = "DPO"


METHODS: Mapping[MethodType, Method] = {MethodType(method.name): method for method in (SFT, DPO)}

MethodName = Annotated[MethodType, listed(MethodType, "Method")]
"""The method in a document of the contract."""


def _section_rule(method: Method) -> Rule:
    """The settings of a method go with that method only."""
    return Rule(
        cel=f"!has(self.{method.key}) || self.type == '{method.name}'",
        message=f"method.{method.key} goes with type {method.name} only",
        check=lambda m: getattr(m, method.key) is None or m.type == method.name,
        field_path=f".{method.key}",
    )


class MethodSpec(KubeModel):
    """Training method and its settings."""

    type: MethodType = MethodType.SFT
    """type of the method: SFT on answers, or DPO on pairs of a chosen and a rejected answer."""
    sft: SFTSpec | None = None
    """sft settings; only with type SFT."""
    dpo: DPOSpec | None = None
    """dpo settings; only with type DPO."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(
        _section_rule(method) for method in METHODS.values() if method.settings is not None
    )


def job_sections(spec: MethodSpec) -> dict[str, Any]:
    """The fields of `TrainJob` that hold the settings of its method, defaults filled in."""
    method = METHODS[spec.type]
    if method.settings is None or method.resolve is None:
        return {}
    section: Document = method.resolve(getattr(spec, method.key) or method.settings())
    return {method.key: section}


def canonicalize(wire: dict[str, Any]) -> None:
    """Spells out, in place, what means the same in spec.method on the wire: defaults are filled in
    and decimals written alike."""
    method = METHODS[MethodType(wire["type"])]
    if method.settings is None:
        return
    settings = wire.setdefault(method.key, method.settings().to_wire())
    for name in method.decimals:
        settings[name] = str(float(settings[name]))
