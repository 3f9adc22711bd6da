"""Checks that admission can't do: they need the platform's settings or other objects.

An ordered list of pure checks; the first problem wins. A new check is a new function.
"""

from collections.abc import Callable

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_operator.finetune.views import Observed, ReadableFineTune
from qwen3_operator.resources.base_model import resolve_model
from qwen3_operator.settings import Settings

Check = Callable[[ReadableFineTune, Observed, Settings], FailureStatus | None]


def check_base_model(
    ft: ReadableFineTune, observed: Observed, settings: Settings
) -> FailureStatus | None:
    """The model has a source."""
    spec = ft.spec
    if resolve_model(spec.base_model, settings) is not None:
        return None
    known = ", ".join(sorted(m.name for m in settings.catalogue)) or "none"
    return FailureStatus.of(
        Reason.BASE_MODEL_NOT_FOUND,
        f"spec.baseModel.name: {spec.base_model.name} is not in the platform's catalogue",
        f"Choose one of: {known}; or set the source of the weights in spec.baseModel.source.",
    )


def check_storage(
    ft: ReadableFineTune, observed: Observed, settings: Settings
) -> FailureStatus | None:
    """The operator has an endpoint and a bucket for the results."""
    if ft.storage is not None:
        return None
    s3 = ft.spec.artifacts.s3
    if settings.store_for(s3.endpoint) is None:
        return FailureStatus.of(
            Reason.STORAGE_NOT_CONFIGURED,
            f"spec.artifacts.s3.endpoint: the operator has no credentials for {s3.endpoint}",
            "Use the platform's endpoint, or ask the platform team to add this one to "
            "storage.additional.",
        )
    return FailureStatus.of(
        Reason.STORAGE_NOT_CONFIGURED,
        "spec.artifacts.s3.bucket: not set, and the platform has no default bucket",
        "Set spec.artifacts.s3.bucket.",
    )


def check_rank(
    ft: ReadableFineTune, observed: Observed, settings: Settings
) -> FailureStatus | None:
    """The pool can load the rank."""
    spec = ft.spec
    cap = settings.serving.max_lora_rank
    if spec.serving.mode is not ServingMode.SHARED_BASE or spec.adapter.rank <= cap:
        return None
    return FailureStatus.of(
        Reason.ADAPTER_RANK_TOO_HIGH,
        f"spec.adapter.rank: {spec.adapter.rank} exceeds the serving pool's limit of {cap}",
        f"Set spec.adapter.rank to {cap} or less, or spec.serving.mode to None.",
    )


def check_alias(
    ft: ReadableFineTune, observed: Observed, settings: Settings
) -> FailureStatus | None:
    """No other fine-tune owns the public name."""
    spec = ft.spec
    if spec.serving.mode is not ServingMode.SHARED_BASE or observed.alias_owner is None:
        return None
    return FailureStatus.of(
        Reason.ALIAS_TAKEN,
        f"spec.serving.modelName: {spec.serving.model_name or 'the default name'} belongs to "
        f"{observed.alias_owner}",
        "Choose another spec.serving.modelName.",
    )


def check_start(
    ft: ReadableFineTune, observed: Observed, settings: Settings
) -> FailureStatus | None:
    """The adapter to go on from is there and fits."""
    return observed.start if isinstance(observed.start, FailureStatus) else None


def check_bucket(
    ft: ReadableFineTune, observed: Observed, settings: Settings
) -> FailureStatus | None:
    """The store accepts the operator's requests. It comes last: a refusal proves nothing about the
    rest of the spec, and what serves can stay Ready with it."""
    return observed.storage_problem


CHECKS: tuple[Check, ...] = (
    check_base_model,
    check_storage,
    check_rank,
    check_alias,
    check_start,
    check_bucket,
)


def validate(ft: ReadableFineTune, observed: Observed, settings: Settings) -> FailureStatus | None:
    """The first problem of a spec, or None."""
    return next((p for check in CHECKS if (p := check(ft, observed, settings))), None)
