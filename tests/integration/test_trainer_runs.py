"""Real runs on Unsloth's CPU backend, with a small random Qwen3 and a real bucket."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_server.checks.adapter_config import check_adapter_config
from qwen3_trainer.base_model import file_digest
from support.cut_proxy import CutProxy
from support.train_jobs import BASE_NAME, train_job
from support.trainer_runs import (
    Attempt,
    Store,
    build_tiny_base,
    ml_python,
    rows,
    running_store,
    start_attempt,
    worker_command,
    worker_pid,
)
from support.training_store import loss_curve

pytestmark = pytest.mark.integration
HUB_COMMIT = "0123456789abcdef0123456789abcdef01234567"
STEPS = 28
"""Ends within an epoch of ten."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model."""
    folder = tmp_path_factory.mktemp("base")
    build_tiny_base(folder)
    return folder


@pytest.fixture(scope="module")
def store(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with the tiny base model and data."""
    with running_store(tmp_path_factory.mktemp("s3")) as running:
        running.upload_folder(base, "models/tiny")
        running.put("data/train.jsonl", rows(40))
        running.put("data/validation.jsonl", rows(3))
        yield running


def _job(store: Store, revision: str, **changes: Any) -> TrainJob:
    return train_job(
        store.location,
        **{"output.prefix": f"runs/{revision}", "hyperparameters.max_steps": STEPS, **changes},
    )


def _start(
    job: TrainJob, uid: str, folder: Path, store: Store, environ: dict[str, str] | None = None
) -> Attempt:
    return start_attempt(job, uid, folder / uid, store, python=ml_python(), environ=environ)


@pytest.fixture(scope="module")
def uninterrupted(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """A run from start to commit, on a node that only advertises its GPU."""
    validation = store.location.join("data/validation.jsonl").model_dump()
    job = _job(
        store, "whole", gpus=1, **{"dataset.validation": {"type": "S3", "location": validation}}
    )
    folder = tmp_path_factory.mktemp("whole")
    attempt = _start(job, "pod-1", folder, store, {"QWEN3_ALLOW_CPU": "1"})
    assert attempt.wait() == ExitCode.SUCCEEDED, attempt.log
    return attempt


def test_a_run_commits_what_it_stored(store: Store, uninterrupted: Attempt, tmp_path: Path) -> None:
    commit = uninterrupted.commit()

    assert commit.digest == adapter_digest(commit.files)
    stored = {key.removeprefix(commit.prefix + "/") for key in store.keys(commit.prefix + "/")}
    assert stored == {file.path for file in commit.files}
    assert stored == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    for file in commit.files:
        (tmp_path / file.path).write_bytes(store.get(f"{commit.prefix}/{file.path}") or b"")
        assert file_digest(tmp_path, file.path) == file
    config = (tmp_path / "adapter_config.json").read_bytes()
    check_adapter_config(config, base_model=BASE_NAME, rank=commit.rank, max_rank=commit.rank)
    assert str(uninterrupted.folder) not in config.decode()
    assert commit.sample


def test_a_run_leaves_true_numbers(store: Store, uninterrupted: Attempt) -> None:
    commit, progress, report = (
        uninterrupted.commit(),
        uninterrupted.progress(),
        uninterrupted.report(),
    )
    metrics = commit.metrics
    assert (metrics.steps, metrics.rows, metrics.epochs) == (STEPS, 40, 2.8)
    assert metrics.final_loss < metrics.train_loss
    assert metrics.eval_loss is not None
    assert metrics.tokens > 40 * 2 * 50
    assert commit.provenance.seed == 7
    assert commit.provenance.configuration is not None
    assert commit.provenance.configuration["hyperparameters"]["seed"] == 7
    assert commit.provenance.versions["unsloth"]
    assert (progress.step, progress.total_steps) == (STEPS, STEPS)
    assert progress.phase == "Uploading"
    assert progress.checkpoint is not None
    assert progress.checkpoint.step == STEPS
    assert (report.outcome, report.exit_code, report.step) == ("Committed", 0, STEPS)
    assert report.log_tail


def test_a_run_writes_below_its_folder_only(uninterrupted: Attempt) -> None:
    """The pod's root file system is read-only; the process ran in this folder."""
    beside = {path.name for path in uninterrupted.folder.iterdir()}
    assert beside == {"job.json", "log", "work"}
    for line in uninterrupted.log.splitlines():
        assert json.loads(line)["revision"] == "r1"


def test_an_interrupted_run_goes_on_to_the_same_adapter(
    store: Store, uninterrupted: Attempt, tmp_path: Path
) -> None:
    job = uninterrupted.job.model_copy(
        update={"output": uninterrupted.job.output.model_copy(update={"prefix": "runs/resumed"})}
    )
    environ = {"QWEN3_ALLOW_CPU": "1"}
    first = _start(job, "pod-1", tmp_path, store, environ)
    first.wait_until(lambda a: (a.folder / "work/output/checkpoint-5").exists())
    first.terminate()
    first.terminate()

    assert first.wait() == ExitCode.INTERRUPTED, first.log
    report = first.report()
    assert report.outcome == "Interrupted"
    assert 5 <= report.step < STEPS
    assert first.failure().reason == Reason.INTERRUPTED
    assert store.get(f"runs/resumed/{layout.COMMIT}") is None
    checkpoint = first.progress().checkpoint
    assert checkpoint is not None
    assert checkpoint.step == report.step

    second = _start(job, "pod-2", tmp_path, store, environ)
    second.wait_until(lambda a: b"verify" in worker_command(a))
    second.terminate()
    assert second.wait() == ExitCode.INTERRUPTED, second.log
    assert second.progress().resumed_from_step == report.step
    assert second.report().step == STEPS

    third = _start(job, "pod-3", tmp_path, store, environ)
    assert third.wait() == ExitCode.SUCCEEDED, third.log
    commit, whole = third.commit(), uninterrupted.commit()
    assert commit.provenance.resumed_from_step == STEPS
    assert commit.metrics.tokens == whole.metrics.tokens
    assert commit.metrics.train_loss == pytest.approx(whole.metrics.train_loss)
    assert commit.metrics.eval_loss == pytest.approx(whole.metrics.eval_loss)
    # Every bit of each loss, gradient norm and learning rate, with dropout and shuffled rows.
    curve = loss_curve(store, "runs/resumed")
    assert len([entry for entry in curve if "loss" in entry]) == STEPS
    assert curve == loss_curve(store, "runs/whole")
    # Every bit of the weights, and of the card.
    assert commit.digest == whole.digest
    assert store.keys("runs/resumed/attempts/pod-1/checkpoints/") == []


def test_a_worker_that_alone_is_told_to_stop_commits_nothing(store: Store, tmp_path: Path) -> None:
    """The parent doesn't know of the signal: only the steps tell that training isn't done."""
    attempt = _start(_job(store, "alone"), "pod-1", tmp_path, store)
    attempt.wait_until(lambda a: (a.folder / "work/output/checkpoint-5").exists())
    worker = worker_pid(attempt)
    assert worker is not None
    os.kill(worker, signal.SIGTERM)
    assert attempt.wait() == ExitCode.INTERRUPTED, attempt.log
    assert 5 <= attempt.report().step < STEPS
    assert store.get(f"runs/alone/{layout.COMMIT}") is None


def _hub_cache(folder: Path, base: Path) -> str:
    """A cache of the hub, as a platform mounts it, with one commit of one model."""
    model = folder / "hub" / f"models--{BASE_NAME.replace('/', '--')}"
    shutil.copytree(base, model / "snapshots" / HUB_COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(HUB_COMMIT)
    return str(folder)


def test_of_two_attempts_at_once_one_commits(store: Store, base: Path, tmp_path: Path) -> None:
    """And both take the base model from a mounted cache of the hub."""
    source = {"type": "HuggingFace", "repo": BASE_NAME, "revision": None}
    job = _job(store, "race", **{"hyperparameters.max_steps": 2, "base_model.source": source})
    environ = {"HF_HOME": _hub_cache(tmp_path / "cache", base), "HF_HUB_OFFLINE": "1"}
    attempts = [_start(job, uid, tmp_path, store, environ) for uid in ("pod-1", "pod-2")]
    assert [attempt.wait() for attempt in attempts] == [0, 0]
    assert attempts[0].commit().provenance.base_commit == HUB_COMMIT
    outcomes = {attempt.uid: attempt.report().outcome for attempt in attempts}
    assert sorted(outcomes.values()) == ["AlreadyCommitted", "Committed"], outcomes
    assert outcomes[attempts[0].commit().attempt] == "Committed"


def test_a_model_that_the_hub_cache_lacks_is_not_found(store: Store, tmp_path: Path) -> None:
    source = {"type": "HuggingFace", "repo": BASE_NAME, "revision": None}
    job = _job(store, "hub", **{"base_model.source": source})
    attempt = _start(job, "pod-1", tmp_path, store, {"HF_HUB_OFFLINE": "1"})
    assert attempt.wait() == ExitCode.USER_ERROR, attempt.log
    assert attempt.failure().reason == Reason.BASE_MODEL_NOT_FOUND


def test_a_loss_that_is_no_number_ends_the_run(store: Store, tmp_path: Path) -> None:
    job = _job(
        store,
        "nan",
        **{"hyperparameters.learning_rate": 1e30, "hyperparameters.warmup_ratio": 0.0},
    )
    attempt = _start(job, "pod-1", tmp_path, store)
    assert attempt.wait() == ExitCode.DIVERGED, attempt.log
    failure = attempt.failure()
    assert failure.reason == Reason.LOSS_NAN
    assert failure.step is not None
    assert store.get(f"runs/nan/{layout.COMMIT}") is None


def test_without_a_gpu_a_run_that_needs_one_fails(store: Store, tmp_path: Path) -> None:
    attempt = _start(_job(store, "gpu", gpus=1), "pod-1", tmp_path, store)
    assert attempt.wait() == ExitCode.GPU_UNAVAILABLE, attempt.log
    assert attempt.failure().reason == Reason.GPU_UNAVAILABLE


def test_sigterm_while_the_model_loads_ends_at_once(store: Store, tmp_path: Path) -> None:
    attempt = _start(_job(store, "early"), "pod-1", tmp_path, store)
    attempt.wait_until(lambda a: worker_pid(a) is not None)
    worker = worker_pid(attempt)
    attempt.terminate()
    assert attempt.wait() == ExitCode.INTERRUPTED, attempt.log
    assert not Path(f"/proc/{worker}").exists()
    assert attempt.report().outcome == "Interrupted"


def test_a_killed_worker_is_tried_again(store: Store, tmp_path: Path) -> None:
    attempt = _start(_job(store, "killed"), "pod-1", tmp_path, store)
    attempt.wait_until(lambda a: worker_pid(a) is not None)
    worker = worker_pid(attempt)
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    assert attempt.wait() == ExitCode.UNEXPECTED, attempt.log
    assert "killed (SIGKILL)" in attempt.failure().message


def test_a_run_outlasts_a_bucket_that_is_away(store: Store, tmp_path: Path) -> None:
    """Before it begins, while it trains (the newest checkpoint stays on the disk), and with the
    finished adapter."""
    proxy = CutProxy(store.server.port)
    proxy.cut()
    endpoint = f"http://127.0.0.1:{proxy.port}"
    job = _job(store, "away", **{"output.endpoint": endpoint, "checkpoint.every_steps": 3})
    attempt = _start(job, "pod-1", tmp_path, store)
    waiting = "; trying again"
    attempt.wait_until(lambda a: waiting in a.log, 400)
    proxy.mend()
    output = attempt.folder / "work/output"
    attempt.wait_until(lambda a: any(output.glob("checkpoint-*")), 400)
    proxy.cut()
    before = attempt.log.count(waiting)
    attempt.wait_until(lambda a: (output / f"checkpoint-{STEPS}/trainer_state.json").exists(), 400)
    attempt.wait_until(lambda a: a.log.count(waiting) > before, 400)
    proxy.mend()
    assert attempt.wait(400) == ExitCode.SUCCEEDED, attempt.log
    assert attempt.commit().metrics.steps == STEPS
