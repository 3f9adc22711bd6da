"""A Debian base with Python, made by mmdebstrap where no registry serves one."""

import hashlib
from pathlib import Path

from qwen3_local import containerd, oci_archive
from qwen3_local.digests import LENGTH
from qwen3_local.layout import Home
from qwen3_local.programs import run
from qwen3_local.timings import step

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "libgomp1",
    "libnuma1",
    # torch does not import without it.
    "libstdc++6",
    "passwd",
    "python3",
)
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def base_name() -> str:
    """Named by what it is made of."""
    recipe = hashlib.sha256(repr((SUITE, PACKAGES, EXCLUDED)).encode()).hexdigest()[:LENGTH]
    return f"localhost/qwen3-base:{recipe}"


def ensure_base_image(home: Home, socket: Path) -> str:
    """The base in containerd; returns its name."""
    name = base_name()
    if containerd.has_image(socket, name):
        return name
    with step(home, "image base"):
        folder = home.cache / "base" / name.rpartition(":")[2]
        folder.mkdir(parents=True, exist_ok=True)
        root, archive = folder / "root.tar", folder / "image.tar"
        if not root.exists():
            bootstrap(root, home.cache / "logs" / "mmdebstrap.log")
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        config = {"Env": [f"PATH={path}", "LANG=C.UTF-8"], "Cmd": ["python3"]}
        oci_archive.write_image(archive, name, root, config)
        containerd.import_archive(socket, archive)
        archive.unlink()
    return name


def bootstrap(target: Path, log: Path) -> None:
    """A root file system as a tar; a cut-short one never gets the final name."""
    unfinished = target.with_name("unfinished.tar")
    excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    run(
        [
            "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            *excludes, SUITE, unfinished,
        ],
        log=log,
    )  # fmt: skip
    unfinished.replace(target)
