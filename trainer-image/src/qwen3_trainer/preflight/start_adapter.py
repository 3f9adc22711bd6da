"""Whether the adapter to start from is there."""

from qwen3_api.job.train import StartAdapter
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.store import Buckets


def check_start(start: StartAdapter, buckets: Buckets) -> None:
    """Compares names and sizes with what the commit says; the digests are the trainer's to check.

    Raises FailureError: StartAdapterNotFound, or the store's.
    """
    prefix = start.location.prefix.rstrip("/") + "/"
    there = dict(buckets.at(start.location).list(prefix))
    wrong = [file.path for file in start.files if there.get(prefix + file.path) != file.size]
    if wrong:
        raise FailureError(
            Reason.START_ADAPTER_NOT_FOUND,
            f"{len(wrong)} of {len(start.files)} files of the adapter in {start.location.uri} are "
            f"missing or have another size, {wrong[0]} the first",
            "Set adapter.from to a fine-tune or a revision whose artifacts are still in the "
            "bucket.",
        )
