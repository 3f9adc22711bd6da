"""DPO on the CPU: from an SFT adapter, interrupted, and with a quantised base."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import Commit
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.conditions import Reason
from support.train_jobs import train_job
from support.trainer_runs import Attempt, Store, ml_python, rows, start_attempt
from support.training_store import (
    checkpoint_file,
    checkpoint_steps,
    data_source,
    loss_curve,
    training_store,
)

pytestmark = pytest.mark.integration
STEPS = 12
EQUAL = math.log(2)
"""Loss of DPO while the adapter and its frozen copy say the same."""


def _pairs(numbers: range) -> bytes:
    """Preference rows whose chosen answers are those of `rows`; every other one as messages."""
    lines = []
    for i in numbers:
        prompt, chosen, rejected = f"what is {i}?", f"it is {i * 3}", f"never {i}"
        asked = {"role": "user", "content": prompt}
        row: dict[str, Any] = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        if i % 2:
            row = {
                name: [asked, {"role": "assistant", "content": row[name]}]
                for name in ("chosen", "rejected")
            }
        lines.append(json.dumps(row).encode() + b"\n")
    return b"".join(lines)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A bucket with the tiny base model and data."""
    data = {
        "data/train.jsonl": rows(40),
        "data/pairs.jsonl": _pairs(range(30)),
        "data/validation.jsonl": _pairs(range(30, 35)),
    }
    with training_store(tmp_path_factory.mktemp("store"), data) as running:
        yield running


def _run(store: Store, revision: str, folder: Path, uid: str = "pod-1", **changes: Any) -> Attempt:
    job = train_job(store.location, **{"output.prefix": f"runs/{revision}", **changes})
    return start_attempt(job, uid, folder / uid, store, python=ml_python())


@pytest.fixture(scope="module")
def sft(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Commit:
    """An adapter that has learned the chosen answers."""
    attempt = _run(store, "sft", tmp_path_factory.mktemp("sft"))
    assert attempt.wait() == ExitCode.SUCCEEDED, attempt.log
    return attempt.commit()


def _preferences(store: Store, sft: Commit) -> dict[str, Any]:
    return {
        "method": "DPO",
        "dpo": {"beta": 0.1, "loss_type": "sigmoid"},
        "dataset.train": data_source(store, "data/pairs.jsonl"),
        "dataset.validation": data_source(store, "data/validation.jsonl"),
        "adapter.start": {
            "location": store.location.join(sft.prefix).model_dump(),
            "files": [file.model_dump() for file in sft.files],
            "digest": sft.digest,
        },
        "hyperparameters.max_steps": STEPS,
        "hyperparameters.learning_rate": 1e-3,
    }


@pytest.fixture(scope="module")
def whole(store: Store, sft: Commit, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """DPO from the SFT adapter, from start to commit."""
    changes = _preferences(store, sft)
    attempt = _run(store, "whole", tmp_path_factory.mktemp("whole"), **changes)
    assert attempt.wait() == ExitCode.SUCCEEDED, attempt.log
    return attempt


def test_dpo_prefers_the_chosen_answers(store: Store, sft: Commit, whole: Attempt) -> None:
    commit, curve = whole.commit(), loss_curve(store, "runs/whole")

    # At first it is its own reference: a copy of the SFT adapter, not the bare base.
    assert curve[0]["loss"] == pytest.approx(EQUAL, abs=1e-3)
    # A fresh adapter on this random base gets no token right.
    assert curve[0]["mean_token_accuracy"] > 0.1
    assert commit.metrics.final_loss < EQUAL - 0.1
    assert commit.metrics.eval_loss is not None
    assert commit.metrics.eval_loss < EQUAL - 0.1
    assert (commit.metrics.steps, commit.metrics.rows) == (STEPS, 30)
    assert commit.metrics.tokens > STEPS * 4 * 2 * 20
    assert commit.provenance.started_from == sft.digest
    assert commit.digest != sft.digest
    assert "the chosen answer wins in 100 % of the validation rows" in whole.log
    assert commit.sample


def test_the_reference_is_in_no_checkpoint(store: Store, whole: Attempt) -> None:
    assert {file.path for file in whole.commit().files} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert not [key for key in store.keys("runs/whole/") if "/ref/" in key]
    assert not list((whole.folder / "work").rglob("ref"))
    for step in checkpoint_steps(store, "runs/whole"):
        weights = checkpoint_file(store, "runs/whole", step, "adapter_model.safetensors")
        assert b".ref." not in weights
        assert b"lora_A.weight" in weights


def test_an_interrupted_run_keeps_its_reference(
    store: Store, sft: Commit, whole: Attempt, tmp_path: Path
) -> None:
    changes = _preferences(store, sft)
    first = _run(store, "resumed", tmp_path, **changes)
    first.wait_until(lambda a: (a.folder / "work/output/checkpoint-5").exists())
    first.terminate()
    assert first.wait() == ExitCode.INTERRUPTED, first.log
    second = _run(store, "resumed", tmp_path, "pod-2", **changes)
    assert second.wait() == ExitCode.SUCCEEDED, second.log

    assert second.commit().provenance.resumed_from_step == first.report().step >= 5
    assert loss_curve(store, "runs/resumed") == loss_curve(store, "runs/whole")
    assert second.commit().digest == whole.commit().digest


def test_dpo_goes_on_from_an_adapter_of_a_quantised_base(
    store: Store, sft: Commit, tmp_path: Path
) -> None:
    changes = {
        **_preferences(store, sft),
        "adapter.quantized": True,
        "dataset.validation": None,
        "hyperparameters.max_steps": 2,
        "dpo.loss_type": "ipo",
    }
    attempt = _run(store, "quantized", tmp_path, **changes)
    assert attempt.wait() == ExitCode.SUCCEEDED, attempt.log
    assert "4-bit = True" in attempt.log
    begun = loss_curve(store, "runs/quantized")[0]
    # IPO: (margin - 1 / (2 beta))^2, and the margin of equals is 0.
    assert begun["loss"] == pytest.approx(25.0, rel=0.05)
    assert begun["mean_token_accuracy"] > 0.1
    assert attempt.commit().provenance.started_from == sft.digest


def test_rows_without_preferences_are_refused_at_once(store: Store, tmp_path: Path) -> None:
    job: TrainJob = train_job(
        store.location, method="DPO", dpo={"beta": 0.1, "loss_type": "sigmoid"}
    )
    attempt = start_attempt(job, "pod-1", tmp_path / "pod-1", store)
    assert attempt.wait() == ExitCode.USER_ERROR, attempt.log
    failure = attempt.failure()
    assert failure.reason == Reason.DATASET_INVALID
    assert failure.message.startswith("line 1: not a preference row")
    assert "dataset.format Preference" in failure.hint
