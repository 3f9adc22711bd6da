"""The cache of built models: whole or absent, and never trusted without its sha256."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_qwen3.artifact import (
    MANIFEST,
    DamagedArtifactError,
    build_once,
    hash_sources,
    verify_manifest,
    write_manifest,
)


class Builder:
    """Writes two small files and counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")


def test_second_build_reuses_the_first(tmp_path: Path) -> None:
    build = Builder()
    first = build_once(tmp_path / "model", build)
    second = build_once(tmp_path / "model", build)
    assert first == second
    assert set(first) == {"config.json", "model.safetensors"}
    assert build.calls == 1


def test_files_are_readable_by_everyone(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "model.safetensors").touch(0o600)

    build_once(tmp_path / "model", build)
    assert (tmp_path / "model" / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        build_once(tmp_path / "model", fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["altered", "missing", "added", "no manifest"])
def test_damaged_folder_is_noticed_and_rebuilt(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    build = Builder()
    build_once(folder, build)
    match damage:
        case "altered":
            (folder / "model.safetensors").write_bytes(b"Weights")
        case "missing":
            (folder / "config.json").unlink()
        case "added":
            (folder / "extra.py").write_text("")
        case _:
            (folder / MANIFEST).unlink()
    with pytest.raises(DamagedArtifactError):
        verify_manifest(folder)
    build_once(folder, build)
    assert build.calls == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    verify_manifest(folder)


def test_manifest_is_in_the_format_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    write_manifest(tmp_path)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (tmp_path / MANIFEST).read_text() == f"{empty}  a\n"


@pytest.mark.parametrize("name", ["build.py", "requirements.txt", "tiny_qwen3/world.py"])
def test_source_hash_changes_with_every_input(tmp_path: Path, scripts: Path, name: str) -> None:
    copy = tmp_path / "tiny-model"
    shutil.copytree(scripts, copy)
    before = hash_sources(copy)
    assert before == hash_sources(scripts)
    with (copy / name).open("a") as file:
        file.write("\n")
    assert hash_sources(copy) != before
