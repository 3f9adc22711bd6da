"""The workers around the schedule. The clock stands still unless a test moves it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from qwen3_operator.controller.errors import NotLeader, Stalled, Transient, Waiting
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.queue import WorkQueue
from qwen3_operator.controller.reconciler import (
    BACKOFF_LIMIT_SECONDS,
    Backoff,
    Result,
    Verdict,
    run_reconcile,
)

A, B = (Key("finetune", "team-a", name) for name in "ab")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def longest(_: float, high: float) -> float:
    return high


class Work:
    """A reconcile that is held until the test lets it go; `answers` are returned or raised."""

    def __init__(self, *answers: Result | Exception) -> None:
        self.answers = list(answers)
        self.started: asyncio.Queue[Key] = asyncio.Queue()
        self.gate = asyncio.Semaphore(0)
        self.active: list[Key] = []
        self.most_active = 0

    async def __call__(self, key: Key) -> Result:
        assert key not in self.active, "one reconcile per key at a time"
        self.active.append(key)
        self.most_active = max(self.most_active, len(self.active))
        self.started.put_nowait(key)
        try:
            await self.gate.acquire()
        finally:
            self.active.remove(key)
        answer = self.answers.pop(0) if self.answers else Result()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def next(self) -> Key:
        return await asyncio.wait_for(self.started.get(), 5)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def build(work: Work, workers: int = 2) -> tuple[WorkQueue, Clock]:
    clock = Clock()
    queue = WorkQueue(work, workers=workers, backoff=Backoff(longest), clock=clock)
    queue.start()
    return queue, clock


async def test_never_more_runs_than_workers() -> None:
    work = Work()
    queue, _ = build(work, workers=3)
    for number in range(10):
        queue.add(Key("finetune", "team-a", str(number)))
    for _ in range(10):
        await work.next()
        work.gate.release()
    assert await queue.stop(grace=5)
    assert work.most_active == 3


async def test_keys_added_before_the_start_wait() -> None:
    work = Work()
    queue = WorkQueue(work, workers=1)
    queue.add(A)
    await settle()
    assert work.started.empty()
    queue.start()
    assert await work.next() == A
    work.gate.release()
    await queue.stop(grace=5)


@pytest.mark.parametrize(
    ("answer", "due"),
    [
        (Result(requeue_after=7), 7.0),
        (Waiting(30, "JobRunning"), 30.0),
        (Stalled("Forbidden", "no", recheck=300), 300.0),
        (Transient("ApiTimeout"), 1.0),
        (Transient("TooManyRequests", retry_after=12), 12.0),
        (NotLeader("no"), 1.0),
        (ZeroDivisionError(), 1.0),
    ],
)
async def test_when_a_key_comes_back(answer: Result | Exception, due: float) -> None:
    work = Work(answer)
    queue, clock = build(work)
    queue.add(A)
    await work.next()
    work.gate.release()
    await settle()
    clock.now = due - 0.01
    queue.add_after(B, 1e6)  # has the queue look at its clock
    await settle()
    assert work.started.empty()
    clock.now = due
    queue.add_after(B, 1e6)
    assert await work.next() == A
    work.gate.release()
    await queue.stop(grace=5)


@pytest.mark.parametrize("answer", [Result(), Stalled("Invalid", "no")])
async def test_a_key_that_waits_for_an_event_does_not_come_back(answer: Result | Exception) -> None:
    work = Work(answer)
    queue, clock = build(work)
    queue.add(A)
    await work.next()
    work.gate.release()
    await settle()
    clock.now = 1e5
    queue.add_after(B, 1e6)
    await settle()
    assert work.started.empty()
    await queue.stop(grace=5)


async def test_an_event_ends_a_backoff_at_once() -> None:
    work = Work(Transient("ApiTimeout"))
    queue, _ = build(work)
    queue.add(A)
    await work.next()
    work.gate.release()
    await settle()
    queue.add(A)
    assert await work.next() == A
    work.gate.release()
    await queue.stop(grace=5)


async def test_a_real_timer_wakes_an_idle_worker() -> None:
    work = Work()
    queue = WorkQueue(work, workers=1)
    queue.start()
    queue.add_after(A, 0.02)
    assert await work.next() == A
    work.gate.release()
    await queue.stop(grace=5)


async def test_stop_takes_no_more_and_waits_for_what_runs() -> None:
    work = Work()
    queue, _ = build(work, workers=1)
    queue.add(A)
    queue.add(B)
    await work.next()
    stopping = asyncio.create_task(queue.stop(grace=5))
    await settle()
    assert not stopping.done()
    work.gate.release()
    assert await stopping
    await settle()
    assert work.started.empty()


async def test_stop_cancels_what_outlasts_the_grace() -> None:
    work = Work()
    queue, _ = build(work)
    queue.add(A)
    await work.next()
    assert not await queue.stop(grace=0.01)
    assert work.active == []


def test_backoff_doubles_to_five_minutes_and_is_forgotten() -> None:
    backoff = Backoff(longest)
    delays = [backoff.delay(A) for _ in range(12)]
    assert delays[:4] == [1, 2, 4, 8]
    assert delays[-1] == BACKOFF_LIMIT_SECONDS
    assert backoff.delay(B) == 1
    backoff.forget(A)
    assert backoff.delay(A) == 1


def test_backoff_survives_a_year_of_failures() -> None:
    backoff = Backoff(longest)
    assert {backoff.delay(A) for _ in range(200_000)} <= {2.0**n for n in range(9)} | {300.0}


def test_backoff_spreads() -> None:
    delays = {Backoff().delay(A) for _ in range(20)}
    assert len(delays) > 1
    assert all(0.75 <= delay <= 1 for delay in delays)


async def verdict_of(reconcile: Callable[[Key], Awaitable[Result]]) -> Verdict:
    return await run_reconcile(reconcile, A)


async def test_cancellation_gets_through() -> None:
    async def cancelled(_: Key) -> Result:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await verdict_of(cancelled)


async def test_a_crash_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(_: Key) -> Result:
        raise KeyError("spec")

    assert (await verdict_of(crash)).outcome == "crashed"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def test_a_reconcile_that_hangs_gives_its_worker_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qwen3_operator.controller.reconciler.RECONCILE_LIMIT_SECONDS", 0.01)

    async def hang(_: Key) -> Result:
        await asyncio.Event().wait()
        raise AssertionError

    verdict = await verdict_of(hang)
    assert (verdict.outcome, verdict.failed) == ("transient", True)
