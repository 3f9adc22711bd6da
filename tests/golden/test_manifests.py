"""Each kind of manifest, whole, in the variants that matter; scenarios pin digests of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from golden import test_evaluations, test_golden

from qwen3_operator.serving.manifests import build_pool_objects
from support.golden_text import render_document
from support.operator_world import SETTINGS, build_settings
from support.pool_specs import build_pool_spec

HERE = Path(__file__).parent / "manifests"
POOL = build_pool_spec()
CPU = build_settings({"serving": {"gpus": 0, "args": ["--dtype=bfloat16"]}})
FINE_TUNES = {
    "preflight": "01-created",
    "training": "24-preflight-passed",
    "training-4-bit": "17-qlora-h100",
    "training-from-adapter": "28-dpo-from-adapter",
    "training-one-of-several-gpus": "43-first-of-several-cards",
    "export": "39-export-begins",
    "evaluation-of-a-candidate": "31-evaluation-begins",
}
"""The golden scenario that applies each."""
EVALUATIONS = {
    "evaluation-job": "01-endpoint-and-judges",
    "evaluation-job-of-revisions": "02-candidate-and-incumbent",
}
POOLS = {
    "pool": lambda: build_pool_objects(POOL, SETTINGS),
    "pool-with-token": lambda: build_pool_objects(replace(POOL, hf_token_secret="hf"), SETTINGS),
    "pool-on-cpu": lambda: build_pool_objects(POOL, CPU),
}


def manifests_of(name: str) -> Sequence[Any]:
    """The manifests that a file of this name holds."""
    if name in POOLS:
        return POOLS[name]()
    if name in EVALUATIONS:
        return test_evaluations.plan_case(EVALUATIONS[name]).apply
    return test_golden.plan_case(FINE_TUNES[name]).apply


@pytest.mark.parametrize("name", [*FINE_TUNES, *EVALUATIONS, *POOLS])
def test_manifest(name: str, request: pytest.FixtureRequest) -> None:
    found = "---\n".join(render_document(dict(m)) for m in manifests_of(name))
    expected = HERE / f"{name}.yaml"
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(found)
    assert found == expected.read_text(), f"pytest tests/golden --update-golden rewrites {name}"


def test_no_file_without_a_manifest() -> None:
    names = {*FINE_TUNES, *EVALUATIONS, *POOLS}
    assert {path.stem for path in HERE.glob("*.yaml")} == names
