"""The adapter to go on from: fetched and checked before torch is imported."""

import json
from pathlib import Path
from typing import Any

from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import JobAdapter, StartAdapter
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.base_model import file_digest
from qwen3_trainer.publish import ADAPTER_FILES, CARD, CONFIG, WEIGHTS, find_oversize
from qwen3_trainer.store import Buckets, ObjectMissingError


def fetch(adapter: JobAdapter, buckets: Buckets, folder: Path) -> Path | None:
    """Downloads config and weights; None if the order starts from a new adapter.

    Raises FailureError: StartAdapterNotFound, when files are missing, differ from the commit's
    digests, are larger than an adapter's, or hold one of another shape than the order's; and the
    store's.
    """
    start = adapter.start
    if start is None:
        return None
    _require_known(start)
    bucket, prefix = buckets.at(start.location), start.location.prefix.rstrip("/")
    for expected in start.files:
        if expected.path == CARD:
            continue
        try:
            bucket.download(f"{prefix}/{expected.path}", folder / expected.path)
        except ObjectMissingError as error:
            raise _not_found(start, f"it has no {expected.path}") from error
        if file_digest(folder, expected.path) != expected:
            raise _not_found(start, f"{expected.path} has other bytes than were committed")
    oversize = find_oversize(folder)
    if oversize is not None:
        raise _not_found(start, oversize)
    problems = misfits(_config(start, folder / CONFIG), adapter)
    if problems:
        raise _not_found(
            start,
            f"its {'; its '.join(problems)}",
            "Give spec.adapter the values of the adapter that it starts from.",
        )
    return folder


def _require_known(start: StartAdapter) -> None:
    if adapter_digest(start.files) != start.digest:
        raise _not_found(start, "its list of files has another digest than its commit")
    names = {file.path for file in start.files}
    if not {CONFIG, WEIGHTS} <= names <= set(ADAPTER_FILES):
        raise _not_found(start, f"it holds other files than {CONFIG} and {WEIGHTS}")


def _config(start: StartAdapter, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _not_found(start, f"{CONFIG} is not JSON") from error
    if not isinstance(config, dict):
        raise _not_found(start, f"{CONFIG} is not a JSON object")
    return config


def misfits(config: dict[str, Any], adapter: JobAdapter) -> list[str]:
    """What of PEFT's config differs from the order, with both values. Pure."""
    targets = config.get("target_modules")
    pairs = [
        ("rank", config.get("r"), adapter.rank),
        ("alpha", config.get("lora_alpha"), adapter.alpha),
        ("use_rslora", config.get("use_rslora", False), adapter.use_rslora),
        (
            "target modules",
            sorted(targets) if isinstance(targets, list) else targets,
            sorted(adapter.target_modules),
        ),
    ]
    return [
        f"{name} {'are' if name.endswith('s') else 'is'} {_shown(theirs)}, the order's "
        f"{_shown(ours)}"
        for name, theirs, ours in pairs
        if theirs != ours
    ]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _not_found(start: StartAdapter, problem: str, hint: str = "") -> FailureError:
    return FailureError(
        Reason.START_ADAPTER_NOT_FOUND,
        f"can't start from {start.location.uri}: {problem}",
        hint or "Name a revision with a committed adapter in adapter.from.",
    )
