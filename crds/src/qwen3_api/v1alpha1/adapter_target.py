"""An adapter that is evaluated without being promoted."""

from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.v1alpha1.meta import DnsLabel, KubeModel, Rule
from qwen3_api.v1alpha1.promotion import RevisionId
from qwen3_api.v1alpha1.sources import S3Object
from qwen3_api.v1alpha1.training import BaseModelSpec


class AdapterRevision(KubeModel):
    """A stored revision of a fine-tune of this namespace, whether it is served or not."""

    name: DnsLabel
    """name of the Qwen3FineTune."""
    revision: RevisionId
    """revision with a stored adapter, one of status.revisions."""


class AdapterTarget(KubeModel):
    """An adapter that isn't necessarily served. It is loaded for the evaluation on the pool of its
    base model in this namespace, under its immutable id, and unloaded afterwards."""

    fine_tune: AdapterRevision | None = None
    """fineTune and revision that produced the adapter; or s3."""
    s3: S3Object | None = None
    """s3 folder with exactly the adapter's files, in the bucket of output.s3 and below this
    namespace's prefix there; or fineTune."""
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)] | None = None
    """digest of the files, as in adapterDigest of status.revisions; only with s3."""
    base_model: BaseModelSpec | None = None
    """baseModel that the adapter was trained on; only with s3."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.fineTune) != has(self.s3)",
            message="set either fineTune or s3",
            check=lambda m: (m.fine_tune is None) != (m.s3 is None),
            field_path=".fineTune",
        ),
        Rule(
            cel="has(self.digest) == has(self.s3) && has(self.baseModel) == has(self.s3)",
            message="digest and baseModel go with s3, and only with it",
            check=lambda m: (m.digest is None) == (m.s3 is None) == (m.base_model is None),
            field_path=".digest",
        ),
    )
