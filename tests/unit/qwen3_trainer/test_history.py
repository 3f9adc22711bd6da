"""What a trainer's log tells about losses."""

from typing import Any

import pytest

from qwen3_api.job.train import JobEarlyStopping
from qwen3_trainer.worker.history import eval_loss_at, losses, stopped_improving


def _log(*eval_losses: float) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for i, loss in enumerate(eval_losses):
        step = 5 * (i + 1)
        entries += [{"loss": 9.0, "step": step}, {"eval_loss": loss, "step": step}]
    return entries


@pytest.mark.parametrize(
    ("eval_losses", "patience", "min_delta", "stopped"),
    [
        ((), 1, 0.0, False),
        ((3.0,), 1, 0.0, False),
        ((3.0, 2.0, 1.0), 1, 0.0, False),
        ((3.0, 3.0), 1, 0.0, True),
        ((3.0, 4.0), 1, 0.0, True),
        ((3.0, 4.0), 2, 0.0, False),
        ((3.0, 4.0, 3.5), 2, 0.0, True),
        ((3.0, 4.0, 2.0, 2.5), 2, 0.0, False),
        ((3.0, 4.0, 2.0, 2.5, 2.25), 2, 0.0, True),
        # Better, but not by more than min_delta; and the lowest counts, whether it counted or not.
        ((3.0, 2.75), 1, 0.25, True),
        ((3.0, 2.5), 1, 0.25, False),
        ((3.0, 2.875, 2.625), 2, 0.25, True),
        ((3.0, 2.875, 2.5), 2, 0.25, False),
    ],
)
def test_early_stopping_is_told_by_the_log(
    eval_losses: tuple[float, ...], patience: int, min_delta: float, stopped: bool
) -> None:
    rule = JobEarlyStopping(patience=patience, min_delta=min_delta)
    assert stopped_improving(_log(*eval_losses), rule) is stopped


def test_the_mean_loss_weighs_each_entry_by_its_steps() -> None:
    log = [{"loss": 4.0, "step": 1}, {"eval_loss": 8.0, "step": 1}, {"loss": 1.0, "step": 3}]
    assert losses(log) == (1.0, 2.0)


def test_the_validation_loss_of_a_step() -> None:
    log = _log(3.0, 2.0)
    assert eval_loss_at(log, 5) == 3.0
    assert eval_loss_at(log, 10) == 2.0
    assert eval_loss_at(log, 11) is None
