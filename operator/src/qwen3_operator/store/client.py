"""One async S3 client per configured store, and the few verbs that the operator needs.

The operator reads with its own credentials, from files that the kubelet mounts; it never reads a
tenant's Secret. Files are read once per client: a rotated Secret restarts the pod by the chart's
checksum annotation.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from qwen3_api.job.base import S3Location
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_operator.errors import OperatorError, Transient
from qwen3_operator.observed import Problem
from qwen3_operator.settings import Settings, Store

CONNECT_SECONDS = 5
READ_SECONDS = 20
CHUNK = 1024 * 1024
MAX_DOCUMENT = 4 * 1024 * 1024
"""Bytes of the largest JSON document that is read. They come from pods of tenants."""

MISSING = {"NoSuchKey", "404", "NotFound"}
DENIED = {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
CONDITION_FAILED = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


class StorageProblem(OperatorError):  # noqa: N818  carries a Problem of the API's vocabulary
    """The store refuses; somebody has to act."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.reason}: {problem.message}")
        self.problem = problem


@dataclass(frozen=True)
class Fetched:
    """An object and the ETag that a compare-and-swap needs."""

    body: bytes
    etag: str


def classify(error: ClientError, location: S3Location) -> OperatorError:
    """What a refusal means. A missing key is not an error and is handled before."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code == "NoSuchBucket":
        return StorageProblem(
            Problem(
                Reason.BUCKET_NOT_FOUND,
                f"bucket {location.bucket} doesn't exist at {location.endpoint or 'AWS'}",
                "Create the bucket, or correct spec.artifacts.s3.bucket.",
                retriable=True,
            )
        )
    if code in DENIED:
        return StorageProblem(
            Problem(
                Reason.STORAGE_DENIED,
                f"the object store refused the operator's credentials for {location.uri}: {code}",
                "Ask the platform team: the Secret of storage.default (or storage.additional).",
                user=False,
                retriable=True,
            )
        )
    return Transient("StorageUnavailable", f"{location.uri}: {error}")


def read_credentials(folder: str | None) -> dict[str, str]:
    """Key pair from files; an empty result leaves it to the ambient identity.

    Raises:
        OSError: the folder is configured but a file is missing.
    """
    if folder is None:
        return {}
    path = Path(folder)
    return {
        "aws_access_key_id": (path / "AWS_ACCESS_KEY_ID").read_text().strip(),
        "aws_secret_access_key": (path / "AWS_SECRET_ACCESS_KEY").read_text().strip(),
    }


class ObjectStore:
    """All configured stores behind one face. Open it with `async with`."""

    def __init__(self, settings: Settings) -> None:
        self._stores = {
            s.endpoint: s for s in (settings.storage.default, *settings.storage.additional)
        }
        self._clients: dict[str | None, Any] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "ObjectStore":
        for endpoint, store in self._stores.items():
            self._clients[endpoint] = await self._stack.enter_async_context(_open(store))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _client(self, location: S3Location) -> Any:
        return self._clients[location.endpoint]

    async def get(self, location: S3Location) -> Fetched | None:
        """A small object and its ETag, or None.

        Raises:
            StorageProblem: the bucket is missing or the credentials are refused.
            Transient: the store doesn't answer.

        An object over MAX_DOCUMENT comes back empty: no document of the contract is, so it counts
        as a broken one.
        """
        body: bytearray = bytearray()
        etag: str | None = None
        async with aclosing(self._stream(location)) as chunks:
            async for chunk, tag, size in chunks:
                etag = tag
                if size > MAX_DOCUMENT:
                    return Fetched(b"", tag)
                body += chunk
        return None if etag is None else Fetched(bytes(body), etag)

    async def stream(self, location: S3Location) -> AsyncIterator[bytes]:
        """The bytes of an object in chunks; none at all if it doesn't exist."""
        async for chunk, _, _ in self._stream(location):
            yield chunk

    async def _stream(self, location: S3Location) -> AsyncGenerator[tuple[bytes, str, int], None]:
        try:
            response = await self._client(location).get_object(
                Bucket=location.bucket, Key=location.prefix
            )
            async with response["Body"] as body:
                size, etag = int(response["ContentLength"]), str(response["ETag"])
                empty = True
                async for chunk in body.iter_chunks(CHUNK):
                    empty = False
                    yield chunk, etag, size
                if empty:
                    yield b"", etag, size
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code", "")) in MISSING:
                return
            raise classify(error, location) from error
        except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Transient("StorageUnavailable", f"{location.uri}: {error}") from error

    async def put_if(self, location: S3Location, body: bytes, etag: str | None) -> bool:
        """Write only if the object still has this ETag (None: doesn't exist yet).

        Returns False when somebody else was first.

        Raises:
            StorageProblem, Transient: as `get`.
        """
        condition = {"IfMatch": etag} if etag is not None else {"IfNoneMatch": "*"}
        try:
            await self._client(location).put_object(
                Bucket=location.bucket,
                Key=location.prefix,
                Body=body,
                ContentType="application/json",
                **condition,
            )
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in CONDITION_FAILED or (etag is not None and code in MISSING):
                return False
            raise classify(error, location) from error
        except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Transient("StorageUnavailable", f"{location.uri}: {error}") from error
        return True

    async def delete_prefix(self, location: S3Location) -> int:
        """Remove everything below `location.prefix` + "/"; returns how many objects.

        Raises:
            StorageProblem, Transient: as `get`.
        """
        client, count = self._client(location), 0
        try:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=location.bucket, Prefix=location.prefix.rstrip("/") + "/"
            )
            async for page in pages:
                keys = [{"Key": item["Key"]} for item in page.get("Contents", ())]
                if keys:
                    answer = await client.delete_objects(
                        Bucket=location.bucket, Delete={"Objects": keys}
                    )
                    # A 200 may still list keys that were kept.
                    for error in answer.get("Errors", ()):
                        raise classify(ClientError({"Error": error}, "DeleteObjects"), location)
                    count += len(keys)
        except ClientError as error:
            raise classify(error, location) from error
        except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Transient("StorageUnavailable", f"{location.uri}: {error}") from error
        return count


def _open(store: Store) -> Any:
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=32,
        retries={"mode": "standard", "total_max_attempts": 3},
        # Other stores than AWS answer on paths; virtual hosts need DNS of their own.
        s3={"addressing_style": "path"} if store.endpoint else {},
        # Checksums in trailers came with botocore 1.36; stores other than AWS may refuse them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # The stubs overload on every service of AWS; one of them is needed.
    session: Any = get_session()
    return session.create_client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=store.region or "us-east-1",
        config=config,
        **read_credentials(store.credentials_dir),
    )
