"""The base model on the local disk: safetensors only, with a digest of what it is."""

import hashlib
import json
import logging
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


def fetch(model: JobBaseModel, buckets: Buckets, folder: Path) -> BaseModel:
    """Brings the base model to the disk. Raises TrainerError: BaseModelNotFound, the store's, or
    TrainerFailed when the hub doesn't answer."""
    source = model.source
    fetched = (
        _from_bucket(model.name, source, buckets, folder)
        if isinstance(source, S3Model)
        else _from_hub(source)
    )
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


def _from_hub(source: HuggingFaceModel) -> BaseModel:
    # Reads HF_HOME and HF_HUB_OFFLINE when it is imported, after the environment was prepared.
    import huggingface_hub  # noqa: PLC0415
    from huggingface_hub import errors  # noqa: PLC0415

    name = source.repo if source.revision is None else f"{source.repo}@{source.revision}"
    try:
        path = huggingface_hub.snapshot_download(
            source.repo, revision=source.revision, allow_patterns=list(ALLOWED_FILES)
        )
    except errors.GatedRepoError as error:
        raise _not_found(
            f"{name} is gated on the hub", "Set baseModel.tokenSecretRef to a token with access."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise _not_found(
            f"the hub has no {name}", "Correct baseModel.name or baseModel.revision."
        ) from error
    except errors.LocalEntryNotFoundError as error:
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise _not_found(
                f"{name} is not in the local cache and the hub is switched off",
                "Ask the platform team to add the model to the catalogue.",
            ) from error
        raise _hub_silent(name, error) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise _hub_silent(name, error) from error
    return BaseModel(Path(path), Path(path).name)


def _hub_silent(name: str, error: Exception) -> TrainerError:
    return TrainerError(
        Reason.TRAINER_FAILED,
        f"cannot download {name} from the hub: {error}",
        "Check the network policy, or serve the weights from a bucket.",
    )


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
