"""A mounted file."""

from pathlib import Path

from qwen3_api.data_sources import FileData
from qwen3_trainer.data.sources.base import DigestingReader, OpenFile, not_found
from qwen3_trainer.store import Buckets


def open_file(source: FileData, _buckets: Buckets) -> OpenFile:
    """Raises FailureError: DatasetNotFound."""
    try:
        stream = Path(source.path).open("rb")  # noqa: SIM115  (the reader closes it)
    except OSError as error:
        raise not_found(source.name, "Create the ConfigMap key, or correct its name.") from error
    # The key of a ConfigMap may have any ending.
    return OpenFile(source.path, DigestingReader(stream), json_by_default=True)
