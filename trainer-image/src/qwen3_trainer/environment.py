"""Where the trainer writes, and the environment of the libraries below it.

Pure but for `prepare_process`. The libraries read their variables when they are imported, so the
entry point sets them before anything else.
"""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from qwen3_api.job import layout
from qwen3_api.job.train import TrainJob

ENV_ALLOW_CPU = "QWEN3_ALLOW_CPU"
"""1: train on the CPU where a GPU was asked for and none is there (clusters that only advertise
GPUs). A setting of the platform, never of a tenant."""
ENV_WORK_DIR = "QWEN3_WORK_DIR"
"""Scratch folder instead of /work (tests)."""
ENV_TERMINATION_LOG = "QWEN3_TERMINATION_LOG"
"""File for the termination message instead of /dev/termination-log (tests)."""
TRACKING_FOLDER = "wandb"
"""WANDB_DIR below the scratch folder."""

_BUCKET_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_HUB_CREDENTIALS = ("HF_TOKEN",)
_TRACKING_CREDENTIALS = ("WANDB_API_KEY",)


@dataclass(frozen=True)
class Paths:
    """Folders and files of the attempt."""

    work: Path
    termination_log: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Paths":
        """The contract's paths unless a test says otherwise."""
        return cls(
            work=Path(environ.get(ENV_WORK_DIR, layout.WORK_DIR)),
            termination_log=Path(environ.get(ENV_TERMINATION_LOG, layout.TERMINATION_LOG)),
        )


def prepare_process(work: Path, environ: MutableMapping[str, str] | None = None) -> None:
    """Points every cache of the libraries below `work` and switches their telemetry off."""
    target = os.environ if environ is None else environ
    target.update(_forced(work))
    # A platform may mount a cache of models, or let AWS nodes hand out credentials.
    target.setdefault("HF_HOME", str(work / "huggingface"))
    target.setdefault("AWS_EC2_METADATA_DISABLED", "true")


def _forced(work: Path) -> dict[str, str]:
    return {
        "HOME": str(work / "home"),
        "XDG_CACHE_HOME": str(work / "cache"),
        "TRITON_CACHE_DIR": str(work / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
        # Relative to the current folder by default, which is read-only in the pod.
        "UNSLOTH_COMPILE_LOCATION": str(work / "unsloth"),
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "UNSLOTH_AUTO_INSTALL": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "DO_NOT_TRACK": "1",
        # It would report to a server of Kubeflow, and 100 % after an interrupted run.
        "DISABLE_KUBEFLOW_INTEGRATION": "TRUE",
        # A checkpoint is a tenant's file: never a full unpickle, whoever calls torch.load.
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
        "PYTHONUNBUFFERED": "1",
        **_tracking_folders(work / TRACKING_FOLDER),
    }


def _tracking_folders(folder: Path) -> dict[str, str]:
    """W&B writes below the folder only, and sends neither code nor errors of its own."""
    return {
        "WANDB_DIR": str(folder),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_ARTIFACT_DIR": str(folder / "artifacts"),
        "WANDB_DISABLE_CODE": "true",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONSOLE": "off",
        "WANDB_SILENT": "true",
    }


def worker_environment(environ: Mapping[str, str], job: TrainJob) -> dict[str, str]:
    """The environment of the processes that import torch: offline, without credentials.

    They read local files only, so nothing that a library does there can reach the hub or the
    bucket.
    """
    env = offline_environment(environ)
    if job.gpus > 1:
        # The processes of a pod talk to each other alone: no other network, no name to resolve.
        env.setdefault("GLOO_SOCKET_IFNAME", "lo")
        env.setdefault("NCCL_SOCKET_IFNAME", "lo")
    if job.gpus == 0:
        env.update(CUDA_VISIBLE_DEVICES="", UNSLOTH_FORCE_CPU="1")
    elif not cpu_is_allowed(environ):
        env["UNSLOTH_DISABLE_CPU_FALLBACK"] = "1"
    return env


def offline_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What `worker_environment` does for any command."""
    hidden = (*_BUCKET_CREDENTIALS, *_HUB_CREDENTIALS, *_TRACKING_CREDENTIALS)
    env = {k: v for k, v in environ.items() if k not in hidden}
    env.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    # Idle threads sleep. By default they spin, and on cores shared with other pods each small
    # operation waits for a time slice: 12 steps of a tiny model took 11 s instead of 0.8 s.
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return env


def download_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process that downloads from the hub: with the hub's token alone."""
    hidden = (*_BUCKET_CREDENTIALS, *_TRACKING_CREDENTIALS)
    return {k: v for k, v in environ.items() if k not in hidden}


def training_environment(environ: Mapping[str, str], job: TrainJob) -> dict[str, str]:
    """`worker_environment` of the process that trains, which may report to W&B.

    All attempts of a revision are one run there.
    """
    env = worker_environment(environ, job)
    if job.wandb is None:
        env["WANDB_MODE"] = "disabled"
        return env
    env.update(
        WANDB_MODE="offline" if job.wandb.offline else "online",
        WANDB_PROJECT=job.wandb.project,
        WANDB_RUN_ID=f"{job.uid}-{job.revision}",
        WANDB_RESUME="allow",
        WANDB_NAME=f"{job.namespace}/{job.name} {job.revision}",
    )
    if job.wandb.entity is not None:
        env["WANDB_ENTITY"] = job.wandb.entity
    if job.wandb.base_url is not None:
        env["WANDB_BASE_URL"] = job.wandb.base_url
    if not job.wandb.offline:
        env.update({k: environ[k] for k in _TRACKING_CREDENTIALS if k in environ})
    return env


def cpu_is_allowed(environ: Mapping[str, str]) -> bool:
    """Whether the platform lets a job that asks for a GPU train on the CPU."""
    return environ.get(ENV_ALLOW_CPU) == "1"
