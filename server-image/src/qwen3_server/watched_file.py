"""A small file that another process replaces: parsed again only when it changed."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class WatchedFile(Generic[_T]):
    """The parsed content of `path`; costs one stat per look while the file stays the same.

    Writers replace the file by rename, so a new content is a new inode.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], _T]) -> None:
        self._path = path
        self._parse = parse
        self._seen: tuple[int, int, int] | None = None
        self._value: _T | None = None

    def current(self) -> _T | None:
        """The content now; None while there is no file, or none that could be parsed."""
        try:
            stat = os.stat(self._path)
        except OSError:
            self._seen = self._value = None
            return None
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            self._seen = seen
            try:
                self._value = self._parse(self._path.read_bytes())
            except (OSError, ValueError):
                # Fails closed: what cannot be read names nothing that may be asked for.
                _log.exception("cannot read %s", self._path)
                self._value = None
        return self._value


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write `content` beside `path` and rename it over; readers see the old or the new whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    fresh.rename(path)
