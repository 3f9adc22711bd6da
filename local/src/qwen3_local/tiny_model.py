"""The small base model: built once per content of its scripts, cached, put into the bucket."""

from pathlib import Path

from qwen3_local.digests import digest_files, source_files
from qwen3_local.image_python import ensure_python
from qwen3_local.layout import REPOSITORY, Home
from qwen3_local.programs import run
from qwen3_local.tenants import TINY_PREFIX, Platform, upload_folder
from qwen3_local.timings import step

SCRIPTS = REPOSITORY / "local" / "tiny-model"


def ensure_model(platform: Platform) -> Path:
    """Folder of the model; built with the trainer image's torch if these scripts never ran here."""
    home = platform.home
    target = model_folder(home)
    if not (target / "config.json").exists():
        with step(home, "small base model"):
            build(platform, target)
    return target


def build(platform: Platform, target: Path) -> None:
    """Run the build script into a neighbour and rename: a folder that is there is complete."""
    home = platform.home
    python = ensure_python(home, "trainer", platform.images["trainer"])
    unfinished = target.with_name(f".{target.name}")
    run(
        [python, SCRIPTS / "build.py", "--out", unfinished],
        cwd=REPOSITORY,
        log=home.cache / "logs" / "tiny-model.log",
    )
    unfinished.rename(target)


def publish_model(platform: Platform) -> None:
    """The model into the bucket, where trainer and server pods read it."""
    upload_folder(platform, ensure_model(platform), TINY_PREFIX)


def model_folder(home: Home) -> Path:
    """Where `ensure_model` puts the model of the present scripts."""
    # What the build runs, not what stands beside it (measuring, data, words).
    sources = [SCRIPTS / "build.py", *source_files(SCRIPTS / "tiny_qwen3")]
    return home.cache / "tiny-model" / digest_files(sources, REPOSITORY)
