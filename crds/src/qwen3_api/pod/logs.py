"""Log lines of a pod: one JSON object each."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from qwen3_api.pod.text import encodable


class JsonFormatter(logging.Formatter):
    """time (RFC 3339, UTC, milliseconds), level, logger, message, the traceback if there is one,
    and the fields of `identity` in every line."""

    def __init__(self, identity: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._identity = dict(identity or {})

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
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
