"""An adapter that no commit speaks of: a folder in the bucket and the digest that it must have."""

import hashlib
from collections import OrderedDict
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qwen3_api.job.adapter_files import MAX_CONFIG_BYTES, MAX_FILES
from qwen3_api.job.base import FileDigest, S3Location
from qwen3_api.job.report import adapter_digest
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.artifacts.client import ObjectStore

CONFIG = "adapter_config.json"
MAX_BYTES = 2 * 1024**3
"""Of a whole adapter: what can be read within a reconcile (120 s) from a store that isn't fast."""
REMEMBERED = 256


class _Config(BaseModel):
    """What the operator needs of adapter_config.json; a sidecar checks all of it."""

    model_config = ConfigDict(extra="ignore")

    r: int = Field(ge=1, le=4096)
    base_model_name_or_path: str = Field(max_length=512)


@dataclass(frozen=True)
class StoredAdapter:
    """Files that have the digest."""

    files: list[FileDigest]
    rank: int
    base_model: str
    """As adapter_config.json names it."""


class ForeignAdapters:
    """Reads and checks folders. What was good once is remembered: a sidecar compares every byte
    with these digests before it loads anything."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: OrderedDict[str, StoredAdapter] = OrderedDict()

    def recall(self, folder: S3Location, digest: str) -> StoredAdapter | None:
        """The adapter, if it was found good before."""
        return self._known.get(_key(folder, digest))

    async def read(self, folder: S3Location, digest: str) -> StoredAdapter | FailureStatus | None:
        """The adapter; None if the folder is empty; a failure if it isn't the one with the digest.

        Raises:
            StorageProblem, Transient: see ObjectStore.get; then there is no verdict.
        """
        known = self.recall(folder, digest)
        if known is not None:
            return known
        key = _key(folder, digest)
        sizes = await self._store.list_folder(folder, MAX_FILES + 1)
        if not sizes:
            return None
        if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_BYTES:
            return _refuse(
                f"{folder.uri} contains more than an adapter: over {MAX_FILES} files or "
                f"{MAX_BYTES >> 30} GiB"
            )
        config, files = b"", []
        for path in sorted(sizes):
            content = hashlib.sha256()
            read = 0
            async with aclosing(self._store.stream(folder.join(path))) as chunks:
                async for chunk in chunks:
                    content.update(chunk)
                    read += len(chunk)
                    if path == CONFIG and read <= MAX_CONFIG_BYTES:
                        config += chunk
                    if read > sizes[path]:
                        # It grew since it was listed: the rest can't make the digest right.
                        break
            try:
                files.append(FileDigest(path=path, size=read, sha256=content.hexdigest()))
            except ValidationError:
                return _refuse(
                    f"{folder.uri} contains {path[:100]!r}, which isn't part of an adapter"
                )
        found = adapter_digest(files)
        if found != digest:
            return FailureStatus.of(
                Reason.ARTIFACT_CORRUPT,
                f"target.adapter.digest: the files of {folder.uri} have the digest {found[:12]}…, "
                f"not {digest[:12]}…",
                "Set the digest of exactly these files, or upload the files with this digest; then "
                "apply a new evaluation.",
            )
        return self._remember(key, folder, config, files)

    def _remember(
        self, key: str, folder: S3Location, config: bytes, files: list[FileDigest]
    ) -> StoredAdapter | FailureStatus:
        try:
            told = _Config.model_validate_json(config)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            return _refuse(
                f"{folder.uri}/{CONFIG}: {field} {first['msg'][:200]}".replace("  ", " ")
            )
        self._known[key] = StoredAdapter(files, told.r, told.base_model_name_or_path)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return self._known[key]


def _key(folder: S3Location, digest: str) -> str:
    return f"{folder.endpoint} {folder.uri}#{digest}"


def _refuse(message: str) -> FailureStatus:
    return FailureStatus.of(
        Reason.ARTIFACT_REFUSED,
        f"target.adapter.s3: {message}",
        "Use a folder with exactly the files of a LoRA adapter, as saved by PEFT; then apply "
        "a new evaluation.",
    )
