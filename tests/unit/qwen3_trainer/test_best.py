"""The weights of the lowest validation loss are found, or forgotten."""

import json
from pathlib import Path
from typing import Any

import pytest

from qwen3_trainer.worker.best import STATE, WEIGHTS, checkpoint_folder, forget_lost_best
from qwen3_trainer.worker.messages import TrainPlan
from support.train_jobs import train_job


def _checkpoint(parent: Path, step: int, best: int | None) -> Path:
    folder = parent / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"weights")
    state = {"global_step": step, "best_global_step": best, "best_metric": 1.5 if best else None}
    (folder / STATE).write_text(json.dumps(state))
    return folder


def _plan(tmp_path: Path, resume: Path | None, best: Path | None = None) -> TrainPlan:
    return TrainPlan(
        job=train_job(),
        base="base",
        train_rows="rows",
        validation_rows="rows",
        output=str(tmp_path / "output"),
        resume_from=str(resume) if resume else None,
        best_checkpoint=str(best) if best else None,
        allow_cpu=False,
    )


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((folder / STATE).read_text())
    return state


def test_a_checkpoint_is_found_wherever_it_came_from(tmp_path: Path) -> None:
    own = _checkpoint(tmp_path / "output", 10, 10)
    resumed = _checkpoint(tmp_path / "resume", 8, 6)
    best = _checkpoint(tmp_path / "best", 6, 6)
    plan = _plan(tmp_path, resumed, best)
    assert [checkpoint_folder(plan, step) for step in (10, 8, 6, 4)] == [own, resumed, best, None]
    (best / WEIGHTS).unlink()
    assert checkpoint_folder(plan, 6) is None


@pytest.mark.parametrize("best", [None, 8])
def test_a_best_that_is_there_stays(tmp_path: Path, best: int | None) -> None:
    resumed = _checkpoint(tmp_path / "resume", 8, best)
    before = _state(resumed)
    forget_lost_best(_plan(tmp_path, resumed), resumed)
    assert _state(resumed) == before


def test_a_lost_best_is_forgotten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    resumed = _checkpoint(tmp_path / "resume", 8, 6)
    forget_lost_best(_plan(tmp_path, resumed), resumed)
    state = _state(resumed)
    assert (state["best_global_step"], state["best_metric"]) == (None, None)
    assert state["global_step"] == 8
    assert "step 6" in caplog.text
    assert {path.name for path in resumed.iterdir()} == {STATE, WEIGHTS}
