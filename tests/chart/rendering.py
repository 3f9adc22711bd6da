"""The chart as tests see it: rendered by the real helm."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwen3_local.layout import current_home

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "qwen3-operator"
VALUES = {path.name.removesuffix("-values.yaml"): path for path in CHART.glob("ci/*-values.yaml")}
RELEASE, NAMESPACE = "qwen3-operator", "qwen3-system"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """The helm that the local platform installs, or one in the PATH."""

    program: str

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One command; its exit status is the caller's to judge."""
        return subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, timeout=120, check=False
        )

    def template(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`helm template` of the chart, in its usual namespace."""
        return self.run("template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", *arguments)

    def render(self, *arguments: str) -> list[Manifest]:
        """The manifests of the chart with these arguments."""
        done = self.template(*arguments)
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


@cache
def find_helm() -> Helm:
    """Fails the test where there is none: without helm nothing here can be told."""
    installed = current_home().bin / "helm"
    program = str(installed) if installed.exists() else shutil.which("helm")
    if program is None:
        pytest.fail("no helm: run `python -m qwen3_local install`")
    return Helm(program)


@cache
def render_case(name: str) -> tuple[Manifest, ...]:
    """The manifests with the values file `ci/<name>-values.yaml`; rendered once."""
    return tuple(find_helm().render(f"--values={VALUES[name]}"))


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def only(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """The single one of a kind."""
    found = of_kind(manifests, kind)
    assert len(found) == 1, [manifest["metadata"]["name"] for manifest in found]
    return found[0]
