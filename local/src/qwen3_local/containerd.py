"""containerd through its own client `ctr`, in the namespace that the kubelet reads."""

import subprocess
from pathlib import Path

from qwen3_local.node import CONTAINERD_NAMESPACE
from qwen3_local.programs import run


def ctr(socket: Path, *arguments: str | Path) -> str:
    """Raises ProgramError when containerd refuses."""
    return run(["ctr", "--address", socket, "--namespace", CONTAINERD_NAMESPACE, *arguments])


def answers(socket: Path) -> bool:
    """containerd takes requests."""
    asked = subprocess.run(
        ["ctr", "--address", socket, "version"], capture_output=True, check=False
    )
    return asked.returncode == 0


def image_names(socket: Path) -> set[str]:
    return set(ctr(socket, "images", "list", "--quiet").split())


def has_image(socket: Path, name: str) -> bool:
    return name in image_names(socket)


def import_archive(socket: Path, archive: Path) -> None:
    """Load an OCI archive under the name that its index gives."""
    ctr(socket, "images", "import", archive)


def tag(socket: Path, source: str, name: str) -> None:
    """A second name for an image; replaces what had that name."""
    ctr(socket, "images", "tag", "--force", source, name)


def image_digest(socket: Path, name: str) -> str:
    """Digest of the image's top manifest or index. Raises KeyError for an unknown name."""
    for line in ctr(socket, "images", "list", f"name=={name}").splitlines()[1:]:
        fields = line.split()
        if fields[0] == name:
            return fields[2]
    raise KeyError(name)


def all_tasks(socket: Path) -> list[str]:
    """Ids of the containers that have a process, alive or not yet collected."""
    return ctr(socket, "tasks", "list", "--quiet").split()
