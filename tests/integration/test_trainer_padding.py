"""Training without padding: by TRL's own loop, and a whole run with the trainer on the CPU."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.train import TrainJob
from support.train_jobs import train_job
from support.trainer_runs import (
    Attempt,
    Store,
    build_tiny_base,
    ml_python,
    rows,
    run_probe,
    start_attempt,
)
from support.training_store import data_source, loss_curve, training_store

pytestmark = pytest.mark.integration
DATA = {"data/train.jsonl": rows(40), "data/validation.jsonl": rows(7)}
STEPS = 12


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with the tiny base model and data."""
    with training_store(tmp_path_factory.mktemp("s3"), DATA) as running:
        yield running


def order(store: Store, revision: str, *, padding_free: bool) -> TrainJob:
    """Twelve steps of four rows, an epoch and a fifth. Dropout would differ by the shapes."""
    changes: dict[str, Any] = {
        "output.prefix": f"runs/{revision}",
        "dataset.validation": data_source(store, "data/validation.jsonl"),
        "adapter.dropout": 0.0,
        "hyperparameters.max_steps": STEPS,
        "hyperparameters.learning_rate": 1e-3,
        "hyperparameters.padding_free": padding_free,
    }
    return train_job(store.location, **changes)


def finish(job: TrainJob, folder: Path, store: Store, uid: str = "pod-1") -> Attempt:
    """An attempt that commits."""
    attempt = start_attempt(job, uid, folder / uid, store, python=ml_python())
    assert attempt.wait() == ExitCode.SUCCEEDED, attempt.log
    return attempt


@pytest.fixture(scope="module")
def free(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """A run without padding from start to commit."""
    return finish(order(store, "free", padding_free=True), tmp_path_factory.mktemp("free"), store)


def test_training_in_passes_without_padding_equals_training_with_padding(tmp_path: Path) -> None:
    base, output = tmp_path / "base", tmp_path / "output"
    base.mkdir()
    build_tiny_base(base)

    printed = json.loads(run_probe("padding_probe.py", base, output).splitlines()[-1])

    padded, free = printed["losses"]
    assert len(padded) == 3
    assert free == pytest.approx(padded, rel=1e-4)
    assert printed["difference"] < 1e-4
    # Twelve rows of 280 tokens, four a step: more than one pass for each step, of 64 at most.
    sizes = [sum(lengths) for lengths in printed["passes"]]
    assert sum(sizes) == 280
    assert len(sizes) > 3
    assert max(sizes) <= 64


def test_a_run_without_padding_learns_what_a_padded_one_learns(
    store: Store, free: Attempt, tmp_path: Path
) -> None:
    padded = finish(order(store, "padded", padding_free=False), tmp_path, store)

    ours, usual = (loss_curve(store, f"runs/{name}") for name in ("free", "padded"))
    assert "at most" in free.log
    assert "no padding" in free.log
    assert "no padding" not in padded.log
    assert len([entry for entry in ours if "loss" in entry]) == STEPS
    for name in ("step", "epoch", "learning_rate", "loss", "eval_loss"):
        one, other = ([entry[name] for entry in run if name in entry] for run in (ours, usual))
        assert one == pytest.approx(other, rel=0.01), name
    assert free.commit().metrics.tokens == padded.commit().metrics.tokens
    assert free.commit().metrics.eval_loss == pytest.approx(
        padded.commit().metrics.eval_loss, rel=0.01
    )


def test_an_interrupted_run_without_padding_goes_on_to_the_same_adapter(
    store: Store, free: Attempt, tmp_path: Path
) -> None:
    job = order(store, "resumed", padding_free=True)
    first = start_attempt(job, "pod-1", tmp_path / "pod-1", store, python=ml_python())
    first.wait_until(lambda a: (a.folder / "work/output/checkpoint-5").exists())
    first.terminate()
    assert first.wait() == ExitCode.INTERRUPTED, first.log

    second = finish(job, tmp_path, store, "pod-2")

    assert second.progress().resumed_from_step == first.report().step
    assert loss_curve(store, "runs/resumed") == loss_curve(store, "runs/free")
    assert second.commit().digest == free.commit().digest
