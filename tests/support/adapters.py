"""LoRA adapters for a tiny Qwen3, made by hand: real files, random weights."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from qwen3_api.job.base import FileDigest, S3Location
from qwen3_api.job.report import adapter_digest, adapter_id
from qwen3_api.serving.pool import PoolAdapter


@dataclass(frozen=True)
class AdapterShape:
    """What of a base model an adapter of its q_proj and v_proj has to fit."""

    hidden: int = 64
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    layers: int = 2


TINY = AdapterShape()
"""The tiny base of `tiny_base.py`."""

PEFT_CONFIG: dict[str, Any] = {
    # As PEFT 0.21.0 writes it.
    "alora_invocation_tokens": None,
    "alpha_pattern": {},
    "arrow_config": None,
    "auto_mapping": None,
    "base_model_name_or_path": "test/tiny",
    "bias": "none",
    "corda_config": None,
    "ensure_weight_tying": False,
    "eva_config": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "kasa_config": None,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_alpha": 16,
    "lora_bias": False,
    "lora_dropout": 0.1,
    "lora_ga_config": None,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "monteclora_config": None,
    "peft_type": "LORA",
    "peft_version": "0.21.0",
    "qalora_group_size": 16,
    "r": 8,
    "rank_pattern": {},
    "revision": None,
    "target_modules": ["v_proj", "q_proj"],
    "target_parameters": None,
    "task_type": "CAUSAL_LM",
    "trainable_token_indices": None,
    "use_bdlora": None,
    "use_dora": False,
    "use_qalora": False,
    "use_rslora": False,
    "velora_config": None,
}


def make_tensors(rank: int, seed: int, base: AdapterShape = TINY) -> dict[str, np.ndarray]:
    """Random LoRA matrices for q_proj and v_proj of every layer, large enough to change answers."""
    random = np.random.default_rng(seed)
    widths = {"q_proj": base.heads * base.head_dim, "v_proj": base.kv_heads * base.head_dim}
    tensors: dict[str, np.ndarray] = {}
    for layer in range(base.layers):
        for module, width in widths.items():
            stem = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            a = random.normal(size=(rank, base.hidden))
            b = random.normal(size=(width, rank))
            tensors[f"{stem}.lora_A.weight"] = a.astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = b.astype(np.float32)
    return tensors


def make_adapter(
    folder: Path,
    *,
    seed: int = 1,
    rank: int = 8,
    config: dict[str, Any] | None = None,
    base: AdapterShape = TINY,
) -> None:
    """Write an adapter into `folder`; `config` overrides keys of adapter_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(make_tensors(rank, seed, base), folder / "adapter_model.safetensors")
    content = {**PEFT_CONFIG, "r": rank, **(config or {})}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    (folder / "README.md").write_text("# an adapter\n")


HUGE_HEADER_BYTES = 97 * 10**6
"""Just below the 100 MB that safetensors itself accepts; parsed, 1.4 GiB."""


def make_huge_header(size: int = HUGE_HEADER_BYTES) -> bytes:
    """A valid safetensors file of `size` bytes that is all header: tensors without a byte."""
    entry = '"%07x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    count = (size - 8 - 2 + 1) // (len(entry % 0) + 1)
    header = "{" + ",".join(entry % number for number in range(count)) + "}"
    content = header.encode().ljust(size - 8)
    return len(content).to_bytes(8, "little") + content


def digest_files(folder: Path) -> list[FileDigest]:
    """The files of a folder as a commit names them."""
    return [
        FileDigest(
            path=path.name,
            size=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.iterdir())
    ]


def describe_adapter(
    folder: Path,
    *,
    name: str = "bot",
    location: S3Location | None = None,
    required: bool = True,
    rank: int = 8,
) -> PoolAdapter:
    """The index entry of the adapter in `folder`."""
    files = digest_files(folder)
    digest = adapter_digest(files)
    return PoolAdapter(
        id=adapter_id("team-a", name, digest),
        digest=digest,
        location=location or S3Location(endpoint=None, region=None, bucket="b", prefix="p"),
        files=files,
        rank=rank,
        required=required,
    )
