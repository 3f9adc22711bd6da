"""kubeconform, strict, with the schemas of the API server that we test against."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from chart.rendering import VALUES, render_case
from chart.schemas import write_schemas

from qwen3_local.binaries import KUBECONFORM, ensure_program
from qwen3_local.layout import current_home
from support.control_plane import ControlPlane

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def schemas(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where kubeconform finds the schemas."""
    document = control_plane.kubectl("get", "--raw=/openapi/v2")
    assert document.returncode == 0, document.stderr
    return write_schemas(json.loads(document.stdout), tmp_path_factory.mktemp("schemas"))


def conform(schemas: str, text: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            ensure_program(current_home(), KUBECONFORM),
            "-strict", "-summary", "-schema-location", schemas, "-",
        ],
        input=text, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("case", sorted(VALUES))
def test_manifests_conform(schemas: str, case: str) -> None:
    manifests = render_case(case)
    done = conform(schemas, yaml.safe_dump_all(manifests))
    assert done.returncode == 0, done.stdout + done.stderr
    # Nothing was skipped for want of a schema.
    assert f"Valid: {len(manifests)}, Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0, "redinessProbe")),
        ("ServiceMonitor", ("spec", "endpoints", 0, "intervall")),
        ("ValidatingAdmissionPolicy", ("spec", "matchConstraint")),
    ],
)
def test_a_misspelt_field_is_seen(
    schemas: str, kind: str, path: tuple[str | int, ...], tmp_path: Path
) -> None:
    manifest = next(
        yaml.safe_load(yaml.safe_dump(m)) for m in render_case("production") if m["kind"] == kind
    )
    node = manifest
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = {}
    done = conform(schemas, yaml.safe_dump(manifest))
    assert done.returncode != 0
    assert str(path[-1]) in done.stdout
