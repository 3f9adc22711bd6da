"""The base model on the local disk: safetensors only, with a digest of what it is."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qwen3_api.base_models import find_unsupported
from qwen3_api.families.qwen3 import CONFIG_DEFAULTS
from qwen3_api.job.base import FileDigest
from qwen3_api.job.preflight import ModelShape
from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import HuggingFaceModel, JobBaseModel, S3Model
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.front_matter import MODEL_CARD, License, read_front_matter, read_license
from qwen3_trainer.store import CHUNK, Bucket, Buckets

log = logging.getLogger(__name__)

# No pickles (*.bin, *.pt), no code (*.py): they are never downloaded.
ALLOWED_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", MODEL_CARD)
_ALLOWED_SUFFIXES = (".safetensors", ".json", ".txt", ".jinja", ".model")
DESCRIBING_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    MODEL_CARD,
)
"""What shows kind, shape and tokens of a model, without its weights."""
_HINT = "The folder needs config.json, tokenizer.json and *.safetensors of a Qwen3 model."


@dataclass(frozen=True)
class BaseModel:
    """Weights, configuration and tokenizer in one folder."""

    path: Path
    commit: str
    """Hub commit, or sha256 over the files' digests."""
    license: License = field(default_factory=License)


@dataclass(frozen=True)
class Description:
    """What is known of a base model without its weights."""

    path: Path
    """Folder with those of `DESCRIBING_FILES` that there are."""
    commit: str | None
    """Hub commit; None for a bucket, where only the weights' digests identify the base."""
    shape: ModelShape


def fetch(
    model: JobBaseModel,
    buckets: Buckets,
    folder: Path,
    download: Callable[[HuggingFaceModel], Path],
) -> BaseModel:
    """Brings the base model to the disk; `download` takes it from the hub.

    Raises FailureError: BaseModelNotFound, BaseModelUnsupported, the store's, or TrainerFailed when
    the hub is silent.
    """
    source = model.source
    if isinstance(source, S3Model):
        fetched = _from_bucket(model.name, source, buckets, folder)
    else:
        path = download(source)
        fetched = BaseModel(path, path.name)
    _check(model.name, fetched.path)
    return replace(fetched, license=read_license(model.name, fetched.path))


def _not_found(message: str, hint: str = _HINT) -> FailureError:
    return FailureError(Reason.BASE_MODEL_NOT_FOUND, message, hint)


def _from_bucket(name: str, source: S3Model, buckets: Buckets, folder: Path) -> BaseModel:
    bucket, prefix, names = _listed(name, source, buckets)
    for path in names:
        bucket.download(prefix + path, folder / path)
    return BaseModel(folder, adapter_digest([file_digest(folder, path) for path in names]))


def _listed(name: str, source: S3Model, buckets: Buckets) -> tuple[Bucket, str, list[str]]:
    """The bucket, the key prefix of the folder, and the names of its files that are no code."""
    location = source.location
    bucket, prefix = buckets.at(location), location.prefix.rstrip("/") + "/"
    names = []
    for key, _ in bucket.list(prefix):
        path = key.removeprefix(prefix)
        if "/" in path or not path:
            continue
        if path == MODEL_CARD or path.endswith(_ALLOWED_SUFFIXES):
            names.append(path)
        else:
            log.info("left out %s of the base model: not safetensors, JSON or text", path)
    if not any(path.endswith(".safetensors") for path in names):
        raise _not_found(f"{location.uri} holds no *.safetensors of {name} (pickles are refused)")
    return bucket, prefix, names


def describe(
    model: JobBaseModel,
    buckets: Buckets,
    folder: Path,
    from_hub: Callable[[HuggingFaceModel, tuple[str, ...]], tuple[Path, frozenset[str]]],
) -> Description:
    """What there is to know without the weights, and that they are there; `from_hub` is
    `hub.describe`.

    Raises FailureError: BaseModelNotFound, BaseModelUnsupported, the store's or the hub's.
    """
    source, commit = model.source, None
    if isinstance(source, S3Model):
        bucket, prefix, listed = _listed(model.name, source, buckets)
        names = frozenset(listed)
        for path in sorted(names.intersection(DESCRIBING_FILES)):
            bucket.download(prefix + path, folder / path)
    else:
        folder, names = from_hub(source, DESCRIBING_FILES)
        commit = folder.name
    config = _read_config(model.name, folder)
    _require_supported(model.name, folder, config, names)
    shape = read_shape(model.name, config)
    _check_weights(model.name, folder, names)
    if "tokenizer.json" not in names:
        raise _not_found(f"{model.name} has no tokenizer.json")
    return Description(folder, commit, shape)


def _check_weights(name: str, folder: Path, names: frozenset[str]) -> None:
    if not any(path.endswith(".safetensors") for path in names):
        raise _not_found(f"{name} has no *.safetensors (pickles are refused)")
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        needed = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_found(f"{name} has no readable {index.name}") from error
    missing = sorted(str(path) for path in needed - names)
    if missing:
        raise _not_found(
            f"{name} lacks {len(missing)} of {len(needed)} files that {index.name} names, "
            f"{missing[0]} the first"
        )


def read_shape(name: str, config: dict[str, Any]) -> ModelShape:
    """The shape in a config.json, as transformers' Qwen3Config fills it up. Raises FailureError:
    BaseModelNotFound."""
    values = {key: config.get(key, CONFIG_DEFAULTS.get(key)) for key in ModelShape.model_fields}
    missing = sorted(key for key, value in values.items() if value is None)
    if missing:
        raise _not_found(f"config.json of {name} lacks {', '.join(missing)}")
    try:
        return ModelShape.model_validate(values)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise _not_found(f"config.json of {name}: {field} is no {_KINDS[field]}") from error


_KINDS = dict.fromkeys(ModelShape.model_fields, "number") | {"tie_word_embeddings": "boolean"}


def _check(name: str, folder: Path) -> None:
    names = frozenset(path.name for path in folder.iterdir())
    if not any(path.endswith(".safetensors") for path in names):
        raise _not_found(f"{name} has no *.safetensors (pickles are refused)")
    _require_supported(name, folder, _read_config(name, folder), names)


def _read_config(name: str, folder: Path) -> dict[str, Any]:
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _not_found(f"{name} has no readable config.json") from error
    if not isinstance(config, dict):
        raise _not_found(f"config.json of {name} is no JSON object")
    return config


def _require_supported(
    name: str, folder: Path, config: dict[str, Any], names: frozenset[str]
) -> None:
    task = read_front_matter(folder).fields.get("pipeline_tag")
    found = find_unsupported(name, config, names, task)
    if found is not None:
        raise FailureError(Reason.BASE_MODEL_UNSUPPORTED, found.message, found.hint)


def file_digest(folder: Path, path: str) -> FileDigest:
    """Size and sha256 of a file below a folder."""
    size, sha = 0, hashlib.sha256()
    with (folder / path).open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            sha.update(chunk)
    return FileDigest(path=path, size=size, sha256=sha.hexdigest())
