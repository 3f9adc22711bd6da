"""Rows in a bucket."""

from typing import Literal

from qwen3_api.data_sources.base import Source
from qwen3_api.job.base import Document, S3Location
from qwen3_api.v1alpha1.sources import S3Object


class S3Data(Document):
    """One object of rows: .jsonl, .jsonl.gz, .json.gz or .parquet, by the extension of its key."""

    type: Literal["S3"] = "S3"
    location: S3Location

    @property
    def name(self) -> str:
        """Source for messages."""
        return self.location.uri


def _resolve(value: S3Object, _role: str, storage: S3Location) -> S3Data:
    """Read at the artifacts' endpoint, with their credentials."""
    return S3Data(location=storage.at_uri(value.uri))


S3 = Source(type="S3", field="s3", resolve=_resolve)
