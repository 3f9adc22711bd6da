"""JSON lines on stderr; every line of a reconcile carries namespace, name and revision.

The fields travel in a context variable rather than in arguments, so that a line logged deep inside
the client or the store is attributed as well.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default=MappingProxyType({}))

get_logger = logging.getLogger


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Add fields to every line logged inside the block, by this task and those it starts."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


class _ContextJsonFormatter(JsonFormatter):
    """Adds the context's fields to each line; the record's own `extra` fields win.

    Done here and not by a filter, because a record's `name` is its logger's.
    """

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        for key, value in _fields.get().items():
            log_data.setdefault(key, value)


def configure_logging(level: str = "INFO", *, as_json: bool = True) -> None:
    """Take over the root logger; for the process's entry point only."""
    handler = logging.StreamHandler(sys.stderr)
    if as_json:
        handler.setFormatter(
            _ContextJsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                datefmt="%Y-%m-%dT%H:%M:%S%z",
            )
        )
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Its lines repeat per object what our own reconcile logs say once.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
