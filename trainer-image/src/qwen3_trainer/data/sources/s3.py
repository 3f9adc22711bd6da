"""An object in a bucket."""

from qwen3_api.data_sources import S3Data
from qwen3_trainer.data.sources.base import OpenFile, not_found
from qwen3_trainer.store import Buckets, ObjectMissingError


def open_file(source: S3Data, buckets: Buckets) -> OpenFile:
    """Raises FailureError: DatasetNotFound, or the store's."""
    key = source.location.prefix
    try:
        return OpenFile(key, buckets.at(source.location).open(key))
    except ObjectMissingError as error:
        hint = "Upload the file, or correct dataset.train.s3.uri."
        raise not_found(source.name, hint) from error
