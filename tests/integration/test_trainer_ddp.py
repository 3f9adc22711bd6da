"""Two processes under torchrun on the CPU (gloo) against one: the same training."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy.linalg import norm
from safetensors.numpy import load

from qwen3_api.job.exit_codes import ExitCode
from support.train_jobs import train_job
from support.trainer_runs import (
    Attempt,
    Store,
    ml_python,
    start_attempt,
)
from support.training_store import training_store

pytestmark = pytest.mark.integration
STEPS = 28
"""Ends within the third epoch of ten."""
LOSS_TOLERANCE = 2e-3
"""Relative. Sums in another order differ in the last bits, and Adam makes whole steps of the sign
of gradients that are nearly zero. A step over other rows, or a mean of the processes' means instead
of one over all tokens, is off by far more: the answers are of very different lengths."""
WEIGHT_TOLERANCE = 0.02
"""Relative, in the Euclidean norm of each matrix."""


def _uneven_rows(count: int) -> bytes:
    """Rows with 5 to 105 tokens to learn."""
    messages = [
        [
            {"role": "user", "content": f"what is {i}?"},
            {"role": "assistant", "content": f"{i} " + "and so on " * (7 * i % 11)},
        ]
        for i in range(count)
    ]
    return b"".join(json.dumps({"messages": m}).encode() + b"\n" for m in messages)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with the tiny base model and data."""
    data = {"data/train.jsonl": _uneven_rows(40)}
    with training_store(tmp_path_factory.mktemp("store"), data) as running:
        yield running


def _start(store: Store, uid: str, folder: Path, revision: str, **changes: Any) -> Attempt:
    settings = {
        "output.prefix": f"runs/{revision}",
        "hyperparameters.max_steps": STEPS,
        "hyperparameters.gradient_accumulation_steps": 2,
        "hyperparameters.learning_rate": 1e-3,
        # Each process draws masks of its own.
        "adapter.dropout": 0.0,
        "checkpoint.every_steps": 4,
    }
    job = train_job(store.location, **{**settings, **changes})
    return start_attempt(
        job, uid, folder / uid, store, python=ml_python(), environ={"QWEN3_ALLOW_CPU": "1"}
    )


def _losses(store: Store, attempt: Attempt) -> list[float]:
    saved = attempt.progress().checkpoint
    assert saved is not None
    state = json.loads(store.get(f"{saved.prefix}/trainer_state.json") or b"")
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def _weights(store: Store, attempt: Attempt) -> dict[str, Any]:
    body = store.get(f"{attempt.commit().prefix}/adapter_model.safetensors")
    assert body is not None
    return dict(load(body))


@pytest.fixture(scope="module")
def one(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """The training by one process."""
    folder = tmp_path_factory.mktemp("one")
    attempt = _start(store, "one", folder, "one", **{"hyperparameters.micro_batch_size": 2})
    assert attempt.wait() == ExitCode.SUCCEEDED, attempt.log
    return attempt


def _require_same_training(store: Store, attempt: Attempt, one: Attempt) -> None:
    expected = _losses(store, one)
    assert len(expected) == STEPS
    assert _losses(store, attempt) == pytest.approx(expected, rel=LOSS_TOLERANCE)
    metrics, alone = attempt.commit().metrics, one.commit().metrics
    assert (metrics.tokens, metrics.epochs, metrics.steps) == (
        alone.tokens,
        alone.epochs,
        alone.steps,
    )
    weights, wanted = _weights(store, attempt), _weights(store, one)
    assert weights.keys() == wanted.keys()
    for name, tensor in weights.items():
        difference = float(norm(tensor - wanted[name]) / norm(wanted[name]))
        assert difference < WEIGHT_TOLERANCE, name


def test_two_processes_train_as_one_does(store: Store, one: Attempt, tmp_path: Path) -> None:
    """Also over an interruption, which stops both at the same step."""
    changes = {"gpus": 2, "hyperparameters.micro_batch_size": 1}
    first = _start(store, "two-a", tmp_path, "two", **changes)
    first.wait_until(lambda a: (a.folder / "work/output/checkpoint-4").exists())
    first.terminate()
    assert first.wait() == ExitCode.INTERRUPTED, first.log
    stopped = first.report().step
    assert 4 <= stopped < STEPS
    saved = first.progress().checkpoint
    assert saved is not None
    assert saved.step == stopped
    names = {key.removeprefix(saved.prefix + "/") for key in store.keys(saved.prefix + "/")}
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= names

    second = _start(store, "two-b", tmp_path, "two", **changes)
    assert second.wait() == ExitCode.SUCCEEDED, second.log
    assert second.progress().resumed_from_step == stopped
    _require_same_training(store, second, one)


def test_two_processes_without_padding_train_as_one_with_padding_does(
    store: Store, one: Attempt, tmp_path: Path
) -> None:
    changes = {
        "gpus": 2,
        "hyperparameters.padding_free": True,
        "hyperparameters.micro_batch_size": 2,
        "hyperparameters.gradient_accumulation_steps": 1,
    }
    two = _start(store, "free", tmp_path, "free", **changes)
    assert two.wait() == ExitCode.SUCCEEDED, two.log

    _require_same_training(store, two, one)
