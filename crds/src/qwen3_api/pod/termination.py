"""A pod's termination message: why it failed, where the kubelet reads it."""

import logging
from pathlib import Path

from qwen3_api.job.base import Failure
from qwen3_api.job.layout import TERMINATION_LOG
from qwen3_api.pod.text import cut

TERMINATION_BYTES = 4096
"""The kubelet keeps no more, and cuts JSON in the middle."""

_log = logging.getLogger(__name__)


def render_termination(failure: Failure) -> bytes:
    """The failure as JSON of at most TERMINATION_BYTES.

    1,024 Chinese characters are 3 KiB and control characters grow sixfold, so message and hint are
    shortened until the bytes fit.
    """
    limit = max(len(failure.message), len(failure.hint), 1)
    while True:
        short = failure.model_copy(
            update={"message": cut(failure.message, limit), "hint": cut(failure.hint, limit)}
        )
        rendered = short.model_dump_json(exclude_none=True).encode()
        if len(rendered) <= TERMINATION_BYTES or limit == 1:
            return rendered
        limit = max(1, limit * 3 // 4)


def write_termination(path: Path, failure: Failure) -> None:
    """Leave the message. The pod ends either way, so what can't be written is a warning; outside of
    a pod the kubelet's own file isn't made."""
    if path == Path(TERMINATION_LOG) and not path.exists():
        return
    try:
        path.write_bytes(render_termination(failure))
    except OSError as error:
        _log.warning("no termination message: %s", error)
