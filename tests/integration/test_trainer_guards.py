"""Guards provoked for real: a full disk, a gated model, a budget that is used up.

Stalls, divergence, the end of a budget in the middle of training and a bucket that is away are
provoked in tests/e2e/test_6_guards.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import Progress
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.conditions import Reason
from support.gated_hub import gated_hub
from support.train_jobs import train_job
from support.trainer_runs import (
    Attempt,
    Store,
    ml_python,
    rows,
    start_attempt,
)
from support.training_store import training_store

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with the tiny base model and data."""
    data = {"data/train.jsonl": rows(40)}
    with training_store(tmp_path_factory.mktemp("store"), data) as running:
        yield running


def _job(store: Store, revision: str, **changes: Any) -> TrainJob:
    return train_job(store.location, **{"output.prefix": f"runs/{revision}", **changes})


def _full(path: Path) -> None:
    """Puts a device without room in the place of a file that the trainer will write."""
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")


def _start(
    job: TrainJob, folder: Path, store: Store, environ: dict[str, str] | None = None
) -> Attempt:
    return start_attempt(job, "pod-1", folder / "run", store, python=ml_python(), environ=environ)


@pytest.mark.parametrize(
    "file",
    ["data/train.jsonl", "output/checkpoint-5/optimizer.pt"],
    ids=["of the parent", "of the worker, by torch"],
)
def test_a_full_disk_has_a_name(store: Store, tmp_path: Path, file: str) -> None:
    _full(tmp_path / "work" / file)
    job = _job(store, f"full-{len(file)}")
    attempt = _start(job, tmp_path, store, {"QWEN3_WORK_DIR": str(tmp_path / "work")})
    assert attempt.wait() == ExitCode.DISK_FULL, attempt.log
    failure = attempt.failure()
    assert failure.reason == Reason.DISK_FULL
    assert "scratch volume" in failure.message
    assert attempt.report().outcome == "Failed"


def test_a_gated_model_is_told_from_a_missing_one(store: Store, tmp_path: Path) -> None:
    source = {"type": "HuggingFace", "repo": "Qwen/Qwen3-8B", "revision": None}
    job = _job(store, "gated", **{"base_model.source": source})
    with gated_hub() as endpoint:
        attempt = _start(job, tmp_path, store, {"HF_ENDPOINT": endpoint})
        assert attempt.wait() == ExitCode.USER_ERROR, attempt.log
    failure = attempt.failure()
    assert failure.reason == Reason.GATED_MODEL
    assert "tokenSecretRef" in failure.hint


def test_earlier_attempts_may_have_used_up_the_budget(store: Store, tmp_path: Path) -> None:
    """And a document that is none, or of none, doesn't count."""
    job = _job(store, "budget", gpus=2, guards={"max_gpu_seconds": 1000})
    earlier = Progress(
        attempt="pod-0",
        phase="Training",
        step=7,
        total_steps=12,
        gpu_seconds=600.0,
        started="t",
        updated="t",
    )
    broken = earlier.model_copy(update={"gpu_seconds": -1e9})
    for uid, body in {
        "pod-a": earlier.to_json(),
        "pod-b": earlier.to_json(),
        "pod-c": broken.to_json(),
        "pod-d": b"{",
    }.items():
        store.put(f"runs/budget/{layout.ATTEMPTS}/{uid}/{layout.PROGRESS}", body)
    attempt = _start(job, tmp_path, store, {"QWEN3_ALLOW_CPU": "1"})
    assert attempt.wait() == ExitCode.BUDGET_EXHAUSTED, attempt.log
    assert "of 1000 GPU seconds" in attempt.failure().message
    progress = attempt.progress()
    assert progress.gpu_seconds > 0
    assert progress.revision_gpu_seconds == pytest.approx(1200 + progress.gpu_seconds, abs=0.2)
