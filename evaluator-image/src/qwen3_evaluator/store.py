"""The object store: the only file that knows aiobotocore.

Each call raises FailureError with the reason that the user or the Job can act on.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)

from qwen3_api.job.base import S3Location
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason

_CHUNK = 1 << 20
_DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)


class Store:
    """An async context manager around one client per endpoint, region and identity."""

    def __init__(self, attempts: int = 8, data_prefix: str = "") -> None:
        """`attempts` of each call before the store counts as away: 8 take about a minute.

        data_prefix: of the environment variables with the credentials that read data sets; empty:
        the same as for everything else.
        """
        self._attempts = attempts
        self._data_prefix = data_prefix
        self._session = get_session()
        self._clients: dict[tuple[str | None, str | None, str], Any] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def read_data(self, location: S3Location) -> AsyncIterator[bytes]:
        """Stream a data set. DatasetNotFound when the key doesn't exist."""
        client = await self._client(location, self._data_prefix)
        with _reasons(location, missing=Reason.DATASET_NOT_FOUND):
            reply = await client.get_object(Bucket=location.bucket, Key=location.prefix)
            async with reply["Body"] as body:
                async for chunk in body.iter_chunks(_CHUNK):
                    yield chunk

    async def get(self, location: S3Location) -> bytes | None:
        """The object's bytes; None when there is none."""
        client = await self._client(location)
        with _reasons(location):
            try:
                reply = await client.get_object(Bucket=location.bucket, Key=location.prefix)
            except client.exceptions.NoSuchKey:
                return None
            async with reply["Body"] as body:
                content: bytes = await body.read()
                return content

    async def list_keys(
        self, folder: S3Location, start: str, *, recursive: bool = False
    ) -> list[S3Location]:
        """Objects directly below the folder whose names begin with `start`, sorted; `recursive`:
        below its subfolders too."""
        client = await self._client(folder)
        prefix = folder.join(start).prefix
        keys: list[str] = []
        with _reasons(folder):
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=folder.bucket, Prefix=prefix, Delimiter="" if recursive else "/"
            )
            async for page in pages:
                keys += [item["Key"] for item in page.get("Contents", [])]
        return [folder.model_copy(update={"prefix": key}) for key in sorted(keys)]

    async def put(self, location: S3Location, content: bytes, content_type: str) -> None:
        """Write the object, over what was there."""
        client = await self._client(location)
        with _reasons(location):
            await client.put_object(
                Bucket=location.bucket, Key=location.prefix, Body=content, ContentType=content_type
            )

    async def put_once(self, location: S3Location, content: bytes, content_type: str) -> bool:
        """Write the object if there is none. False when there is one."""
        client = await self._client(location)
        with _reasons(location):
            try:
                await client.put_object(
                    Bucket=location.bucket,
                    Key=location.prefix,
                    Body=content,
                    ContentType=content_type,
                    IfNoneMatch="*",
                )
            except ClientError as error:
                # 409: another writer is at it this moment. Ours may be lost or not; the retry of
                # the Job reads who won.
                if error.response["Error"]["Code"] == "PreconditionFailed":
                    return False
                raise
        return True

    async def delete(self, location: S3Location) -> None:
        """Delete the object; fine when there is none."""
        client = await self._client(location)
        with _reasons(location):
            await client.delete_object(Bucket=location.bucket, Key=location.prefix)

    async def _client(self, location: S3Location, prefix: str = "") -> Any:
        address = (location.endpoint, location.region, prefix)
        if address not in self._clients:
            with _reasons(location):
                self._clients[address] = await self._stack.enter_async_context(
                    self._session.create_client(
                        "s3",
                        endpoint_url=location.endpoint,
                        region_name=location.region or _region(),
                        config=_config(self._attempts, path_style=location.endpoint is not None),
                        **_credentials(prefix),
                    )
                )
        return self._clients[address]


def _config(attempts: int, *, path_style: bool) -> AioConfig:
    return AioConfig(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": attempts},
        s3={"addressing_style": "path" if path_style else "auto"},
        # Stores other than AWS stumble over the checksums that botocore now adds by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _credentials(prefix: str) -> dict[str, str | None]:
    """Keys out of variables with this prefix; without one botocore looks for itself."""
    if not prefix:
        return {}
    # Empty, not None: a missing key must not fall back to the other identity.
    return {
        "aws_access_key_id": os.environ.get(f"{prefix}AWS_ACCESS_KEY_ID", ""),
        "aws_secret_access_key": os.environ.get(f"{prefix}AWS_SECRET_ACCESS_KEY", ""),
        "aws_session_token": os.environ.get(f"{prefix}AWS_SESSION_TOKEN"),
    }


def _region() -> str:
    # Signatures need a region even where the store has none.
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


@contextmanager
def _reasons(location: S3Location, missing: Reason | None = None) -> Iterator[None]:
    """Turn what botocore raises into a reason."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise FailureError(
            Reason.CREDENTIALS_NOT_FOUND,
            f"no credentials for {location.uri}: {error}",
            hint="The Secret needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ) from error
    except ClientError as error:
        raise _from_reply(error, location, missing) from error
    except (
        EndpointConnectionError,
        HTTPClientError,
        IncompleteReadError,
        aiohttp.ClientError,
        TimeoutError,
        OSError,
    ) as error:
        raise _unavailable(location, f"{type(error).__name__}: {error}") from error
    except BotoCoreError as error:
        raise FailureError(
            Reason.STORAGE_NOT_CONFIGURED, f"{location.uri}: {type(error).__name__}: {error}"
        ) from error


def _from_reply(error: ClientError, location: S3Location, missing: Reason | None) -> FailureError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code == "NoSuchBucket":
        return FailureError(
            Reason.BUCKET_NOT_FOUND,
            f"bucket {location.bucket} doesn't exist",
            hint="Create it, or correct its name.",
        )
    if code == "NoSuchKey" and missing is not None:
        return FailureError(missing, f"{location.uri} doesn't exist", hint="Check bucket and key.")
    if code in _DENIED:
        return FailureError(
            Reason.STORAGE_DENIED,
            f"the object store refused {error.operation_name} on {location.uri}: {code}",
            hint="The credentials must be allowed to read the data and to read, write, list and "
            "delete below the evaluation's folder.",
        )
    return _unavailable(location, str(error))


def _unavailable(location: S3Location, message: str) -> FailureError:
    return FailureError(
        Reason.STORAGE_UNAVAILABLE,
        f"{location.uri}: {message}",
        hint="The object store must be reachable from the pods of the namespace.",
    )
