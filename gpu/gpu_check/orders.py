"""From the YAML of a fine-tune to the order of its pod, by the operator's own code."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from qwen3_api.job.base import S3Location
from qwen3_api.job.report import Sizing
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.finetune.training.job_spec import is_quantized, resolve_train_job
from qwen3_operator.finetune.views import resolve_finetune
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import Meta
from qwen3_operator.settings import Settings

NAMESPACE = "gpu-check"
BASE_NAME = "Qwen/Qwen3-8B"
"""The name that the example asks for, whatever the shape below it is here."""
BASE_PREFIX = "models/base"
TRAIN_KEY = "datasets/train.jsonl"
LONG_KEY = "datasets/long.jsonl"
PAIRS_KEY = "datasets/pairs.jsonl"
EXAMPLE = Path(__file__).parents[2] / "examples" / "03-qlora-h100" / "finetune.yaml"
PROGRESS_SECONDS = 1
"""Faster than a platform's, for the sake of the measurements."""


def example_spec() -> dict[str, Any]:
    """`spec` of examples/03-qlora-h100."""
    spec: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["spec"]
    return spec


def spec_of(bucket: str, key: str, **sections: Any) -> dict[str, Any]:
    """A spec of the base model and one data set; `sections` are camelCase."""
    return {
        "baseModel": {"name": BASE_NAME},
        "dataset": {
            "train": {"type": "S3", "s3": {"uri": f"s3://{bucket}/{key}"}},
            "maxSequenceLength": sections.pop("maxSequenceLength", 1024),
        },
        "resources": {"gpus": sections.pop("gpus", 1)},
        **sections,
    }


def resolve(name: str, spec: dict[str, Any], bucket: S3Location) -> TrainJob:
    """The order that the operator would mount into the pod of a fine-tune.

    Raises pydantic.ValidationError for a spec that the API server would refuse.
    """
    source = {"type": "S3", "s3": {"uri": f"s3://{bucket.bucket}/{BASE_PREFIX}"}}
    settings = Settings.model_validate(
        {
            "images": {"trainer": "", "server": "", "evaluator": ""},
            "storage": {"default": {"endpoint": bucket.endpoint, "bucket": bucket.bucket}},
            "catalogue": [{"name": BASE_NAME, "source": source}],
            "training": {"progressSeconds": PROGRESS_SECONDS},
        }
    )
    storage = StorageTarget(
        endpoint=bucket.endpoint,
        region=bucket.region,
        bucket=bucket.bucket,
        prefix=settings.storage.prefix,
        secret=settings.storage.tenant_secret,
    )
    meta = Meta(NAMESPACE, name, f"uid-{name}", 1, datetime.now(UTC), False, ())
    parsed = FineTuneSpec.model_validate(spec)
    hyper = parsed.hyperparameters
    # What the plan for the card would choose is not what these scenarios are about.
    micro = hyper.micro_batch_size or 2
    sizing = Sizing(
        micro_batch_size=micro,
        gradient_accumulation_steps=hyper.effective_batch_size // (micro * parsed.resources.gpus),
        gradient_checkpointing=hyper.gradient_checkpointing is not False,
        quantized=bool(is_quantized(parsed)),
    )
    ft = resolve_finetune(meta, parsed, FineTuneStatus(), settings)
    return resolve_train_job(ft, storage, settings, sizing)
