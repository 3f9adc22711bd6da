"""Sources of rows: a module for each declares it (`base.Source`), this one lists them.

CONTRIBUTING.md has a worked example, "Add a dataset source".
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.data_sources.base import Source
from qwen3_api.data_sources.config_map import CONFIG_MAP, ConfigMapKey, FileData
from qwen3_api.data_sources.s3 import S3, S3Data
from qwen3_api.job.base import S3Location
from qwen3_api.v1alpha1.meta import KubeModel, Rule
from qwen3_api.v1alpha1.sources import S3Object

__all__ = [
    "SOURCES",
    "ConfigMapKey",
    "DataSource",
    "DatasetSource",
    "DatasetSourceType",
    "FileData",
    "S3Data",
    "resolve_source",
]


class DatasetSourceType(StrEnum):
    """Type of source for rows."""

    S3 = "S3"
    CONFIG_MAP = "ConfigMap"


SOURCES: Mapping[DatasetSourceType, Source] = {
    DatasetSourceType(source.type): source for source in (S3, CONFIG_MAP)
}


class DatasetSource(KubeModel):
    """One file of rows."""

    type: DatasetSourceType
    """type of the source: S3 or ConfigMap."""
    s3: S3Object | None = None
    """s3 object: .jsonl, .jsonl.gz or .parquet; only with type S3."""
    config_map: ConfigMapKey | None = None
    """configMap key with JSONL rows, for demonstrations; only with type ConfigMap."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(source.rule() for source in SOURCES.values())


DataSource = Annotated[S3Data | FileData, Field(discriminator="type")]
"""Document of a source that a pod gets."""


def resolve_source(source: DatasetSource, role: str, storage: S3Location) -> DataSource:
    """The pod's view of a source (`Source.resolve`)."""
    declared = SOURCES[source.type]
    document: DataSource = declared.resolve(getattr(source, declared.field), role, storage)
    return document
