"""The result of opening a source: a stream of bytes that knows its digest, and the file's name."""

import hashlib
import io
from dataclasses import dataclass
from typing import Any, BinaryIO

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.store import ObjectReader


class DigestingReader(io.RawIOBase):
    """A stream that knows the digest of what was read, like store.ObjectReader."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Digest of the bytes read so far, in hex."""
        return self._hash.hexdigest()

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer."""
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._hash.update(chunk)
        return len(chunk)

    def close(self) -> None:
        """Closes the stream too."""
        self._stream.close()
        super().close()


@dataclass(frozen=True)
class OpenFile:
    """A file of a source, open."""

    path: str
    """Its ending decides how it is read."""
    reader: ObjectReader | DigestingReader
    json_by_default: bool = False
    """Without an ending that is known it is JSON lines; else it is refused."""


def not_found(name: str, hint: str) -> FailureError:
    """DatasetNotFound."""
    return FailureError(Reason.DATASET_NOT_FOUND, f"{name} doesn't exist", hint)
