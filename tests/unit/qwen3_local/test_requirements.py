"""An image holds the versions that the package in it declares and was tested with."""

import re
import tomllib

import pytest

from qwen3_local.layout import REPOSITORY

LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
PACKAGES = {
    "operator/requirements.txt": "operator",
    "evaluator-image/requirements.txt": "evaluator-image",
    "server-image/requirements-cpu.txt": "server-image",
    "server-image/requirements-gpu.txt": "server-image",
    "trainer-image/requirements.txt": "trainer-image",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(lock: str) -> dict[str, str]:
    """Versions by normalised name."""
    text = (REPOSITORY / lock).read_text()
    return {normal(name): version for name, version in LOCKED.findall(text)}


def declared(folder: str) -> dict[str, str]:
    """Pinned dependencies of a package and of the API package that it is copied with."""
    pins: dict[str, str] = {}
    for place in (folder, "crds"):
        project = tomllib.loads((REPOSITORY / place / "pyproject.toml").read_text())["project"]
        pins |= {normal(n): v for n, v in LOCKED.findall("\n".join(project["dependencies"]))}
    return pins


@pytest.mark.parametrize(("lock", "folder"), PACKAGES.items())
def test_image_has_the_declared_versions(lock: str, folder: str) -> None:
    locked = read_lock(lock)
    assert {name: locked.get(name) for name in declared(folder)} == declared(folder)


@pytest.mark.parametrize(
    "lock", [lock for lock in PACKAGES if "trainer" in lock or "server" in lock]
)
def test_shared_layer_is_not_installed_twice(lock: str) -> None:
    """Another version of what ml-base has would be a second copy in the image, torch included."""
    shared, locked = read_lock("trainer-image/ml-base.txt"), read_lock(lock)
    differing = {n: (v, locked[n]) for n, v in shared.items() if locked.get(n, v) != v}
    assert differing == {}


def test_every_lock_line_has_a_hash() -> None:
    for lock in [*PACKAGES, "trainer-image/ml-base.txt"]:
        text = (REPOSITORY / lock).read_text()
        assert text.count("--hash=sha256:") >= len(LOCKED.findall(text)) > 10, lock
    for lock in ("trainer-image/llama-build.txt", "trainer-image/llama-cpp.txt"):
        text = (REPOSITORY / lock).read_text()
        assert text.count("--hash=sha256:") >= len(LOCKED.findall(text)) > 1, lock


def test_operator_has_neither_torch_nor_the_kubernetes_package() -> None:
    assert {"torch", "kubernetes"}.isdisjoint(read_lock("operator/requirements.txt"))


def test_evaluator_has_neither_torch_nor_what_is_left_out_of_evalscope() -> None:
    lines = (REPOSITORY / "evaluator-image/excludes.txt").read_text().splitlines()
    left_out = {normal(line) for line in lines if line and not line.startswith("#")}
    locked = read_lock("evaluator-image/requirements.txt")
    assert "evalscope" in locked
    assert ({"torch", "kubernetes"} | left_out).isdisjoint(locked)
