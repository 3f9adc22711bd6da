"""The base model on the local disk: safetensors only, with a digest of what it is."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_api.job.base import FileDigest
from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import HuggingFaceModel, JobBaseModel, S3Model
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import TrainerError
from qwen3_trainer.store import CHUNK, Buckets

log = logging.getLogger(__name__)

# No pickles (*.bin, *.pt), no code (*.py): they are never downloaded.
ALLOWED_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "README.md")
_ALLOWED_SUFFIXES = (".safetensors", ".json", ".txt", ".jinja", ".model")
_HINT = "The folder needs config.json, tokenizer.json and *.safetensors of a Qwen3 model."


@dataclass(frozen=True)
class BaseModel:
    """Weights, configuration and tokenizer in one folder."""

    path: Path
    commit: str
    """Hub commit, or sha256 over the files' digests."""


def fetch(
    model: JobBaseModel,
    buckets: Buckets,
    folder: Path,
    download: Callable[[HuggingFaceModel], Path],
) -> BaseModel:
    """Brings the base model to the disk; `download` takes it from the hub.

    Raises TrainerError: BaseModelNotFound, the store's, or TrainerFailed when the hub is silent.
    """
    source = model.source
    if isinstance(source, S3Model):
        fetched = _from_bucket(model.name, source, buckets, folder)
    else:
        path = download(source)
        fetched = BaseModel(path, path.name)
    _check(model.name, fetched.path)
    return fetched


def _not_found(message: str, hint: str = _HINT) -> TrainerError:
    return TrainerError(Reason.BASE_MODEL_NOT_FOUND, message, hint)


def _from_bucket(name: str, source: S3Model, buckets: Buckets, folder: Path) -> BaseModel:
    location = source.location
    bucket, prefix = buckets.at(location), location.prefix.rstrip("/") + "/"
    names = []
    for key, _ in bucket.list(prefix):
        path = key.removeprefix(prefix)
        if "/" in path or not path:
            continue
        if path == "README.md" or path.endswith(_ALLOWED_SUFFIXES):
            names.append(path)
        else:
            log.info("left out %s of the base model: not safetensors, JSON or text", path)
    if not any(path.endswith(".safetensors") for path in names):
        raise _not_found(f"{location.uri} holds no *.safetensors of {name} (pickles are refused)")
    for path in names:
        bucket.download(prefix + path, folder / path)
    return BaseModel(folder, adapter_digest([file_digest(folder, path) for path in names]))


def _check(name: str, folder: Path) -> None:
    if not any(folder.glob("*.safetensors")):
        raise _not_found(f"{name} has no *.safetensors (pickles are refused)")
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_found(f"{name} has no readable config.json") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not (isinstance(kind, str) and kind.startswith("qwen3")):
        raise _not_found(f"{name} is no Qwen3 model: model_type is {str(kind)[:40]}")


def file_digest(folder: Path, path: str) -> FileDigest:
    """Size and sha256 of a file below a folder."""
    size, sha = 0, hashlib.sha256()
    with (folder / path).open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            sha.update(chunk)
    return FileDigest(path=path, size=size, sha256=sha.hexdigest())
