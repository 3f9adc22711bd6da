"""Committed adapters that the trainer reads: digests that are right, whatever the content is."""

import hashlib
import json

from qwen3_api.job.adapter_files import MAX_CONFIG_BYTES, MAX_HEADER_BYTES
from qwen3_api.job.base import FileDigest
from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import StartAdapter
from support.memory_bucket import OneBucket
from support.train_jobs import LOCATION

CONFIG = {
    "r": 8,
    "lora_alpha": 8,
    "use_rslora": False,
    "target_modules": ["v_proj", "gate_proj", "q_proj"],
}
OVERSIZE = {
    "header": (
        {"adapter_model.safetensors": (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}"},
        "its header has 4194305 bytes, 4194304 are allowed",
    ),
    "config": (
        {"adapter_config.json": b" " * (MAX_CONFIG_BYTES + 1)},
        "65537 bytes, 65536 are allowed",
    ),
}
"""Files that a reader would need the memory of a node for, and what is said about them."""


def commit_adapter(changes: dict[str, bytes]) -> tuple[StartAdapter, OneBucket]:
    """An adapter with `changes` among its files, and the bucket that holds it."""
    contents = {
        "adapter_config.json": json.dumps(CONFIG).encode(),
        "adapter_model.safetensors": (2).to_bytes(8, "little") + b"{}",
    } | changes
    files = [
        FileDigest(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in contents.items()
    ]
    where, buckets = LOCATION.join("adapter"), OneBucket()
    for name, data in contents.items():
        buckets.bucket.put(where.join(name).prefix, data)
    return StartAdapter(location=where, files=files, digest=adapter_digest(files)), buckets
