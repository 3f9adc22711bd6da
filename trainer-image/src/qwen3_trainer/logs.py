"""Logs as JSON lines on stdout, and the last of them for the report."""

import logging
import sys
from collections import deque
from typing import TextIO

from qwen3_api.pod.logs import JsonFormatter
from qwen3_api.pod.text import cut

TAIL_LINES = 50
TAIL_WIDTH = 256


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
