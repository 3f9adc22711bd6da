"""What report.json and the manifest name of the environment."""

import importlib.metadata

from qwen3_api.job.report import TEXT_LIMIT
from qwen3_api.pod.text import cut

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
