"""Every example, as a user would send it, to a real API server."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from support.control_plane import ControlPlane

ROOT = Path(__file__).parents[2] / "examples"
OURS = "qwen3.dev/v1alpha1"
# Kinds of others that a cluster may lack: they must at least be objects.
FOREIGN = {"LocalQueue", "Application", "GitRepository", "Kustomization"}
PARTIAL = {"values.yaml", "small-model.yaml"}


def documents() -> list[tuple[str, dict[str, Any]]]:
    """(path below examples, document) of every manifest."""
    found = []
    for path in sorted(ROOT.rglob("*.yaml")):
        if path.name in PARTIAL:
            continue
        for document in yaml.safe_load_all(path.read_text()):
            if document:
                found.append((str(path.relative_to(ROOT)), document))
    return found


CASES = documents()


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane) -> str:
    """One without objects of other tests, whose fields these manifests would conflict with."""
    name = "examples"
    client.CoreV1Api(control_plane.api).create_namespace({"metadata": {"name": name}})
    return name


@pytest.mark.parametrize(("path", "document"), CASES, ids=[f"{p}:{d['kind']}" for p, d in CASES])
def test_the_api_server_takes_it(
    path: str, document: dict[str, Any], control_plane: ControlPlane, namespace: str
) -> None:
    if document["kind"] in FOREIGN:
        assert document["apiVersion"].count("/") == 1
        return
    text = json.dumps({**document, "metadata": {**document["metadata"], "namespace": namespace}})
    done = control_plane.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ["01-quickstart", "01-quickstart-local", "07-gitops/app"])
def test_kustomizations_build_what_the_api_server_takes(
    folder: str, control_plane: ControlPlane, namespace: str
) -> None:
    built = control_plane.kubectl("kustomize", str(ROOT / folder))
    assert built.returncode == 0, built.stderr
    objects = [d for d in yaml.safe_load_all(built.stdout) if d]
    assert [d["kind"] for d in objects if d["apiVersion"] == OURS] == ["Qwen3FineTune"]
    core = client.CoreV1Api(control_plane.api)
    names = {n.metadata.name for n in core.list_namespace().items}
    for name in {d["metadata"].get("namespace", namespace) for d in objects} - names:
        core.create_namespace({"metadata": {"name": name}})
    done = control_plane.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict",
        f"--namespace={'' if any('namespace' in d['metadata'] for d in objects) else namespace}",
        "-f", "-", stdin=built.stdout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_quickstart_carries_its_data() -> None:
    document = next(d for p, d in CASES if d["kind"] == "ConfigMap" and "quickstart" in p)
    expected = (ROOT / "01-quickstart" / "data" / "train.jsonl").read_text()
    assert document["data"]["train.jsonl"] == expected


def test_ten_lines_are_ten_lines() -> None:
    text = (ROOT / "01-quickstart" / "finetune.yaml").read_text().split("---")[0]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 10


def test_every_example_says_what_it_is() -> None:
    folders = [p for p in ROOT.iterdir() if p.is_dir() and p.name != "01-quickstart-local"]
    assert [p.name for p in folders if not (p / "README.md").exists()] == []
