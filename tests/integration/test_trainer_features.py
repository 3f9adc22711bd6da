"""Early stopping, best checkpoint, W&B, thinking and going on from an adapter, on the CPU."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import Commit
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.conditions import Reason
from support.train_jobs import train_job
from support.trainer_runs import (
    Attempt,
    Store,
    ml_python,
    rows,
    run_probe,
    start_attempt,
)
from support.training_store import (
    BASE,
    checkpoint_file,
    checkpoint_steps,
    data_source,
    loss_curve,
    training_store,
)
from support.wandb_server import running_wandb

pytestmark = pytest.mark.integration
STEPS = 60
PATIENCE = 3
WEIGHTS = "adapter_model.safetensors"
INSTALLED = """
import hashlib, sys
from importlib.metadata import files, version
(template,) = (f for f in files("trl") if f.name == "qwen3.jinja")
print(hashlib.sha256(template.locate().read_bytes()).hexdigest(), *map(version, sys.argv[1:]))
"""
"""The template that rows are rendered with, since TRL doesn't know the tiny base's; versions."""
WANDB = {"project": "bots", "entity": None, "offline": True, "base_url": None}


def _other_answers(count: int) -> bytes:
    """Rows of the same shape with answers that learning the training rows makes less likely."""
    return rows(count).replace(b"it is", b"never")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A bucket with the tiny base model and data."""
    data = {
        "data/train.jsonl": rows(40),
        "data/validation.jsonl": _other_answers(6),
        # No date, and no reason to lose a training.
        f"{BASE}/README.md": b"---\ndate: 2026-13-45\nlicense: apache-2.0\n---\n# Tiny\n",
    }
    with training_store(tmp_path_factory.mktemp("store"), data) as running:
        yield running


def _job(store: Store, revision: str, **changes: Any) -> TrainJob:
    return train_job(store.location, **{"output.prefix": f"runs/{revision}", **changes})


def _start(
    job: TrainJob, uid: str, folder: Path, store: Store, environ: dict[str, str] | None = None
) -> Attempt:
    return start_attempt(job, uid, folder / uid, store, python=ml_python(), environ=environ)


def _worsening(store: Store) -> dict[str, Any]:
    """An order that is evaluated every other step, gets worse at last and is stopped for that."""
    return {
        "wandb": WANDB,
        "dataset.validation": data_source(store, "data/validation.jsonl"),
        "dataset.thinking": "Disabled",
        "hyperparameters.max_steps": STEPS,
        "hyperparameters.early_stopping": {"patience": PATIENCE, "min_delta": 0.0},
        "checkpoint.every_steps": 2,
    }


@pytest.fixture(scope="module")
def stopped(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """A run that gets worse on its validation rows, with an offline run of W&B."""
    job = _job(store, "stopped", **_worsening(store))
    attempt = _start(job, "pod-1", tmp_path_factory.mktemp("stopped"), store)
    assert attempt.wait() == ExitCode.SUCCEEDED, attempt.log
    return attempt


def _evaluations(store: Store, revision: str) -> dict[int, float]:
    """Validation loss by step."""
    curve = loss_curve(store, revision)
    return {entry["step"]: entry["eval_loss"] for entry in curve if "eval_loss" in entry}


def test_training_stops_early_and_commits_the_best(store: Store, stopped: Attempt) -> None:
    evaluations = _evaluations(store, "runs/stopped")
    best = min(evaluations, key=lambda step: evaluations[step])
    metrics, progress = stopped.commit().metrics, stopped.progress()

    assert metrics.steps == best + PATIENCE * 2 == max(evaluations) < STEPS
    assert (metrics.best_step, metrics.eval_loss) == (best, evaluations[best])
    assert (progress.best_step, progress.best_eval_loss) == (best, evaluations[best])
    assert (progress.step, progress.total_steps) == (metrics.steps, STEPS)
    # The best, the newest, and the one before it that wasn't overtaken on its way to the bucket.
    kept = checkpoint_steps(store, "runs/stopped")
    assert (kept[0], kept[-1]) == (best, metrics.steps)
    assert len(kept) <= 3
    committed = store.get(f"{stopped.commit().prefix}/{WEIGHTS}")
    assert committed == checkpoint_file(store, "runs/stopped", best, WEIGHTS)
    assert committed != checkpoint_file(store, "runs/stopped", metrics.steps, WEIGHTS)


def test_the_manifest_says_what_went_in(store: Store, stopped: Attempt) -> None:
    """By the bytes in the bucket and what the environment itself says."""
    told = stopped.commit().provenance
    train, validation = (store.get(f"data/{name}.jsonl") for name in ("train", "validation"))
    assert train is not None
    assert validation is not None

    assert told.dataset_sha256 == hashlib.sha256(train).hexdigest()
    assert told.validation_sha256 == hashlib.sha256(validation).hexdigest()
    assert told.license == "apache-2.0"
    assert (told.image, told.seed) == (stopped.job.image, stopped.job.hyperparameters.seed)
    assert (told.thinking, told.started_from) == ("Disabled", None)
    command = [ml_python(), "-c", INSTALLED, *told.versions]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert [told.chat_template_sha256, *told.versions.values()] == printed
    assert {"unsloth", "torch", "trl", "peft", "transformers"} <= set(told.versions)


def test_the_hubs_library_reads_the_card(store: Store, stopped: Attempt, tmp_path: Path) -> None:
    commit = stopped.commit()
    (tmp_path / "README.md").write_bytes(store.get(f"{commit.prefix}/README.md") or b"")
    read = _probe("card_probe.py", tmp_path / "README.md")

    assert read["data"]["base_model"] == "local/tiny-qwen3"
    assert read["data"]["library_name"] == "peft"
    assert read["data"]["license"] == "apache-2.0"
    assert read["results"] == [["loss", "Validation loss", commit.metrics.eval_loss]]
    assert commit.provenance.dataset_sha256 in read["text"]
    assert f"{commit.metrics.best_step} of {commit.metrics.steps}, the best" in read["text"]


def _probe(script: str, path: Path) -> dict[str, Any]:
    """What a script of tests/support prints about a file."""
    printed: dict[str, Any] = json.loads(run_probe(script, path))
    return printed


def _offline_run(store: Store, prefix: str, folder: Path) -> dict[str, Any]:
    """What support/wandb_probe.py reads in the offline run below a prefix."""
    (key,) = (key for key in store.keys(prefix) if key.endswith(".wandb"))
    (folder / "run.wandb").write_bytes(store.get(key) or b"")
    return _probe("wandb_probe.py", folder / "run.wandb")


def test_the_offline_run_of_wandb_has_the_losses(
    store: Store, stopped: Attempt, tmp_path: Path
) -> None:
    read = _offline_run(store, "runs/stopped/wandb/pod-1/", tmp_path)

    run = {"id": "uid-1-r1", "project": "bots", "name": "team-a/bot r1", "has_git": False}
    assert (read["run"], read["exit_code"]) == (run, 0)
    for ours, theirs in (("loss", "train/loss"), ("eval_loss", "eval/loss")):
        expected = [
            (entry["step"], entry[ours])
            for entry in loss_curve(store, "runs/stopped")
            if ours in entry
        ]
        assert expected
        history = [h for h in read["history"] if theirs in h]
        assert [(h["train/global_step"], h[theirs]) for h in history] == expected
    steps = [h for h in read["history"] if "train/loss" in h]
    # From the second on: a pace is between two.
    assert all(h["train/tokens_per_second"] > 0 for h in steps[1:])
    assert all(h["train/eta_seconds"] >= 0 for h in steps[1:])
    kept = loss_curve(store, "runs/stopped")
    assert not any("eta_seconds" in entry for entry in kept), "the checkpoints stay as they are"


def test_an_interrupted_run_knows_its_best_and_when_to_stop(
    store: Store, stopped: Attempt, tmp_path: Path
) -> None:
    whole = stopped.commit()
    best = whole.metrics.best_step
    assert best is not None
    job = _job(store, "again", **_worsening(store))
    first = _start(job, "pod-1", tmp_path, store)
    first.wait_until(lambda a: (a.folder / f"work/output/checkpoint-{best + 2}").exists())
    first.terminate()
    assert first.wait() == ExitCode.INTERRUPTED, first.log
    assert store.get(f"runs/again/{layout.COMMIT}") is None
    assert any(key.endswith(".wandb") for key in store.keys("runs/again/wandb/pod-1/"))

    second = _start(job, "pod-2", tmp_path, store)
    assert second.wait() == ExitCode.SUCCEEDED, second.log
    resumed = second.commit()
    assert resumed.provenance.resumed_from_step == first.report().step >= best + 2
    assert loss_curve(store, "runs/again") == loss_curve(store, "runs/stopped")
    assert resumed.metrics.model_dump(exclude={"train_seconds"}) == whole.metrics.model_dump(
        exclude={"train_seconds"}
    )
    assert resumed.digest == whole.digest


def _start_of(commit: Commit, store: Store) -> dict[str, Any]:
    """adapter.start of the order."""
    return {
        "location": store.location.join(commit.prefix).model_dump(),
        "files": [file.model_dump() for file in commit.files],
        "digest": commit.digest,
    }


def test_a_run_goes_on_from_an_adapter_and_is_followed_online(
    store: Store, stopped: Attempt, tmp_path: Path
) -> None:
    commit = stopped.commit()
    with running_wandb() as server:
        job = _job(
            store,
            "further",
            wandb={**WANDB, "offline": False, "base_url": server.url},
            **{
                "adapter.start": _start_of(commit, store),
                "dataset.thinking": "Disabled",
                "hyperparameters.max_steps": 2,
            },
        )
        attempt = _start(job, "pod-1", tmp_path, store, {"WANDB_API_KEY": "0" * 40})
        assert attempt.wait() == ExitCode.SUCCEEDED, attempt.log
        url = f"{server.url}/team-a/bots/runs/uid-1-r1"

    assert attempt.progress().tracking_url == url
    assert server.losses == [entry["loss"] for entry in loss_curve(store, "runs/further")]
    assert not store.keys("runs/further/wandb/")
    assert attempt.commit().provenance.started_from == commit.digest
    begun, fresh = (loss_curve(store, f"runs/{name}")[0] for name in ("further", "stopped"))
    assert begun["loss"] < fresh["loss"] / 2
    assert attempt.commit().digest != commit.digest


@pytest.mark.parametrize(
    ("changes", "replaced", "problem"),
    [
        ({"adapter.rank": 16}, None, "its rank is 8, the order's 16"),
        ({}, b"{}", "adapter_config.json has other bytes than were committed"),
        ({"adapter.start.location.prefix": "nowhere"}, None, "it has no adapter_config.json"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_at_once(
    store: Store,
    stopped: Attempt,
    tmp_path: Path,
    changes: dict[str, Any],
    replaced: bytes | None,
    problem: str,
) -> None:
    commit = stopped.commit()
    start = _start_of(commit, store)
    if replaced is not None:
        store.put("copies/adapter_config.json", replaced)
        start["location"] = store.location.join("copies").model_dump()
    job = _job(store, "refused", **{"adapter.start": start, **changes})
    attempt = start_attempt(job, "pod-1", tmp_path / "pod-1", store)
    assert attempt.wait() == ExitCode.USER_ERROR, attempt.log
    failure = attempt.failure()
    assert failure.reason == Reason.START_ADAPTER_NOT_FOUND
    assert problem in failure.message
    assert "adapter" in failure.hint
