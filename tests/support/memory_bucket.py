"""A bucket of the trainer in memory, with or without conditional writes."""

from collections.abc import Iterator
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

    def download(self, key: str, path: Path) -> None:
        """Raises ObjectMissingError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.get(key))


class OneBucket(Buckets):
    """The same for every location."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = MemoryBucket()

    def at(self, location: S3Location) -> MemoryBucket:
        return self.bucket
