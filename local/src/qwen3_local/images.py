"""Build the repository's images straight into containerd.

BuildKit runs with containerd as its worker, in the namespace that the kubelet reads: what it
builds is an image there, layer by layer, with nothing exported, pushed or unpacked again.
"""

import json
import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import uv

from qwen3_local import cluster, containerd, node
from qwen3_local.base_image import ensure_base_image
from qwen3_local.binaries import BUILDCTL, BUILDKITD, ensure_program
from qwen3_local.down import discard_dead_state
from qwen3_local.image_plan import (
    DEPLOYED,
    IMAGES,
    Image,
    of_tree,
    parent_name,
    repository,
    tagged_name,
    with_parents,
)
from qwen3_local.layout import REPOSITORY, Home, current_home
from qwen3_local.locks import exclusive
from qwen3_local.programs import Daemon, ProgramError, run
from qwen3_local.timings import step

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class BuiltImage:
    """An image in containerd.

    Pods name `ref`, which holds the digest: what runs is what was built. `tag` names the same.
    """

    ref: str
    tag: str
    digest: str


@dataclass(frozen=True)
class Builder:
    """The running BuildKit and what every build passes to it."""

    buildctl: Path
    address: str
    socket: Path
    uv_folder: Path
    base: str
    root: Path


def build(names: Sequence[str] = DEPLOYED, home: Home | None = None) -> dict[str, BuiltImage]:
    """Build what is not in containerd yet and return each named image.

    Also writes all images known so far to `<home>/state/images.json`. An image of unchanged
    content costs a look; one whose Python sources changed, a second. Raises KeyError for an
    unknown name, ProgramError when a build fails.
    """
    home = home or current_home()
    wanted = with_parents(tuple(names))
    parents = [image for image in wanted if any(other.parent == image.name for other in wanted)]
    children = [image for image in wanted if image not in parents]
    with exclusive(home.cache / "images.lock"):
        builder = ensure_builder(home)
        done = build_all(home, builder, parents) | build_all(home, builder, children)
        named = {name: done[name] for name in names}
        write_images(home.images_file, named)
    return named


def build_tree(name: str, root: Path, home: Home | None = None) -> BuiltImage:
    """An image without a parent, from another tree of this repository: an older commit's.

    It isn't written to images.json, whose images are this tree's.
    """
    home = home or current_home()
    image = of_tree(IMAGES[name], root)
    with exclusive(home.cache / "images.lock"):
        builder = replace(ensure_builder(home), root=root)
        return ensure_image(home, builder, image)


def build_all(home: Home, builder: Builder, images: list[Image]) -> dict[str, BuiltImage]:
    """Two at a time: one downloads or copies while the other computes."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        built = pool.map(lambda image: ensure_image(home, builder, image), images)
        return dict(zip([image.name for image in images], built, strict=True))


def ensure_builder(home: Home) -> Builder:
    """containerd and BuildKit running, with the base image at hand."""
    discard_dead_state(home)
    machine = node.Node(Path(), home.state, home.cache / "containerd", "")
    cluster.write_configuration(machine)
    runtime = node.containerd_daemon(machine)
    runtime.ensure_running()
    runtime.wait_ready(lambda: containerd.answers(machine.socket))
    daemon_program, client = ensure_program(home, BUILDKITD), ensure_program(home, BUILDCTL)
    daemon = buildkit_daemon(home, daemon_program, machine.socket)
    daemon.ensure_running()
    address = f"unix://{home.state / 'buildkit.sock'}"
    daemon.wait_ready(lambda: builder_answers(client, address))
    base = ensure_base_image(home, machine.socket)
    return Builder(client, address, machine.socket, ensure_uv_folder(home), base, REPOSITORY)


def buildkit_daemon(home: Home, program: Path, socket: Path) -> Daemon:
    config, content = home.state / "buildkitd.toml", render_buildkit(home, socket)
    config.write_text(content)
    command = (str(program), f"--config={config}")
    return Daemon("buildkitd", command, home.state, configuration=content)


def render_buildkit(home: Home, socket: Path) -> str:
    """buildkitd.toml; its cache lies beside containerd's, whose snapshots it refers to."""
    return f"""root = {json.dumps(str(home.cache / "buildkit"))}
[grpc]
  address = [{json.dumps(f"unix://{home.state / 'buildkit.sock'}")}]
[worker.oci]
  enabled = false
[worker.containerd]
  enabled = true
  address = {json.dumps(str(socket))}
  namespace = {json.dumps(node.CONTAINERD_NAMESPACE)}
  # Build steps reach the package registries as this machine does.
  networkMode = "host"
  gc = false
"""


def builder_answers(client: Path, address: str) -> bool:
    try:
        run([client, "--addr", address, "--timeout", "2", "debug", "workers"])
    except ProgramError:
        return False
    return True


def ensure_uv_folder(home: Home) -> Path:
    """A folder with this environment's uv: it takes the place of the Dockerfiles' uv stage."""
    folder = home.cache / f"uv-{version('uv')}"
    if not (folder / "uv").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(uv.find_uv_bin(), folder / "unfinished")
        (folder / "unfinished").replace(folder / "uv")
    return folder


def ensure_image(home: Home, builder: Builder, image: Image) -> BuiltImage:
    """The image of the present content, built if containerd does not have it."""
    name = tagged_name(image, builder.root, builder.base)
    if not containerd.has_image(builder.socket, name):
        with step(home, f"image {image.name}"):
            build_image(home, builder, image, name)
    digest = containerd.image_digest(builder.socket, name)
    ref = f"{repository(image)}@{digest}"
    if not containerd.has_image(builder.socket, ref):
        containerd.tag(builder.socket, name, ref)
    return BuiltImage(ref, name, digest)


def build_image(home: Home, builder: Builder, image: Image, name: str) -> None:
    """One `buildctl build`; the log is kept in the cache."""
    log = home.cache / "logs" / f"image-{image.name}.{os.getpid()}.{threading.get_ident()}.log"
    run(build_command(builder, image, name), cwd=builder.root, log=log)
    log.replace(home.cache / "logs" / f"image-{image.name}.log")


def build_command(builder: Builder, image: Image, name: str) -> list[str | Path]:
    """What `docker build -f <dockerfile> .` would be, for BuildKit without Docker."""
    dockerfile = Path(image.dockerfile)
    arguments = {
        "BASE": builder.base,
        **image.arguments,
        image.parent_argument: parent_name(image, builder.root, builder.base),
    }
    command: list[str | Path] = [
        builder.buildctl, "--addr", builder.address, "build", "--progress=plain",
        "--frontend=dockerfile.v0",
        "--local", f"context={builder.root}",
        "--local", f"dockerfile={builder.root / dockerfile.parent}",
        "--opt", f"filename={dockerfile.name}",
        # The parent images are in containerd; no registry is asked.
        "--opt", "image-resolve-mode=local",
        "--local", f"uv={builder.uv_folder}", "--opt", "context:uv=local:uv",
        # Uncompressed: gzip of the torch layer alone takes minutes and nothing is sent anywhere.
        "--output",
        f"type=image,name={name},compression=uncompressed,unpack=true,oci-mediatypes=true",
    ]  # fmt: skip
    if AUTHORITIES.exists():
        command += ["--secret", f"id=ca,src={AUTHORITIES}"]
    for key, value in arguments.items():
        command += ["--opt", f"build-arg:{key}={value}"]
    return command


def write_images(path: Path, built: dict[str, BuiltImage]) -> None:
    """Add to the file what was built now."""
    entries = read_images(path) | built
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    content = {name: asdict(image) for name, image in sorted(entries.items())}
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(path)


def read_images(path: Path) -> dict[str, BuiltImage]:
    """The images built so far by name; none before the first build."""
    if not path.exists():
        return {}
    return {name: BuiltImage(**entry) for name, entry in json.loads(path.read_text()).items()}


__all__ = ["DEPLOYED", "IMAGES", "BuiltImage", "build", "build_tree", "read_images"]
