"""Object storage: an object in a bucket, and the bucket itself."""

from typing import Annotated

from pydantic import Field

from qwen3_api.v1alpha1.meta import (
    BucketName,
    HttpUrl,
    KubeModel,
    LocalObjectReference,
    S3Uri,
)


class S3Object(KubeModel):
    """An object, or a prefix that ends in `/`, in object storage."""

    uri: S3Uri
    """uri of the object: s3://bucket/key. Read with the credentials of spec.artifacts.s3."""


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
