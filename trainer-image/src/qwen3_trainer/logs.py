"""Logs as JSON lines on stdout, and the last of them for the report."""

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from typing import TextIO

from qwen3_trainer.failures import cut, encodable

TAIL_LINES = 50
TAIL_WIDTH = 256


class JsonFormatter(logging.Formatter):
    """One JSON object per record, with the job's identity in each."""

    def __init__(self, identity: dict[str, str]) -> None:
        super().__init__()
        self._identity = identity

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._identity,
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return encodable(json.dumps(entry, ensure_ascii=False))


class LogTail(logging.Handler):
    """Remembers the last lines, short enough for a report."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the record."""
        self._lines.append(cut(f"{record.levelname} {record.getMessage()}", TAIL_WIDTH))

    def lines(self) -> list[str]:
        """Oldest first."""
        return list(self._lines)


def configure(identity: dict[str, str], stream: TextIO | None = None) -> LogTail:
    """Sends the root logger to `stream` (stdout) as JSON. Returns the tail."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter(identity))
    tail = LogTail()
    root = logging.getLogger()
    root.handlers[:] = [handler, tail]
    root.setLevel(logging.INFO)
    for noisy in ("botocore", "boto3", "s3transfer", "urllib3", "httpx", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return tail
