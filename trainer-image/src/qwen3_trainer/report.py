"""How the attempt ended: report.json in the bucket and the termination message of the pod."""

import importlib.metadata
import logging
from pathlib import Path

from qwen3_api.job.base import Failure
from qwen3_api.job.report import TEXT_LIMIT
from qwen3_trainer.failures import cut

log = logging.getLogger(__name__)

TERMINATION_BYTES = 4096
"""The kubelet keeps no more."""
_LIBRARIES = (
    "unsloth",
    "unsloth_zoo",
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "bitsandbytes",
    "qwen3-trainer",
)


def library_versions() -> dict[str, str]:
    """Versions of what decides about the result, without importing it."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = cut(importlib.metadata.version(name), TEXT_LIMIT)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def termination_message(failure: Failure) -> bytes:
    """The failure as JSON within the limit of a termination message."""
    limit = 1024
    while True:
        short = failure.model_copy(
            update={"message": cut(failure.message, limit), "hint": cut(failure.hint, limit)}
        )
        encoded = short.model_dump_json().encode()
        if len(encoded) <= TERMINATION_BYTES or limit == 1:
            return encoded
        limit //= 2


def write_termination(path: Path, failure: Failure) -> None:
    """Leaves the message where the kubelet reads it; the pod ends either way."""
    try:
        path.write_bytes(termination_message(failure))
    except OSError as error:
        log.warning("no termination message: %s", error)
