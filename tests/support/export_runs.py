"""Real runs of the export: an adapter made by hand, its order, a process as a pod would run it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from qwen3_api.job import layout
from qwen3_api.job.base import Failure
from qwen3_api.job.export import Export, ExportJob
from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import JobBaseModel, S3Model, StartAdapter
from qwen3_trainer.base_model import file_digest
from support.adapters import PEFT_CONFIG
from support.trainer_runs import Store, ml_python, pod_environment, run_probe

RANK, ALPHA = 8, 16


def make_adapter(base: Path, folder: Path, seed: int = 1) -> None:
    """A LoRA adapter for every projection of a base model: real files, random weights, small enough
    that answers stay sane and large enough that they change."""
    random = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    modules = set()
    for file in sorted(base.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118  (no mapping)
                if not name.endswith("_proj.weight"):
                    continue
                out, width = opened.get_slice(name).get_shape()
                stem = f"base_model.model.{name.removesuffix('.weight')}"
                a = random.normal(0, 1 / np.sqrt(width), (RANK, width))
                b = random.normal(0, 0.15, (out, RANK))
                tensors[f"{stem}.lora_A.weight"] = a.astype(np.float32)
                tensors[f"{stem}.lora_B.weight"] = b.astype(np.float32)
                modules.add(name.split(".")[-2])
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = PEFT_CONFIG | {"r": RANK, "lora_alpha": ALPHA, "target_modules": sorted(modules)}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def export_job(store: Store, base: Path, adapter: Path, **changes: Any) -> ExportJob:
    """The order for what `models/tiny` and `runs/r1/adapter` hold in the bucket."""
    location = store.location.join("runs/r1/adapter")
    files = [file_digest(adapter, p.name) for p in sorted(adapter.iterdir())]
    names = sorted(p.name for p in base.iterdir())
    values: dict[str, Any] = {
        "namespace": "team-a",
        "name": "bot",
        "uid": "uid-1",
        "revision": "r1",
        "spec_hash": "abc123",
        "base_model": JobBaseModel(
            name="local/tiny-qwen3", source=S3Model(location=store.location.join("models/tiny"))
        ),
        "base_commit": adapter_digest([file_digest(base, name) for name in names]),
        "adapter": StartAdapter(location=location, files=files, digest=adapter_digest(files)),
        "merged": True,
        "gguf": ["f16", "q4_k_m"],
        "thinking": "AsInData",
        "output": store.location.join("runs/r1"),
    }
    return ExportJob.model_validate(values | changes)


@dataclass
class ExportRun:
    """A finished export process."""

    job: ExportJob
    folder: Path
    store: Store
    exit_code: int

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "log").read_text()

    def failure(self) -> Failure:
        """The termination message."""
        return Failure.model_validate_json((self.folder / "termination-log").read_bytes())

    def export(self, artifact: str) -> Export:
        """EXPORT.json of an artifact."""
        folder = layout.export_prefix(self.job.output.prefix, artifact)
        body = self.store.get(f"{folder}/{layout.EXPORT_MANIFEST}")
        assert body is not None, f"no {artifact}\n{self.log}"
        return Export.model_validate_json(body)

    def download(self, artifact: str, folder: Path) -> Path:
        """The files of an artifact, each with the digest that its manifest says."""
        export = self.export(artifact)
        folder.mkdir()
        for file in export.files:
            body = self.store.get(f"{export.prefix}/{file.path}")
            assert body is not None
            (folder / file.path).write_bytes(body)
            assert file_digest(folder, file.path) == file
        return folder


def run_export(job: ExportJob, folder: Path, store: Store) -> ExportRun:
    """Runs `python -m qwen3_trainer export` to its end; the folder's name is the pod's uid."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_bytes(job.to_json())
    env = pod_environment(folder, folder.name, store)
    with (folder / "log").open("wb") as output:
        ended = subprocess.run(
            [ml_python(), "-m", "qwen3_trainer", "export", str(folder / "job.json")],
            env=env,
            stdout=output,
            stderr=output,
            cwd=folder,
            timeout=240,
            check=False,
        )
    return ExportRun(job, folder, store, ended.returncode)


def probe(*arguments: str | Path) -> str:
    """What `export_probe.py` prints."""
    return run_probe("export_probe.py", *arguments, seconds=240)
