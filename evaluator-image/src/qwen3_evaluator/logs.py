"""Logs: a JSON object per line on standard error."""

import logging
import sys

from qwen3_api.pod.logs import JsonFormatter


def setup_logs() -> None:
    """Send everything from INFO up to standard error; the libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("qwen3_evaluator").setLevel(logging.INFO)
