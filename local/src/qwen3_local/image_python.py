"""The Python of an image as a program of this machine.

Building the small base model and the integration tests need torch, Unsloth and vLLM on the host.
Installing them a second time would cost ten gigabytes and prove less: what the tests import would
not be what the pods import. So an image's root file system is mounted, and a wrapper script runs
its interpreter there by chroot, with the repository, /tmp and the built models at their own paths.
"""

import hashlib
import os
import shlex
from pathlib import Path

from qwen3_local import node
from qwen3_local.images import BuiltImage
from qwen3_local.layout import REPOSITORY, Home
from qwen3_local.programs import run

KERNEL = ("/proc", "/sys", "/dev", "/dev/shm")  # noqa: S108


SOURCES = ":".join(
    str(REPOSITORY / folder / "src")
    for folder in ("crds", "trainer-image", "server-image", "evaluator-image")
)
"""The checkout's own code, not the copy in the image: what a test changes is what it runs."""


def ensure_python(home: Home, name: str, image: BuiltImage) -> Path:
    """A script that runs `python` of the image; arguments, environment and signals pass through.

    Mounts the image under `<home>/state/roots` unless it is mounted already.
    """
    # A checkout of its own gets a mount of its own, since that has the checkout in it.
    checkout = hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:6]
    digest = image.digest.removeprefix("sha256:")[:12]
    root = home.state / "roots" / f"{name}-{digest}-{checkout}"
    script = root.with_suffix(".sh")
    if not is_mounted(root):
        mount(home, image, root)
    script.write_text(render(root))
    script.chmod(0o755)
    return script


def mount(home: Home, image: BuiltImage, root: Path) -> None:
    """The image's file system, writable in a layer of its own, and the host's folders in it."""
    root.mkdir(parents=True, exist_ok=True)
    socket = home.state / "containerd.sock"
    run(
        ["ctr", f"--address={socket}", f"--namespace={node.CONTAINERD_NAMESPACE}",
         "images", "mount", "--rw", image.tag, root]
    )  # fmt: skip
    models = home.cache / "tiny-model"
    models.mkdir(parents=True, exist_ok=True)
    # Not the whole home: it holds the pods' network namespaces, and a second mount of one of those
    # keeps its pod from ever ending.
    shared = {*KERNEL, "/tmp", str(REPOSITORY), str(models)}  # noqa: S108
    for folder in sorted(shared):
        target = root / folder.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        run(["mount", "--bind", folder, target])


def render(root: Path) -> str:
    """The wrapper: exec, so that its pid is Python's and a signal reaches it."""
    quoted = shlex.quote(str(root))
    return (
        "#!/bin/sh\n"
        f"# Runs the interpreter of the image mounted at {root}.\n"
        "export PATH=/opt/venv/bin:/usr/bin:/bin\n"
        f"export PYTHONPATH={shlex.quote(SOURCES)}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        "exec /usr/sbin/chroot " + quoted + ' /usr/bin/env -C "$PWD" /opt/venv/bin/python "$@"\n'
    )


def is_mounted(root: Path) -> bool:
    """Something is mounted exactly there."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return any(line.split()[1] == str(root) for line in mounts)


def unmount_all(home: Home) -> None:
    """Take every mounted image away, inner mounts first."""
    below = str(home.state / "roots") + os.sep
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for target in sorted((m for m in mounts if m.startswith(below)), key=len, reverse=True):
        run(["umount", "--lazy", target])
