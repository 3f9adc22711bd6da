"""A resource and an observed world in, everything that the operator would do out; see README.md."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.finetune.actions import FineTunePlan
from qwen3_operator.finetune.plan import plan_finetune
from qwen3_operator.finetune.views import ReadableFineTune, parse_finetune
from support.golden_text import render_document
from support.golden_world import ImpossibleError, build_observed
from support.operator_world import NOW, build_body, build_finetune, build_settings, build_spec
from support.projection import project_manifest, project_status

HERE = Path(__file__).parent
CASES = sorted(path.stem for path in (HERE / "input").glob("*.yaml"))


def render(plan: FineTunePlan, before: FineTuneStatus) -> str:
    """The plan's projection as YAML, without what it doesn't ask for."""
    promote = plan.promote
    document = {
        "delete": [f"{d.kind}/{d.name}" for d in plan.delete],
        "apply": [project_manifest(m) for m in plan.apply],
        "lifecycle": [dict(m) for m in plan.lifecycle],
        "promote": promote
        and {"etag": promote.etag, **promote.alias.model_dump(exclude_defaults=True)},
        "finalizer": plan.finalizer,
        "deleteArtifacts": plan.delete_artifacts or None,
        "status": project_status(before, plan.status),
        "events": [asdict(e) for e in plan.events],
        "wakePool": plan.wake_pool,
        "requeueAfter": plan.requeue_after,
    }
    return render_document(document)


def plan_case(name: str) -> FineTunePlan:
    """Reads a case and decides."""
    return read_case(name)[1]


def read_case(name: str) -> tuple[FineTuneStatus, FineTunePlan]:
    """The status that a case starts from, and the decision about it. `${revision}` is the revision
    that its spec describes."""
    text = (HERE / "input" / f"{name}.yaml").read_text()
    first = yaml.safe_load(text)
    settings = build_settings(first.get("settings") or {})
    ft = parse_finetune(_body(first), settings)
    revision = ft.revision if isinstance(ft, ReadableFineTune) else ""
    case = yaml.safe_load(text.replace("${revision}", revision))
    ft = parse_finetune(_body(case), settings)
    observed = build_observed(ft, case.get("world") or {})
    return ft.status, plan_finetune(ft, observed, settings, NOW)


def _body(case: dict[str, Any]) -> dict[str, Any]:
    """The resource: spec changes over the ten-line example, and metadata."""
    meta = dict(case.get("metadata") or {})
    meta["finalizers"] = tuple(meta.get("finalizers", ()))
    return build_body(build_spec(**(case.get("spec") or {})), case.get("status"), **meta)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    before, plan = read_case(name)
    found = render(plan, before)
    expected = HERE / "output" / f"{name}.yaml"
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(found)
    assert found == expected.read_text(), f"pytest tests/golden --update-golden rewrites {name}"


def test_no_output_without_input() -> None:
    assert sorted(path.stem for path in (HERE / "output").glob("*.yaml")) == CASES


@pytest.mark.parametrize(
    "world",
    [
        {"pods": [{"phase": "Running"}]},
        {"job": {}, "pods": [{"phase": "Running"}, {"phase": "Running"}]},
        {"job": {"suspend": True}, "pods": [{"phase": "Running"}]},
        {"job": {"condition": "Complete"}, "pods": [{"phase": "Running"}]},
        {"job": {}, "pods": [{"phase": "Failed"}]},
        {"progress": {}},
        {"job": {}, "report": {"exit_code": 42}},
        {"damage": {"reason": "ArtifactCorrupt", "message": "x"}},
        {"commit": True, "storage": {"reason": "StorageDenied", "message": "x"}},
        {"pool": {"pods": [{"name": "a", "answers": "0123abcd"}]}},
        {
            "pointer": {"revision": "0123abcd"},
            "pool": {"pods": [{"name": "a", "ready": True}]},
        },
        {"misspelt": 1},
    ],
)
def test_a_world_that_cannot_be_is_refused(world: dict[str, Any]) -> None:
    with pytest.raises(ImpossibleError):
        build_observed(build_finetune(), world)
