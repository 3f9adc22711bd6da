"""A small, complete TrainJob for tests."""

from typing import Any

from qwen3_api.job.base import S3Location
from qwen3_api.job.train import TrainJob

BASE_NAME = "local/tiny-qwen3"
LOCATION = S3Location(endpoint="http://127.0.0.1:1", region="us-east-1", bucket="qwen3")


def train_job(location: S3Location = LOCATION, **changes: Any) -> TrainJob:
    """An order of twelve steps; `changes` replace values by dotted path."""
    document: dict[str, Any] = {
        "namespace": "team-a",
        "name": "bot",
        "uid": "uid-1",
        "revision": "r1",
        "spec_hash": "abc123",
        "method": "SFT",
        "base_model": {
            "name": BASE_NAME,
            "source": {"type": "S3", "location": location.join("models/tiny").model_dump()},
        },
        "dataset": {
            "train": {"type": "S3", "location": location.join("data/train.jsonl").model_dump()},
            "validation": None,
            "format": "Auto",
            "max_sequence_length": 160,
        },
        "adapter": {
            "quantized": False,
            "rank": 8,
            "alpha": 8,
            "dropout": 0.1,
            "target_modules": ["q_proj", "v_proj", "gate_proj"],
            "use_rslora": False,
        },
        "hyperparameters": {
            "epochs": None,
            "max_steps": 12,
            "learning_rate": 1e-2,
            "scheduler": "cosine",
            "warmup_ratio": 0.1,
            "weight_decay": 0.01,
            "micro_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "gradient_checkpointing": False,
            "seed": 7,
            "assistant_only_loss": True,
        },
        "checkpoint": {"every_steps": 5, "keep_last": 2, "resume": True},
        "gpus": 0,
        "output": location.join("qwen3/team-a/uid-1/revisions/r1").model_dump(),
        "progress_seconds": 1,
    }
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = document
        for parent in parents:
            target = target[parent]
        target[last] = value
    return TrainJob.model_validate(document)
