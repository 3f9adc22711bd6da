"""progress.json: how often, how fast, and that nobody waits for it."""

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from qwen3_api.job.report import Progress
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.progress import Pace, ProgressWriter

FIRST = Progress(
    attempt="pod-1", phase="Starting", step=0, total_steps=None, started="t0", updated="t0"
)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Recorder:
    """Keeps what was written, and when."""

    def __init__(self) -> None:
        self.written: list[tuple[float, Progress]] = []

    def __call__(self, body: bytes) -> None:
        self.written.append((time.monotonic(), Progress.model_validate_json(body)))


def test_writes_are_no_closer_than_asked_and_the_newest_wins() -> None:
    record = Recorder()
    writer = ProgressWriter(FIRST, record, seconds=0.3)
    begun = time.monotonic()
    writer.start()
    step = 0

    def three_written_while_it_trains() -> bool:
        nonlocal step
        step += 1
        writer.update(phase="Training", step=step)
        return len(record.written) >= 3

    _until(three_written_while_it_trains)
    in_time = len(record.written)
    writer.close()

    assert step > in_time
    moments = [begun, *(at for at, _ in record.written[:in_time])]
    assert all(b - a >= 0.29 for a, b in itertools.pairwise(moments))
    assert record.written[-1][1].step == step


def test_the_end_writes_what_is_unwritten_at_once() -> None:
    record = Recorder()
    writer = ProgressWriter(FIRST, record, seconds=3600)
    writer.start()
    writer.update(step=5)
    writer.close()
    assert [p.step for _, p in record.written] == [5]


def test_a_lone_update_right_after_a_write_is_written_when_its_time_comes() -> None:
    """As while the base model is fetched: nothing else happens for minutes."""
    record = Recorder()
    writer = ProgressWriter(FIRST, record, seconds=0.2)
    writer.start()
    writer.update(phase="LoadingModel")
    _until(lambda: bool(record.written))
    writer.close()
    assert [p.phase for _, p in record.written] == ["LoadingModel"]


def test_nothing_new_is_not_written() -> None:
    record = Recorder()
    writer = ProgressWriter(FIRST, record, seconds=0)
    writer.start()
    writer.close()
    assert record.written == []


def test_what_grows_by_itself_is_written_without_an_update() -> None:
    """The GPU seconds while a large model loads."""
    record, seconds = Recorder(), itertools.count(1)
    writer = ProgressWriter(
        FIRST, record, 0, lambda: {"gpu_seconds": float(next(seconds))}, heartbeat=0.01
    )
    writer.start()
    _until(lambda: len(record.written) >= 3)
    writer.close()
    assert [p.gpu_seconds for _, p in record.written[:3]] == [1.0, 2.0, 3.0]


def test_a_hanging_bucket_holds_nobody_up() -> None:
    hang, entered, ended = threading.Event(), threading.Event(), threading.Event()

    def write(_: bytes) -> None:
        entered.set()
        assert hang.wait(120)
        ended.set()

    writer = ProgressWriter(FIRST, write, seconds=0)
    writer.start()
    writer.update(step=1)
    assert entered.wait(120)
    for step in range(1000):
        writer.update(step=step)
    assert not ended.is_set()
    hang.set()
    writer.close()


def test_a_failing_bucket_is_tried_again() -> None:
    record, failures = Recorder(), [True, True]

    def write(body: bytes) -> None:
        if failures:
            failures.pop()
            raise FailureError(Reason.STORAGE_UNAVAILABLE, "away")
        record(body)

    writer = ProgressWriter(FIRST, write, seconds=0)
    writer.start()
    for step in (1, 2):
        before = len(failures)
        writer.update(step=step)
        _until(lambda before=before: len(failures) < before)
    writer.update(step=3)
    writer.close()
    assert [p.step for _, p in record.written] == [3]


def test_pace_needs_two_observations() -> None:
    pace = Pace()
    assert pace.tokens_per_second is None
    pace.observe(10.0, 1, 100)
    assert pace.tokens_per_second is None
    assert pace.eta_seconds(10) is None


def test_pace_is_that_of_the_window() -> None:
    pace = Pace(window=10)
    pace.observe(0.0, 0, 0)
    pace.observe(100.0, 1, 10)  # slow, and long ago
    for second in range(101, 131):
        pace.observe(float(second), second - 99, (second - 99) * 1000)
    assert pace.tokens_per_second == pytest.approx(1000.0)
    assert pace.eta_seconds(total_steps=131) == 100
    assert pace.eta_seconds(total_steps=31) == 0


def test_an_evaluation_between_steps_counts_as_time() -> None:
    pace = Pace()
    pace.observe(0.0, 10, 100)
    pace.observe(2.0, 10, 100)
    assert pace.eta_seconds(20) is None
    pace.observe(4.0, 12, 140)
    assert pace.eta_seconds(20) == 16
