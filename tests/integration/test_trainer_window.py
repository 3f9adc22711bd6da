"""The worker asks Unsloth for no more positions than the base model knows."""

import json
from pathlib import Path

import pytest

from qwen3_trainer.worker.messages import TrainPlan
from support.train_jobs import train_job
from support.trainer_runs import build_tiny_base, run_probe

pytestmark = pytest.mark.integration
WINDOW = 2048
"""Of the tiny base."""


def test_rows_beyond_the_window_are_refused_before_unsloth(tmp_path: Path) -> None:
    base, plan = tmp_path / "base", tmp_path / "plan.json"
    base.mkdir()
    build_tiny_base(base)
    order = TrainPlan(
        job=train_job(**{"dataset.max_sequence_length": WINDOW + 1}),
        base=str(base),
        train_rows="none",
        validation_rows=None,
        output=str(tmp_path / "output"),
        resume_from=None,
        allow_cpu=True,
    )
    plan.write_bytes(order.to_json())

    found = json.loads(run_probe("window_probe.py", plan).splitlines()[-1])

    reason, message, hint = found["failure"]
    assert reason == "InvalidSpec"
    assert f"{WINDOW} positions" in message
    assert hint == f"Set dataset.maxSequenceLength to {WINDOW} or less."
    assert not found["unsloth"]
