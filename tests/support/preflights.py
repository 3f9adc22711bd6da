"""A small, complete PreflightJob for tests."""

from typing import Any

from qwen3_api.job.base import S3Location
from qwen3_api.job.preflight import PreflightJob
from support.train_jobs import LOCATION, train_job


def preflight_job(location: S3Location = LOCATION, **changes: Any) -> PreflightJob:
    """The preflight of `train_job`; `changes` replace values by dotted path."""
    order = train_job(location)
    document: dict[str, Any] = {
        "assistant_only_loss": order.hyperparameters.assistant_only_loss,
        "checks": {
            "max_truncated_percent": 20,
            "max_dropped_percent": 5,
            "fail_on_leakage": True,
        },
        **order.model_dump(
            include={
                *("namespace", "name", "uid", "revision", "spec_hash", "method"),
                *("base_model", "dataset", "output"),
            }
        ),
    }
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = document
        for parent in parents:
            target = target[parent]
        target[last] = value
    return PreflightJob.model_validate(document)
