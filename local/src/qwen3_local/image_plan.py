"""Which images there are and what decides their content. Pure: paths in, tags out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from qwen3_local.digests import digest_files, source_files

REGISTRY = "localhost"
"""Names that no registry serves: the kubelet takes them from containerd or not at all."""


@dataclass(frozen=True)
class Image:
    """One Dockerfile of the repository, built with the repository's root as its context.

    `inputs` are the files and folders that it copies or installs from; together with the
    Dockerfile, the arguments and the parent's tag they decide the tag.
    """

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    parent_argument: str = "BASE"
    parent: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)


API = "crds/src/qwen3_api"
ML_BASE = Image(
    "ml-base",
    "trainer-image/ml-base.Dockerfile",
    ("trainer-image/ml-base.txt",),
    # No GPU here, so Triton compiles nothing.
    arguments={"COMPILER": ""},
)
TRAINER = Image(
    "trainer",
    "trainer-image/Dockerfile",
    (
        "trainer-image/requirements.txt",
        "trainer-image/llama-build.txt",
        "trainer-image/llama-cpp.txt",
        API,
        "trainer-image/src/qwen3_trainer",
    ),
    parent_argument="ML_BASE",
    parent="ml-base",
)
SERVER = Image(
    "server",
    "server-image/Dockerfile",
    ("server-image/requirements-cpu.txt", API, "server-image/src/qwen3_server"),
    parent_argument="ML_BASE",
    parent="ml-base",
    arguments={"REQUIREMENTS": "requirements-cpu.txt"},
)
SERVER_GPU = Image(
    "server-gpu",
    "server-image/Dockerfile",
    ("server-image/requirements-gpu.txt", API, "server-image/src/qwen3_server"),
    parent_argument="ML_BASE",
    parent="ml-base",
    arguments={"REQUIREMENTS": "requirements-gpu.txt"},
)
"""What pools with GPUs run. No pod does here; tests look at what is, and isn't, in it."""
EVALUATOR = Image(
    "evaluator",
    "evaluator-image/Dockerfile",
    ("evaluator-image/requirements.txt", API, "evaluator-image/src/qwen3_evaluator"),
)
OPERATOR = Image(
    "operator",
    "operator/Dockerfile",
    ("operator/requirements.txt", API, "sizing/src/qwen3_sizing", "operator/src/qwen3_operator"),
)
IMAGES = {
    image.name: image for image in (ML_BASE, TRAINER, SERVER, SERVER_GPU, EVALUATOR, OPERATOR)
}
DEPLOYED = ("trainer", "server", "evaluator", "operator")
TESTED = (*DEPLOYED, "server-gpu")


def input_files(image: Image, root: Path) -> list[Path]:
    """Every file that goes into the image. Raises FileNotFoundError for a missing input."""
    files = [root / image.dockerfile]
    for name in image.inputs:
        path = root / name
        if path.is_dir():
            files += source_files(path)
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"image {image.name}: no {name}")
    return files


def of_tree(image: Image, root: Path) -> Image:
    """The image as an older tree has it: a package that came later is no input there."""
    return replace(image, inputs=tuple(name for name in image.inputs if (root / name).exists()))


def repository(image: Image) -> str:
    return f"{REGISTRY}/qwen3-{image.name}"


def tagged_name(image: Image, root: Path, base: str) -> str:
    """`localhost/qwen3-<name>:<content hash>`; `base` is the tag of the Debian base."""
    settings = f"{sorted(image.arguments.items())} {parent_name(image, root, base)}"
    return f"{repository(image)}:{digest_files(input_files(image, root), root, settings)}"


def parent_name(image: Image, root: Path, base: str) -> str:
    """The image that `FROM` takes."""
    return base if image.parent is None else tagged_name(IMAGES[image.parent], root, base)


def with_parents(names: tuple[str, ...]) -> list[Image]:
    """The named images behind those they are built on, each once."""
    ordered: dict[str, Image] = {}
    for name in names:
        image = IMAGES[name]
        if image.parent is not None:
            ordered.setdefault(image.parent, IMAGES[image.parent])
        ordered.setdefault(name, image)
    return list(ordered.values())
