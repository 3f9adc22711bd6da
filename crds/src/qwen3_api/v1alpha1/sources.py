"""Data sources: objects in a bucket, keys of a ConfigMap, and the bucket itself."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.v1alpha1.meta import (
    ATOMIC,
    BucketName,
    DnsSubdomain,
    HttpUrl,
    KubeModel,
    LocalObjectReference,
    Rule,
    S3Uri,
)


class S3Object(KubeModel):
    """An object, or a prefix that ends in `/`, in object storage."""

    uri: S3Uri
    """uri of the object: s3://bucket/key. Read with the credentials of spec.artifacts.s3."""


class DatasetSourceType(StrEnum):
    """Type of source for rows."""

    S3 = "S3"
    CONFIG_MAP = "ConfigMap"


class ConfigMapKey(KubeModel):
    """A key of a ConfigMap in this namespace."""

    model_config = ATOMIC

    name: DnsSubdomain
    """name of the ConfigMap."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] = "train.jsonl"
    """key that holds the rows, one JSON object per line."""


class DatasetSource(KubeModel):
    """One file of rows."""

    type: DatasetSourceType
    """type of the source: S3 or ConfigMap."""
    s3: S3Object | None = None
    """s3 object: .jsonl, .jsonl.gz or .parquet; only with type S3."""
    config_map: ConfigMapKey | None = None
    """configMap key with JSONL rows, for demonstrations; only with type ConfigMap."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.type == 'S3') == has(self.s3)",
            message="s3 goes with type S3, and only with it",
            check=lambda m: (m.type is DatasetSourceType.S3) == (m.s3 is not None),
            field_path=".s3",
        ),
        Rule(
            cel="(self.type == 'ConfigMap') == has(self.configMap)",
            message="configMap goes with type ConfigMap, and only with it",
            check=lambda m: (m.type is DatasetSourceType.CONFIG_MAP) == (m.config_map is not None),
            field_path=".configMap",
        ),
    )


class S3Spec(KubeModel):
    """A bucket and its connection. The operator computes every prefix in it."""

    endpoint: HttpUrl | None = None
    """endpoint of the object store; default: the platform's."""
    bucket: BucketName | None = None
    """bucket for artifacts; default: the platform's."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=40)] | None = None
    """region of the bucket."""
    credentials_secret_ref: LocalObjectReference | None = None
    """credentialsSecretRef names a Secret of this namespace with AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY; default: the platform's name."""
