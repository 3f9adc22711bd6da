"""Whether the bucket can carry results: writable, and with conditional writes that hold."""

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.store import Bucket, ObjectExistsError


def write_first(bucket: Bucket, key: str, body: bytes) -> None:
    """Writes an object twice if absent: the store has to refuse the second one, or two attempts
    could both commit. An object that is there already proves the same.

    Raises FailureError: StorageNotConfigured when If-None-Match is ignored, or the store's.
    """
    try:
        bucket.put(key, body, only_if_absent=True)
        bucket.put(key, body, only_if_absent=True)
    except ObjectExistsError:
        return
    raise FailureError(
        Reason.STORAGE_NOT_CONFIGURED,
        f"the object store of bucket {bucket.name} ignores If-None-Match: two attempts could "
        "both commit a result",
        "Use an object store with conditional writes (AWS S3, SeaweedFS, a recent MinIO or Ceph).",
    )
