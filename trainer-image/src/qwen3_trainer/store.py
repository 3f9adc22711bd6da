"""The object store. The only module that imports boto3.

Errors of the store become FailureErrors with a reason here, once. Two answers are no failures and
have types of their own: ObjectMissingError and ObjectExistsError.
"""

import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from qwen3_api.job.base import S3Location
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import is_disk_full

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5
READ_SECONDS = 30
ATTEMPTS = 4
"""Tries of one call by botocore, with a back-off of at most 1 + 2 + 4 s between them."""
READ_ATTEMPTS = 5
"""Times that a broken download stream is taken up again."""
CHUNK = 1 << 20
DELETE_BATCH = 1000

_DENIED = {
    "401",
    "403",
    "AccessDenied",
    "AccountProblem",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
}
_RIGHTS = {
    "read": "s3:GetObject",
    "write": "s3:PutObject",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}
"""What the key needs for each verb, as AWS calls it."""
_MISSING = {"404", "NoSuchKey", "NotFound"}

T = TypeVar("T")


class ObjectMissingError(Exception):
    """There is no such key."""


class ObjectExistsError(Exception):
    """If-None-Match: * found an object."""


class Bucket:
    """One bucket. Every method raises FailureError with StorageDenied, BucketNotFound or, after
    about a minute of retries, StorageUnavailable; the constructor StorageNotConfigured."""

    def __init__(self, endpoint: str | None, region: str | None, name: str) -> None:
        self.name = name
        try:
            self._client = self._connect(endpoint, region)
        except ValueError as error:
            raise FailureError(
                Reason.STORAGE_NOT_CONFIGURED,
                f"no object store can be reached by endpoint {endpoint}, region {region}: {error}",
                "Correct artifacts.s3.endpoint and artifacts.s3.region.",
            ) from error

    @staticmethod
    def _connect(endpoint: str | None, region: str | None) -> Any:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=region or "us-east-1",
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS},
                # Other stores than AWS answer on the path, and refuse checksum trailers. The
                # trainer compares sha256 itself.
                s3={"addressing_style": "path" if endpoint else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, key: str, body: bytes, *, only_if_absent: bool = False) -> None:
        """Writes an object. Raises ObjectExistsError if `only_if_absent` and it is there."""
        condition = {"IfNoneMatch": "*"} if only_if_absent else {}
        with self._translated("write", key):
            self._client.put_object(Bucket=self.name, Key=key, Body=body, **condition)

    def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectMissingError."""
        with self._translated("read", key):
            body: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
            return body

    def open(self, key: str) -> "ObjectReader":
        """A stream over the object. Raises ObjectMissingError."""
        return ObjectReader(self, key)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below the prefix and their sizes in bytes."""
        with self._translated("list", prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.name, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield entry["Key"], entry["Size"]

    def upload(self, path: Path, key: str) -> None:
        """Writes a file, in parts when it is large."""
        with self._translated("write", key):
            self._client.upload_file(str(path), self.name, key)

    def download(self, key: str, path: Path) -> None:
        """Reads an object into a file, in parts at once. Raises ObjectMissingError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._translated("read", key):
            self._client.download_file(self.name, key, str(path))

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects; those that aren't there are fine.

        Raises FailureError for the first that the store keeps: its answer to many is 200, with what
        it refused inside.
        """
        pending = list(keys)
        for start in range(0, len(pending), DELETE_BATCH):
            batch = pending[start : start + DELETE_BATCH]
            with self._translated("delete", batch[0]):
                answer = self._client.delete_objects(
                    Bucket=self.name,
                    Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True},
                )
            for kept in answer.get("Errors", []):
                if kept.get("Code") not in _MISSING:
                    refused = ClientError({"Error": kept}, "DeleteObjects")
                    raise self._from_answer(refused, "delete", kept.get("Key", batch[0]))

    def digest(self, key: str) -> tuple[int, str]:
        """Size in bytes and sha256 of what the store gives back. Raises ObjectMissingError."""
        reader = self.open(key)
        while reader.read(CHUNK):
            pass
        return reader.position, reader.sha256

    def read_range(self, key: str, start: int, etag: str | None) -> tuple[Any, str]:
        """The stream of an object from a byte on, of the version `etag` if given, and its etag."""
        extra: dict[str, str] = {}
        if start:
            extra["Range"] = f"bytes={start}-"
        if etag is not None:
            extra["IfMatch"] = etag
        with self._translated("read", key):
            answer = self._client.get_object(Bucket=self.name, Key=key, **extra)
            return answer["Body"], answer["ETag"]

    @contextmanager
    def _translated(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._from_answer(error, verb, key) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise FailureError(
                Reason.STORAGE_DENIED,
                f"no credentials for bucket {self.name}: {error}",
                "The Secret needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            ) from error
        except (BotoCoreError, boto3.exceptions.Boto3Error, OSError) as error:
            cause = error.__cause__ or error.__context__
            if isinstance(cause, ClientError):  # s3transfer wraps what the store answered
                raise self._from_answer(cause, verb, key) from error
            if isinstance(error, OSError) and (error.filename or is_disk_full(error)):
                raise  # about a local file
            raise self.unavailable(f"cannot {verb} {key}: {error}") from error

    def unavailable(self, detail: str) -> FailureError:
        """StorageUnavailable with its hint."""
        return FailureError(
            Reason.STORAGE_UNAVAILABLE,
            f"bucket {self.name}: {detail}",
            "Check the endpoint and the network policy; the run resumes from its last checkpoint.",
        )

    def _from_answer(self, error: ClientError, verb: str, key: str) -> Exception:
        answer = error.response.get("Error", {})
        code = str(answer.get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code == "PreconditionFailed" or status == 412:
            return ObjectExistsError(key)
        if code == "NoSuchBucket":
            return FailureError(
                Reason.BUCKET_NOT_FOUND,
                f"bucket {self.name} doesn't exist",
                "Create the bucket, or correct its name.",
            )
        if code in _MISSING or status == 404:
            return ObjectMissingError(key)
        if code in _DENIED or status in (401, 403):
            return FailureError(
                Reason.STORAGE_DENIED,
                f"bucket {self.name}: the store refused to {verb} {key} ({code})",
                f"Check the key in the Secret, its rights on the bucket ({_RIGHTS[verb]} is needed "
                "here) and the region.",
            )
        # Of many objects in one answer each has a code or a message, and none a status.
        words = " ".join(str(w) for w in (code, answer.get("Message")) if w)
        told = f" (HTTP {status})" if status else ""
        return self.unavailable(f"cannot {verb} {key}: {words[:300]}{told}")


class ObjectReader(io.RawIOBase):
    """A stream over an object that survives broken connections and knows its digest."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        super().__init__()
        self._bucket = bucket
        self._key = key
        self._hash = hashlib.sha256()
        self.position = 0
        """Bytes read so far."""
        self._body, self._etag = bucket.read_range(key, 0, None)

    @property
    def sha256(self) -> str:
        """Digest of the bytes read so far, in hex."""
        return self._hash.hexdigest()

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer. Raises StorageUnavailable when the stream keeps breaking."""
        data = self._read_retrying(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        self.position += len(data)
        return len(data)

    def _read_retrying(self, size: int) -> bytes:
        for attempt in range(READ_ATTEMPTS):
            try:
                if attempt:
                    self._body, _ = self._bucket.read_range(self._key, self.position, self._etag)
                data: bytes = self._body.read(size)
            except ObjectExistsError as error:  # If-Match failed
                raise self._bucket.unavailable(f"{self._key} changed while it was read") from error
            except (ReadTimeoutError, IncompleteReadError, ResponseStreamingError) as error:
                log.warning("stream of %s broke at byte %d: %s", self._key, self.position, error)
            else:
                return data
        raise self._bucket.unavailable(f"cannot read {self._key} beyond byte {self.position}")


class Buckets:
    """Opens each bucket once."""

    def __init__(self) -> None:
        self._open: dict[tuple[str | None, str | None, str], Bucket] = {}

    def at(self, location: S3Location) -> Bucket:
        """The bucket of a location."""
        key = (location.endpoint, location.region, location.bucket)
        if key not in self._open:
            self._open[key] = Bucket(*key)
        return self._open[key]


STORAGE_PATIENCE = 600.0
"""Seconds that a pod waits for a store that doesn't answer: before it has begun, since the next
attempt would meet the same, and with its result."""


def patiently(action: Callable[[], T], seconds: float = STORAGE_PATIENCE, pause: float = 5.0) -> T:
    """Repeats an action while the store is unavailable, for `seconds` at least, then raises.

    For the ends of a run: hours of training, or the attempts that a Job has left, outweigh some
    minutes of waiting.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except FailureError as error:
            if error.reason != Reason.STORAGE_UNAVAILABLE or time.monotonic() >= deadline:
                raise
            log.warning("%s; trying again", error.message)
            time.sleep(pause)
