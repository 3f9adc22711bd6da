"""What the libraries are told, and what the worker is not."""

from pathlib import Path

import pytest

from qwen3_trainer.environment import (
    Paths,
    download_environment,
    prepare_process,
    worker_environment,
)
from support.train_jobs import train_job

PARENT = {
    "PATH": "/bin",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "HF_TOKEN": "token",
}


def test_everything_written_lies_below_the_work_folder(tmp_path: Path) -> None:
    environ = {"HOME": "/root", "PATH": "/bin"}
    prepare_process(tmp_path, environ)
    folders = {k: v for k, v in environ.items() if v.startswith("/") and k != "PATH"}
    assert {"HOME", "HF_HOME", "UNSLOTH_COMPILE_LOCATION", "TRITON_CACHE_DIR"} <= set(folders)
    assert all(Path(value).is_relative_to(tmp_path) for value in folders.values())


def test_a_mounted_model_cache_stays(tmp_path: Path) -> None:
    environ = {"HF_HOME": "/models"}
    prepare_process(tmp_path, environ)
    assert environ["HF_HOME"] == "/models"


def test_a_worker_has_no_credentials_and_no_hub() -> None:
    environ = worker_environment(PARENT, train_job())
    assert not set(environ) & (set(PARENT) - {"PATH"})
    assert environ["HF_HUB_OFFLINE"] == environ["TRANSFORMERS_OFFLINE"] == "1"


def test_the_download_has_the_hubs_token_only() -> None:
    assert download_environment(PARENT) == {"PATH": "/bin", "HF_TOKEN": "token"}


@pytest.mark.parametrize(
    ("gpus", "allowed", "expected"),
    [
        (0, False, {"UNSLOTH_FORCE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}),
        (0, True, {"UNSLOTH_FORCE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}),
        (1, False, {"UNSLOTH_DISABLE_CPU_FALLBACK": "1"}),
        (1, True, {}),
    ],
)
def test_the_device_is_what_the_job_asks_for(
    gpus: int, allowed: bool, expected: dict[str, str]
) -> None:
    parent = {"QWEN3_ALLOW_CPU": "1"} if allowed else {}
    environ = worker_environment(parent, train_job(gpus=gpus))
    device = ("UNSLOTH_FORCE_CPU", "CUDA_VISIBLE_DEVICES", "UNSLOTH_DISABLE_CPU_FALLBACK")
    assert {k: environ[k] for k in device if k in environ} == expected


def test_paths_are_the_contracts_unless_a_test_says_otherwise() -> None:
    assert Paths.from_environment({}) == Paths(Path("/work"), Path("/dev/termination-log"))
    moved = {"QWEN3_WORK_DIR": "/w", "QWEN3_TERMINATION_LOG": "/t"}
    assert Paths.from_environment(moved) == Paths(Path("/w"), Path("/t"))
