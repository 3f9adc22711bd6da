"""The worker's way to the parent: messages on a pipe, log records on stderr."""

import json
import logging
import os
import sys

from qwen3_trainer.worker.messages import Failed, Message


class Channel:
    """Writes messages. A broken pipe means that the parent is gone: the error ends the worker."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the pipe's number in this process, or under torchrun in torchrun's."""
        # Only the processes of torchrun have a rank.
        self._rank = int(os.environ.get("RANK", "0"))
        if "RANK" in os.environ:
            # torchrun closes what it doesn't know in the processes that it starts.
            path = f"/proc/{os.getppid()}/fd/{descriptor}"
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115  (open to the end)
        else:
            self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def send(self, message: Message) -> None:
        """Writes one line at once. Of several processes the first one speaks, but any may fail."""
        if self._rank and not isinstance(message, Failed):
            return
        self._file.write(message.model_dump_json() + "\n")
        self._file.flush()


class RecordFormatter(logging.Formatter):
    """A record as the parent reads it back (`workers.parse_line`)."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; a traceback becomes part of the message."""
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        return json.dumps({"level": record.levelno, "message": f"{record.name}: {message}"})


def configure_logging() -> None:
    """Sends the worker's log records to the parent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RecordFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
