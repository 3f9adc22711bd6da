"""The built model as a folder: written whole or not at all, listed by sha256, cached by content."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

MANIFEST = "SHA256SUMS"
"""In the format of `sha256sum`: check a folder with `sha256sum -c SHA256SUMS`."""
SOURCE_ROOT = Path(__file__).resolve().parent.parent


class DamagedArtifactError(ValueError):
    """A folder does not match its own manifest, or has none."""


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> dict[str, str]:
    """Lists every file of `folder` with its sha256 in `SHA256SUMS`; returns name to sha256."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    sums = {path.name: hash_file(path) for path in files}
    lines = [f"{digest}  {name}\n" for name, digest in sums.items()]
    (folder / MANIFEST).write_text("".join(lines), "utf-8")
    return sums


def verify_manifest(folder: Path) -> dict[str, str]:
    """Reads the manifest and checks every file against it.

    Raises DamagedArtifactError if a file is missing, altered or not listed.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise DamagedArtifactError(f"{folder} has no {MANIFEST}")
    lines = manifest.read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    present = {p.name for p in folder.iterdir() if p.name != MANIFEST}
    if present != set(sums):
        raise DamagedArtifactError(f"{folder}: files {sorted(present ^ set(sums))} do not match")
    for name, digest in sums.items():
        if hash_file(folder / name) != digest:
            raise DamagedArtifactError(f"{folder / name} was altered")
    return sums


def hash_sources(root: Path = SOURCE_ROOT) -> str:
    """sha256 over everything a build depends on: the scripts, the template, the pinned versions."""
    paths = [root / "build.py", root / "requirements.txt"]
    paths += [p for p in (root / "tiny_qwen3").iterdir() if p.suffix in (".py", ".jinja")]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root).as_posix()} {hash_file(path)}\n".encode())
    return digest.hexdigest()


def build_once(folder: Path, build: Callable[[Path], object]) -> Mapping[str, str]:
    """Builds into `folder` unless it is there and whole; returns its manifest.

    The build goes into a sibling that is renamed when complete, so a killed build leaves no
    half-written folder, and of two that race one result stays.
    """
    if folder.exists():
        try:
            return verify_manifest(folder)
        except DamagedArtifactError:
            shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder.parent) as scratch:
        draft = Path(scratch) / "model"
        draft.mkdir()
        build(draft)
        for path in draft.iterdir():
            path.chmod(0o644)  # safetensors writes 0600, but pods with another user read the files
        write_manifest(draft)
        try:
            os.rename(draft, folder)
        except OSError:  # another build was faster; what it left must be whole
            if not folder.exists():
                raise
    return verify_manifest(folder)
