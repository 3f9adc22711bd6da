"""COMMIT.json against the bytes in the bucket, read without the trainer's own code."""
# ruff: noqa: S101  (asserts are what this module is for, as in tests)

import hashlib
import json
import math
import struct

from qwen3_api.job.report import Commit, adapter_digest
from qwen3_api.job.train import TrainJob
from support.trainer_runs import Attempt, Store

FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors"}


def check_commit(attempt: Attempt) -> Commit:
    """The commit of a finished attempt. Raises AssertionError naming what is off."""
    job, commit = attempt.job, attempt.commit()
    content = _content(attempt.store, commit)
    assert set(content) == FILES, f"the adapter has {sorted(content)}"
    for file in commit.files:
        body = content[file.path]
        assert (len(body), hashlib.sha256(body).hexdigest()) == (file.size, file.sha256), (
            f"{file.path} differs from COMMIT.json"
        )
    assert commit.digest == adapter_digest(commit.files), "digest over the files"
    assert commit.spec_hash == job.spec_hash, "spec hash"
    assert commit.attempt == attempt.uid, f"committed by {commit.attempt}"
    assert math.isfinite(commit.metrics.final_loss), f"loss {commit.metrics.final_loss}"
    assert commit.sample, "the reloaded adapter generated nothing"
    _check_config(job, content["adapter_config.json"])
    _check_weights(job, content["adapter_model.safetensors"])
    return commit


def _content(store: Store, commit: Commit) -> dict[str, bytes]:
    """Every object below the adapter's prefix, named in the commit or not."""
    found = {}
    for key in store.keys(commit.prefix + "/"):
        body = store.get(key)
        assert body is not None, f"{key} vanished"
        found[key.removeprefix(commit.prefix + "/")] = body
    return found


def _check_config(job: TrainJob, body: bytes) -> None:
    config = json.loads(body)
    wanted = {
        "peft_type": "LORA",
        "base_model_name_or_path": job.base_model.name,
        "r": job.adapter.rank,
        "lora_alpha": job.adapter.alpha,
        "target_modules": sorted(job.adapter.target_modules),
    }
    given = {name: config.get(name) for name in wanted}
    assert given == wanted, f"adapter_config.json: {given}"


def _check_weights(job: TrainJob, body: bytes) -> None:
    """A pair of matrices of the rank for each module, B no longer zero: something was learnt."""
    (length,) = struct.unpack("<Q", body[:8])
    tensors = json.loads(body[8 : 8 + length])
    tensors.pop("__metadata__", None)
    for name, tensor in tensors.items():
        if ".lora_A." in name:
            partner = name.replace(".lora_A.", ".lora_B.")
            assert partner in tensors, f"{name} has no lora_B"
            assert tensor["shape"][0] == job.adapter.rank, f"{name}: {tensor['shape']}"
        else:
            assert ".lora_B." in name, f"{name} is no LoRA weight"
            begin, end = (8 + length + offset for offset in tensor["data_offsets"])
            assert any(body[begin:end]), f"{name} is still zero"
    modules = {name.split(".lora_")[0].rpartition(".")[2] for name in tensors}
    assert modules == set(job.adapter.target_modules), f"adapted: {sorted(modules)}"
