"""The object store, as far as a pool pod reads it. All S3 I/O of this package is here.

Raises StorageError (StorageDenied, BucketNotFound, StorageUnavailable) and AdapterError
(ArtifactCorrupt: an object is missing or has other bytes than committed).
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from qwen3_api.job.base import FileDigest, S3Location
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_server.errors import StorageError, corrupt

S3Client = Any
"""aiobotocore makes its clients at run time."""

_CHUNK = 1024**2
_MAX_INDEX_BYTES = 8 * 1024**2
_DENIED = frozenset(
    {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
)
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
# The endpoint may be any S3 server: no addressing by host name, no checksums that only AWS knows.
_CONFIG = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"max_attempts": 3, "mode": "standard"},
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


@dataclass(frozen=True)
class Fetched:
    """An object that is newer than the one known."""

    etag: str
    content: bytes


class Store:
    """Async context manager that holds one client per endpoint and region."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._clients: dict[tuple[str | None, str | None], S3Client] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> "Store":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def read_if_changed(self, location: S3Location, etag: str | None) -> Fetched | None:
        """The object, or None if it still has this etag.

        Raises FileNotFoundError if there is none, StorageError.
        """
        client = await self._client(location)
        try:
            async with _storage_errors(location):
                where = {"Bucket": location.bucket, "Key": location.prefix}
                if etag is not None:
                    where["IfNoneMatch"] = etag
                answer = await client.get_object(**where)
                async with answer["Body"] as body:
                    content = await _read_whole(body, location)
        except ClientError as error:
            if _code(error) in ("304", "NotModified", "PreconditionFailed"):
                return None
            if _code(error) in _MISSING:
                raise FileNotFoundError(location.uri) from error
            raise StorageError(Reason.STORAGE_UNAVAILABLE, f"{location.uri}: {error}") from error
        return Fetched(etag=answer["ETag"], content=content)

    async def list_folder(self, folder: S3Location, limit: int) -> dict[str, int]:
        """Names below the folder and their sizes in bytes; at most `limit` and one more."""
        client = await self._client(folder)
        prefix = folder.prefix.rstrip("/") + "/"
        found: dict[str, int] = {}
        try:
            async with _storage_errors(folder):
                pages = client.get_paginator("list_objects_v2").paginate(
                    Bucket=folder.bucket, Prefix=prefix
                )
                async for page in pages:
                    for entry in page.get("Contents", []):
                        # Some stores list the folder itself as an empty object.
                        if name := entry["Key"].removeprefix(prefix):
                            found[name] = entry["Size"]
                    if len(found) > limit:
                        break
        except ClientError as error:
            raise StorageError(Reason.STORAGE_UNAVAILABLE, f"{folder.uri}: {error}") from error
        return found

    async def download(self, folder: S3Location, file: FileDigest, target: Path) -> None:
        """Write the object to `target` and check size and sha256 on the way."""
        sha256 = await self.download_unchecked(folder.join(file.path), file.size, target)
        if sha256 != file.sha256:
            raise corrupt(f"{file.path} differs from its sha256 in the commit")

    async def download_unchecked(self, location: S3Location, size: int, target: Path) -> str:
        """Write an object of exactly `size` bytes to `target`; returns its sha256."""
        client = await self._client(location)
        digest, seen = hashlib.sha256(), 0
        try:
            async with _storage_errors(location):
                answer = await client.get_object(Bucket=location.bucket, Key=location.prefix)
                async with answer["Body"] as body:
                    with target.open("wb") as stream:
                        async for chunk in body.iter_chunks(_CHUNK):
                            seen += len(chunk)
                            if seen > size:
                                break
                            digest.update(chunk)
                            stream.write(chunk)
        except ClientError as error:
            if _code(error) in _MISSING:
                raise corrupt(f"{location.uri} is missing") from error
            raise StorageError(Reason.STORAGE_UNAVAILABLE, f"{location.uri}: {error}") from error
        if seen != size:
            raise corrupt(f"{location.uri} has another size than {size} bytes")
        return digest.hexdigest()

    async def _client(self, location: S3Location) -> S3Client:
        key = (location.endpoint, location.region)
        async with self._opening:
            if key not in self._clients:
                style = {"addressing_style": "path"} if location.endpoint else {}
                self._clients[key] = await self._stack.enter_async_context(
                    get_session().create_client(
                        "s3",
                        endpoint_url=location.endpoint,
                        region_name=location.region or "us-east-1",
                        config=AioConfig(**_CONFIG, s3=style),
                    )
                )
            return self._clients[key]


async def _read_whole(body: Any, location: S3Location) -> bytes:
    """All bytes of an answer; `read(n)` alone would return what happens to have arrived.

    Raises StorageError if there are more than an index can have.
    """
    content = bytearray()
    async for chunk in body.iter_chunks(_CHUNK):
        content += chunk
        if len(content) > _MAX_INDEX_BYTES:
            message = f"{location.uri} has more than {_MAX_INDEX_BYTES} bytes"
            raise StorageError(Reason.STORAGE_UNAVAILABLE, message)
    return bytes(content)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@asynccontextmanager
async def _storage_errors(location: S3Location) -> AsyncIterator[None]:
    """Denied, missing bucket and unreachable become StorageError; other ClientErrors pass."""
    try:
        yield
    except ClientError as error:
        if _code(error) in _DENIED:
            raise StorageError(Reason.STORAGE_DENIED, f"{location.uri}: {error}") from error
        if _code(error) == "NoSuchBucket":
            message = f"bucket {location.bucket} does not exist"
            raise StorageError(Reason.BUCKET_NOT_FOUND, message) from error
        raise
    except NoCredentialsError as error:
        message = "no credentials (AWS_ACCESS_KEY_ID) in this container"
        raise StorageError(Reason.STORAGE_DENIED, message) from error
    except (BotoCoreError, aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise StorageError(Reason.STORAGE_UNAVAILABLE, f"{location.uri}: {error}") from error
