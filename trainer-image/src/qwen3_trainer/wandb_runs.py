"""Offline runs of W&B, brought to the bucket: `wandb sync` takes them from there."""

import logging
from pathlib import Path

from qwen3_api.pod.failure import FailureError
from qwen3_trainer.store import Bucket

log = logging.getLogger(__name__)

OFFLINE_RUNS = "wandb/offline-run-*"
"""Below WANDB_DIR."""


def upload_offline_runs(bucket: Bucket, prefix: str, folder: Path) -> int:
    """Uploads the files of every offline run below `folder` (WANDB_DIR) to `prefix`.

    Returns how many it uploaded. A store that is unavailable costs the run's files and a log line,
    a file that can't be read or named costs that file; neither costs the attempt.
    """
    uploaded = 0
    for run in sorted(folder.glob(OFFLINE_RUNS)):
        for path in sorted(run.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                bucket.upload(path, f"{prefix}/{path.relative_to(run.parent).as_posix()}")
            except FailureError as error:
                log.warning("the offline W&B run is not in the bucket: %s", error.message)
                return uploaded
            except (OSError, UnicodeError) as error:
                log.warning("left out %r of the offline W&B run: %s", path.name, error)
                continue
            uploaded += 1
    if uploaded:
        log.info("the offline W&B run is at %s, %d files", prefix, uploaded)
    return uploaded
