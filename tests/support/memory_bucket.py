"""A bucket of the trainer in memory, with or without conditional writes."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from qwen3_api.job.base import S3Location
from qwen3_trainer.store import Bucket, Buckets, ObjectExistsError, ObjectMissingError


class MemoryBucket(Bucket):
    """Objects by key."""

    def __init__(self, *, conditional: bool = True) -> None:
        self.name = "b"
        self.objects: dict[str, bytes] = {}
        self._conditional = conditional

    def get(self, key: str) -> bytes:
        """Raises ObjectMissingError."""
        if key not in self.objects:
            raise ObjectMissingError(key)
        return self.objects[key]

    def put(self, key: str, body: bytes, *, only_if_absent: bool = False) -> None:
        """Raises ObjectExistsError, where conditions hold."""
        if only_if_absent and self._conditional and key in self.objects:
            raise ObjectExistsError(key)
        self.objects[key] = body

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys and sizes."""
        return ((k, len(v)) for k, v in sorted(self.objects.items()) if k.startswith(prefix))

    def upload(self, path: Path, key: str) -> None:
        """Reads the file. Raises UnicodeEncodeError as botocore does for a key that is no text."""
        self.put(key.encode().decode(), path.read_bytes())

    def download(self, key: str, path: Path) -> None:
        """Raises ObjectMissingError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.get(key))

    def digest(self, key: str) -> tuple[int, str]:
        """Raises ObjectMissingError."""
        body = self.get(key)
        return len(body), hashlib.sha256(body).hexdigest()

    def delete(self, keys: Iterable[str]) -> None:
        """Those that aren't there are fine."""
        for key in keys:
            self.objects.pop(key, None)


class OneBucket(Buckets):
    """The same bucket for every location."""

    def __init__(self, bucket: Bucket | None = None) -> None:
        super().__init__()
        self.bucket = bucket or MemoryBucket()

    def at(self, location: S3Location) -> Bucket:
        """The bucket."""
        return self.bucket
