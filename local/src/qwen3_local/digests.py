"""Content hashes that name cached things: equal content, equal name."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

LENGTH = 16


def digest_files(files: Iterable[Path], root: Path, settings: str = "") -> str:
    """Hash of the files' paths relative to `root`, their contents and `settings`.

    Neither times nor the order of `files` matter. 16 hex digits: these are names, not proofs.
    """
    total = hashlib.sha256(settings.encode())
    for path in sorted(set(files)):
        total.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:LENGTH]


def source_files(folder: Path) -> list[Path]:
    """All files below a folder that belong into an image: no byte code, no hidden files."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and is_source(path.relative_to(folder))
    )


def is_source(path: Path) -> bool:
    """The same rule as the `.dockerignore` files beside the Dockerfiles."""
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return not hidden and path.suffix != ".pyc"
