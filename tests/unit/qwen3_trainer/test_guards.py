"""When a run is given up: tables over moments and losses, no clock."""

import itertools
import random
from collections.abc import Sequence

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.guards import (
    LOSS_PATIENCE,
    LOSS_WINDOW,
    Budget,
    GpuMeter,
    Guards,
    LossWatch,
    StallWatch,
)
from support.train_jobs import train_job


def _never() -> None:
    raise AssertionError("nothing was to be called")


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


# --- GPU seconds and budget -----------------------------------------------------------------------


def test_gpu_seconds_are_gpus_times_time_over_all_attempts() -> None:
    meter = GpuMeter(gpus=4, began=100.0, earlier=1000.0)
    assert meter.attempt(130.0) == 120.0
    assert meter.revision(130.0) == 1120.0
    assert GpuMeter(gpus=0, began=100.0, earlier=7.0).revision(10_000.0) == 7.0


@pytest.mark.parametrize(
    ("gpus", "earlier", "limit", "seconds", "stop"),
    [
        (1, 0, 1000, 949, False),
        (1, 0, 1000, 951, True),  # 5 % are kept for the checkpoint
        (2, 0, 1000, 474, False),
        (2, 0, 1000, 476, True),
        (1, 900, 1000, 49, False),
        (1, 900, 1000, 51, True),
        (1, 5000, 1000, 0, True),
        (2, 0, 100_000, 49_939, False),  # a minute of two GPUs at most
        (2, 0, 100_000, 49_941, True),
        (0, 0, 1, 1e9, False),
        (1, 0, None, 1e9, False),
    ],
)
def test_the_budget_ends_before_it_is_used_up(
    gpus: int, earlier: float, limit: int | None, seconds: float, stop: bool
) -> None:
    assert Budget(GpuMeter(gpus, 0.0, earlier), limit).look(seconds).stop is stop


def test_a_slow_step_is_waited_for_within_the_budget() -> None:
    budget = Budget(GpuMeter(1, 0.0), 1000)
    for at, step in ((100.0, 1), (180.0, 2), (260.0, 3)):
        budget.observe(at, step)
    assert not budget.look(869.0).stop
    assert budget.look(871.0).stop


def test_the_warning_comes_once_at_four_fifths() -> None:
    budget = Budget(GpuMeter(1, 0.0), 1000)
    warned = [budget.look(at).warn for at in (0.0, 799.0, 800.0, 900.0)]
    assert warned == [False, False, True, False]


def test_the_end_of_the_budget_is_told_in_numbers() -> None:
    error = Budget(GpuMeter(2, 0.0, 400.0), 1000).exhausted(295.0, step=8)
    assert error.reason == Reason.BUDGET_EXHAUSTED
    assert error.exit_code == ExitCode.BUDGET_EXHAUSTED
    assert "990 of 1000 GPU seconds" in error.message
    assert "limits.maxGPUSeconds" in error.hint
    assert error.step == 8


# --- stalls ---------------------------------------------------------------------------------------


def test_starting_up_gets_the_same_time_as_a_step() -> None:
    watch = StallWatch(60, at=0.0)
    watch.check(59.9)
    with pytest.raises(FailureError, match="60 s before the first step") as caught:
        watch.check(60.0)
    assert caught.value.reason == Reason.STALL_DETECTED
    assert caught.value.exit_code == ExitCode.STALLED
    assert caught.value.step is None


def test_every_sign_of_life_starts_the_time_anew() -> None:
    watch = StallWatch(60, at=0.0)
    for at, step in ((50.0, 0), (100.0, 1), (150.0, 1)):
        watch.alive(at, step)
    watch.check(209.0)
    with pytest.raises(FailureError, match="after step 1") as caught:
        watch.check(211.0)
    assert caught.value.step == 1
    assert "failurePolicy.stallTimeoutSeconds" in caught.value.hint


# --- losses ---------------------------------------------------------------------------------------


def _diverged_at(losses: Sequence[float]) -> int | None:
    watch = LossWatch()
    return next((i for i, loss in enumerate(losses) if watch.observe(loss)), None)


def _healthy(seed: int, start: float, end: float, noise: float, spikes: float) -> list[float]:
    """A curve that falls from start to end; each loss noisy, a part of them spikes of 50 nats."""
    generator = random.Random(seed)  # noqa: S311  (a curve that is the same in every run)
    curve = []
    for i in range(600):
        level = end + (start - end) * 0.985**i
        spike = 50.0 if generator.random() < spikes else 0.0
        curve.append(max(0.0, level * generator.gauss(1.0, noise)) + spike)
    return curve


@pytest.mark.parametrize(
    "losses",
    [
        [],
        [12.0] * 500,  # learns nothing
        _healthy(1, 11.9, 1.8, 0.1, 0.0),
        _healthy(2, 2.0, 0.02, 0.5, 0.0),
        _healthy(3, 2.0, 0.5, 0.3, 0.2),  # every fifth is a spike
        _healthy(4, 0.69, 0.01, 0.8, 0.1),  # DPO
        # memorised in epoch one, then the loss of other rows
        [*_healthy(5, 2.0, 0.01, 0.2, 0.0), *([0.9] * 300)],
        # thrown back for less than the patience, and back again
        [*_healthy(6, 2.0, 0.5, 0.1, 0.0), *([9.0] * (LOSS_PATIENCE - 2)), *([0.6] * 100)],
        # high losses that double: 3 × 4 + 1 is more than guessing among 151,936 tokens
        [*([4.0] * 100), *([8.0] * 300)],
    ],
)
def test_a_healthy_curve_is_left_alone(losses: list[float]) -> None:
    assert _diverged_at(losses) is None


@pytest.mark.parametrize(
    ("learnt", "lost"),
    [(1.0, 9.0), (0.05, 2.0), (2.0, 7.5)],
)
def test_a_loss_that_climbs_and_stays_is_told_with_patience(learnt: float, lost: float) -> None:
    at = _diverged_at([*([learnt] * 100), *([lost] * 200)])
    assert at is not None
    # the median follows after half a window, and then has to stay
    assert at - 100 == LOSS_WINDOW // 2 + LOSS_PATIENCE - 1


def test_divergence_is_told_in_numbers() -> None:
    watch = LossWatch()
    any(watch.observe(loss) for loss in itertools.chain([0.5] * 50, [8.0] * 60))
    error = watch.diverged(110)
    assert error.reason == Reason.LOSS_DIVERGED
    assert error.exit_code == ExitCode.DIVERGED
    assert "0.500 at best" in error.message
    assert "around 8.000" in error.message
    assert "learningRate" in error.hint


# --- all together, as the worker is watched -------------------------------------------------------


def _guards(limit: int, clock: Clock) -> Guards:
    job = train_job(gpus=1, guards={"stall_timeout_seconds": 500, "max_gpu_seconds": limit})
    return Guards(job, Budget(GpuMeter(1, 0.0), limit), clock)


def test_a_worker_that_trains_is_told_to_save_once() -> None:
    clock, stops, warnings = Clock(), [], []
    guards = _guards(1000, clock)
    guards.alive(0)
    for clock.at in (0.0, 400.0, 849.0, 960.0, 970.0):
        guards.alive(1)
        guards.look(lambda: stops.append(clock.at), warnings.append)
    assert stops == [960.0]
    assert warnings == ["849 of 1000 GPU seconds are used"]
    assert guards.stopping


def test_a_worker_that_has_not_begun_is_ended() -> None:
    clock = Clock()
    guards = _guards(100, clock)
    clock.at = 99.0
    with pytest.raises(FailureError) as caught:
        guards.look(_never, lambda _: None)
    assert caught.value.reason == Reason.BUDGET_EXHAUSTED


def test_a_silent_worker_is_ended() -> None:
    clock = Clock()
    guards = _guards(100_000, clock)
    guards.alive(3)
    clock.at = 501.0
    with pytest.raises(FailureError) as caught:
        guards.look(_never, lambda _: None)
    assert caught.value.reason == Reason.STALL_DETECTED


def test_a_diverging_worker_is_ended() -> None:
    guards = _guards(100_000, Clock())

    def feed() -> None:
        for step, loss in enumerate([*([0.5] * 50), *([8.0] * 60)]):
            guards.alive(step, loss)

    with pytest.raises(FailureError) as caught:
        feed()
    assert caught.value.reason == Reason.LOSS_DIVERGED
    assert caught.value.step == 50 + LOSS_WINDOW // 2 + LOSS_PATIENCE - 1
