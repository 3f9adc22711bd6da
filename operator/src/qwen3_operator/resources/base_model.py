"""The base model of a resource: where its weights come from."""

from qwen3_api.job.train import (
    HuggingFaceModel,
    S3Model,
)
from qwen3_api.v1alpha1.training import (
    BaseModelSource,
    BaseModelSourceType,
    BaseModelSpec,
)
from qwen3_operator.resources.job import parse_s3_uri
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.settings import Settings


def resolve_model(base: BaseModelSpec, settings: Settings) -> BaseModelSource | None:
    """Where the weights come from: the spec's source, else the catalogue's; None if in neither."""
    if base.source is not None:
        return base.source
    return next((m.source for m in settings.catalogue if m.name == base.name), None)


def resolve_job_model(
    base: BaseModelSpec, storage: StorageTarget, settings: Settings
) -> HuggingFaceModel | S3Model:
    """The contract's view of the base model.

    Raises:
        LookupError: neither spec nor catalogue has a source; validation comes before.
    """
    source = resolve_model(base, settings)
    if source is None:
        raise LookupError(f"no source for base model {base.name}")
    if source.type is BaseModelSourceType.S3 and source.s3 is not None:
        return S3Model(location=parse_s3_uri(source.s3.uri, storage))
    pinned = next((m.revision for m in settings.catalogue if m.name == base.name), None)
    return HuggingFaceModel(repo=base.name, revision=base.revision or pinned)
