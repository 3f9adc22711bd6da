"""fetch-base: the base model's files on the pod's disk, or a reason why not.

Takes safetensors, JSON and tokenizer files and nothing else: no pickle, no Python. The folder gets
its name when all is there and checked, so a restarted init container finds it complete or not.
"""

import asyncio
import fnmatch
import json
import shutil
from collections.abc import Collection
from pathlib import Path

from safetensors import SafetensorError, safe_open

from qwen3_api.base_models import find_unsupported
from qwen3_api.job.base import Document, FileDigest, S3Location, advise
from qwen3_api.job.train import HuggingFaceModel, ModelSource, S3Model
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_server.errors import AdapterError, StorageError, refused
from qwen3_server.store import Store
from qwen3_server.verify import check_header_size, hash_file

MANIFEST_FILE = "qwen3-base.json"
"""Beside the weights: `BaseManifest`."""
ALLOWED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
"""File names directly in the folder."""

_CONFIG = "config.json"
_MAX_OBJECTS = 10_000
_MAX_HEADER_BYTES = 8 * 1024**2
"""Of a weight file. The 18,000 tensors of a 30B-A3B in one file need less than 3 MiB."""
_DOWNLOADS_AT_ONCE = 4
_TRIES = 3
_UNFINISHED = ".base-unfinished"


class BaseManifest(Document):
    """What was fetched."""

    source: ModelSource
    commit: str | None
    """The hub's commit; None from a bucket, which has none."""
    files: list[FileDigest]


async def fetch_base(source: ModelSource, target: Path, store: Store) -> bool:
    """Make `target` hold the model; False if it already did.

    Raises FailureError: BaseModelNotFound, BaseModelUnsupported, ArtifactRefused, StorageDenied,
    StorageUnavailable, …
    """
    if _is_fetched(source, target):
        return False
    unfinished = target.with_name(_UNFINISHED)
    await asyncio.to_thread(_start_over, unfinished, target)
    if isinstance(source, S3Model):
        commit = None
        await _download_bucket(source.location, unfinished, store)
    else:
        commit = await asyncio.to_thread(_download_hub, source, unfinished)
    await asyncio.to_thread(_finish, source, commit, unfinished, target)
    return True


def _is_fetched(source: ModelSource, target: Path) -> bool:
    manifest_file = target / MANIFEST_FILE
    if not manifest_file.is_file():
        return False
    manifest = BaseManifest.model_validate_json(manifest_file.read_bytes())
    return manifest.source == source and all(
        (target / file.path).is_file() and (target / file.path).stat().st_size == file.size
        for file in manifest.files
    )


def _start_over(unfinished: Path, target: Path) -> None:
    for folder in (unfinished, target):
        if folder.exists():
            shutil.rmtree(folder)
    unfinished.mkdir(parents=True)


def _is_allowed(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ALLOWED) and "/" not in name


async def _download_bucket(location: S3Location, folder: Path, store: Store) -> None:
    found = await store.list_folder(location, _MAX_OBJECTS)
    if not found:
        raise FailureError(
            Reason.BASE_MODEL_NOT_FOUND, f"{location.uri} is empty or does not exist"
        )
    slots = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)

    async def download(name: str, size: int) -> None:
        async with slots:
            for attempt in range(1, _TRIES + 1):
                try:
                    await store.download_unchecked(location.join(name), size, folder / name)
                    return
                except StorageError as error:
                    if error.reason is not Reason.STORAGE_UNAVAILABLE or attempt == _TRIES:
                        raise

    wanted = {name: size for name, size in found.items() if _is_allowed(name)}
    if _CONFIG in wanted:
        await download(_CONFIG, wanted.pop(_CONFIG))
        _require_supported(location.uri, folder, found)
    await asyncio.gather(*(download(name, size) for name, size in wanted.items()))


def _download_hub(source: HuggingFaceModel, folder: Path) -> str:
    """Download one commit of a hub repository; returns the commit."""
    # In the vLLM image, not in this package's dependencies: most pools take weights from a bucket.
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{source.repo}@{source.revision or 'main'}"
    try:
        info = HfApi().model_info(source.repo, revision=source.revision)
        commit = info.sha
        for patterns in ([_CONFIG], list(ALLOWED)):
            snapshot_download(
                source.repo, revision=commit, local_dir=folder, allow_patterns=patterns
            )
            _require_supported(source.repo, folder, {s.rfilename for s in info.siblings or ()})
    except GatedRepoError as error:
        raise StorageError(Reason.STORAGE_DENIED, f"{where} is gated: {error}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FailureError(Reason.BASE_MODEL_NOT_FOUND, f"{where}: {error}") from error
    except (HfHubHTTPError, OSError) as error:
        raise StorageError(Reason.STORAGE_UNAVAILABLE, f"{where}: {error}") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return str(commit)


def _finish(source: ModelSource, commit: str | None, unfinished: Path, target: Path) -> None:
    check_base(source, unfinished)
    files = [
        FileDigest(path=path.name, size=path.stat().st_size, sha256=hash_file(path))
        for path in sorted(unfinished.iterdir())
        if _is_allowed(path.name)
    ]
    manifest = BaseManifest(source=source, commit=commit, files=files)
    (unfinished / MANIFEST_FILE).write_bytes(manifest.to_json())
    unfinished.rename(target)


def check_base(source: ModelSource, folder: Path) -> None:
    """Raise FailureError unless the folder holds a dense Qwen3 in safetensors that needs no code of
    its own.

    BaseModelNotFound: it is no model, or incomplete. BaseModelUnsupported: it is another one.
    ArtifactRefused: it is one we don't run.
    """
    if not (folder / _CONFIG).is_file():
        raise FailureError(Reason.BASE_MODEL_NOT_FOUND, "the folder holds no config.json")
    for path in sorted(folder.glob("*.json")):
        content = _read_json(path)
        if isinstance(content, dict) and "auto_map" in content:
            raise refused(f"{path.name}: auto_map asks for code of the model's own")
    name = source.location.uri if isinstance(source, S3Model) else source.repo
    _require_supported(name, folder, {path.name for path in folder.iterdir()})
    _check_weights(folder)


def _require_supported(name: str, folder: Path, files: Collection[str]) -> None:
    """Raise FailureError: BaseModelUnsupported, for a config.json of a model that has no adapters
    here. One that is not there says nothing yet."""
    if not (folder / _CONFIG).is_file():
        return
    config = _read_json(folder / _CONFIG)
    if not isinstance(config, dict):
        raise refused(f"{_CONFIG} is no JSON object")
    found = find_unsupported(name, config, files)
    if found is not None:
        raise FailureError(Reason.BASE_MODEL_UNSUPPORTED, advise(found.message, found.hint))


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise refused(f"{path.name} is not valid JSON: {error}") from error


def _check_weights(folder: Path) -> None:
    weights = {path.name for path in folder.glob("*.safetensors")}
    if not weights:
        message = "the folder holds no *.safetensors (pickled weights are not read)"
        raise FailureError(Reason.BASE_MODEL_NOT_FOUND, message)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        content = _read_json(index)
        weight_map = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(weight_map, dict):
            raise refused(f"{index.name} has no weight_map")
        missing = sorted({str(name) for name in weight_map.values()} - weights)
        if missing:
            raise FailureError(Reason.BASE_MODEL_NOT_FOUND, f"{missing[0]} is missing")
    for name in sorted(weights):
        check_header_size(folder / name, _MAX_HEADER_BYTES)
        try:
            with safe_open(folder / name, framework="numpy"):
                pass
        except SafetensorError as error:
            raise AdapterError(Reason.ARTIFACT_CORRUPT, f"{name}: {error}") from error
