"""The bucket of a resource: its spec over the platform's settings."""

from dataclasses import dataclass

from qwen3_api.job.base import S3Location
from qwen3_api.v1alpha1.sources import S3Spec
from qwen3_operator.settings import Settings


@dataclass(frozen=True)
class StorageTarget:
    """Where a resource's artifacts go, resolved."""

    endpoint: str | None
    region: str | None
    bucket: str
    prefix: str
    secret: str
    """Secret in the tenant's namespace."""

    def location(self, key: str = "") -> S3Location:
        """A key (or a key prefix) in the bucket."""
        return S3Location(
            endpoint=self.endpoint, region=self.region, bucket=self.bucket, prefix=key
        )


def resolve_storage(s3: S3Spec, settings: Settings) -> StorageTarget | None:
    """The bucket of a resource, or None when its endpoint isn't configured or has no bucket."""
    store = settings.store_for(s3.endpoint)
    bucket = s3.bucket or (store.bucket if store else None)
    if store is None or bucket is None:
        return None
    ref = s3.credentials_secret_ref
    return StorageTarget(
        endpoint=store.endpoint,
        region=s3.region or store.region,
        bucket=bucket,
        prefix=settings.storage.prefix,
        secret=ref.name if ref else settings.storage.tenant_secret,
    )
