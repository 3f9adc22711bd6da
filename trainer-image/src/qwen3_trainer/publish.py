"""From an adapter on the disk to COMMIT.json.

Order: rewrite the config, digest, upload, read everything back, commit with If-None-Match. Until
the commit nothing counts, so a crash anywhere leaves only files that nobody reads.
"""

import json
import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.adapter_files import HEADER_LENGTH_BYTES, MAX_CONFIG_BYTES, find_header_problem
from qwen3_api.job.base import FileDigest
from qwen3_api.job.report import Commit
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.base_model import file_digest
from qwen3_trainer.store import Bucket, ObjectExistsError, ObjectMissingError

log = logging.getLogger(__name__)

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
ADAPTER_FILES = (CARD, CONFIG, WEIGHTS)
"""All that vLLM needs, and the card."""


def find_oversize(folder: Path) -> str | None:
    """Why config and weights of a committed adapter must not be parsed; None if they may be.

    A commit lies where a tenant can write: its digests say nothing about what a reader would need.
    """
    size = (folder / CONFIG).stat().st_size
    if size > MAX_CONFIG_BYTES:
        return f"{CONFIG} has {size} bytes, {MAX_CONFIG_BYTES} are allowed"
    with (folder / WEIGHTS).open("rb") as stream:
        problem = find_header_problem(stream.read(HEADER_LENGTH_BYTES))
    return f"{WEIGHTS}: {problem}" if problem else None


def finish_adapter(folder: Path, base_name: str, card: str) -> list[FileDigest]:
    """Makes the folder ready to be served and returns the digests of its files.

    Raises FailureError: AdapterUnusable, when PEFT left something else than safetensors.
    """
    if not (folder / WEIGHTS).is_file():
        raise FailureError(Reason.ADAPTER_UNUSABLE, f"training left no {WEIGHTS}")
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(
        json.dumps(served_config(config, base_name), indent=2, sort_keys=True) + "\n",
        encoding="utf-8",
    )
    (folder / CARD).write_text(card, encoding="utf-8")
    return [file_digest(folder, name) for name in ADAPTER_FILES]


def served_config(config: dict[str, Any], base_name: str) -> dict[str, Any]:
    """PEFT's config for whoever serves it: the base by its served name, no local path, no code.

    `target_modules` is a set in PEFT and comes in any order; sorted, equal runs give equal bytes.
    """
    served = {k: v for k, v in config.items() if k not in ("auto_map", "auto_mapping")}
    served["base_model_name_or_path"] = base_name
    served["revision"] = None
    served["target_modules"] = sorted(config["target_modules"])
    return served


def upload_verified(bucket: Bucket, folder: Path, prefix: str, files: list[FileDigest]) -> None:
    """Uploads the adapter and reads it back. Raises FailureError of the store, StorageUnavailable
    too when it gives back other bytes."""
    for file in files:
        key = f"{prefix}/{file.path}"
        bucket.upload(folder / file.path, key)
        if bucket.digest(key) != (file.size, file.sha256):
            raise bucket.unavailable(f"{key} reads back with other bytes than were written")


def commit(bucket: Bucket, revision: str, document: Commit) -> bool:
    """Writes COMMIT.json unless it is there. False: another attempt was first."""
    key = f"{revision}/{layout.COMMIT}"
    try:
        bucket.put(key, document.to_json(), only_if_absent=True)
    except ObjectExistsError:
        # Ours, if an answer was lost and botocore asked again.
        existing = read_commit(bucket, revision)
        return existing is not None and existing.attempt == document.attempt
    return True


def is_committed(bucket: Bucket, revision: str) -> bool:
    """Whether some attempt has committed a result already."""
    try:
        bucket.get(f"{revision}/{layout.COMMIT}")
    except ObjectMissingError:
        return False
    return True


def read_commit(bucket: Bucket, revision: str) -> Commit | None:
    """COMMIT.json; None if it is absent or nothing that this release reads."""
    try:
        return Commit.model_validate_json(bucket.get(f"{revision}/{layout.COMMIT}"))
    except ObjectMissingError:
        return None
    except ValidationError as error:
        log.warning("COMMIT.json can't be read: %d errors", error.error_count())
        return None
