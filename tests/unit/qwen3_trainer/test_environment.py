"""What the libraries are told, and what the worker is not."""

from pathlib import Path

import pytest

from qwen3_trainer.environment import (
    Paths,
    download_environment,
    prepare_process,
    training_environment,
    worker_environment,
)
from support.train_jobs import train_job

PARENT = {
    "PATH": "/bin",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "HF_TOKEN": "token",
    "WANDB_API_KEY": "key",
}
WANDB = {"project": "bots", "entity": None, "offline": False, "base_url": None}


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


def _tracking(wandb: dict[str, object] | None) -> dict[str, str]:
    environ = training_environment(PARENT, train_job(wandb=wandb))
    return {k: v for k, v in environ.items() if k.startswith("WANDB_")}


def test_without_tracking_the_training_has_no_key() -> None:
    assert _tracking(None) == {"WANDB_MODE": "disabled"}


def test_all_attempts_are_one_run_at_wandb() -> None:
    assert _tracking({**WANDB, "entity": "team-a", "base_url": "https://wandb.example"}) == {
        "WANDB_MODE": "online",
        "WANDB_PROJECT": "bots",
        "WANDB_ENTITY": "team-a",
        "WANDB_BASE_URL": "https://wandb.example",
        "WANDB_RUN_ID": "uid-1-r1",
        "WANDB_RESUME": "allow",
        "WANDB_NAME": "team-a/bot r1",
        "WANDB_API_KEY": "key",
    }


def test_an_offline_run_needs_no_key() -> None:
    environ = _tracking({**WANDB, "offline": True})
    assert environ["WANDB_MODE"] == "offline"
    assert not {"WANDB_API_KEY", "WANDB_ENTITY", "WANDB_BASE_URL"} & set(environ)


def test_wandb_captures_no_code_and_reports_no_errors(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    prepare_process(tmp_path, environ)
    assert environ["WANDB_DISABLE_CODE"] == environ["WANDB_DISABLE_GIT"] == "true"
    assert environ["WANDB_ERROR_REPORTING"] == "false"


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
