"""Checks that outlast who asked for them: one at a time per key, told, repeated after an error."""

import asyncio
from collections.abc import AsyncIterator, Hashable

import pytest

from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.artifacts.client import StorageProblem
from qwen3_operator.artifacts.verification import AT_ONCE, REMEMBERED, Checks
from qwen3_operator.controller.errors import Transient, Waiting

BAD = FailureStatus.of("ArtifactCorrupt", "damaged")


class Work:
    """Ends when the test says so, as the test says."""

    def __init__(self) -> None:
        self.started, self.gate = asyncio.Event(), asyncio.Event()
        self.begun = 0
        self.ended = 0
        self.outcome: FailureStatus | Exception | None = None

    async def __call__(self) -> FailureStatus | None:
        self.begun += 1
        self.started.set()
        try:
            await self.gate.wait()
        finally:
            self.ended += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Told(asyncio.Queue[Hashable]):
    """Who was told."""


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def checks(told: Told) -> AsyncIterator[Checks]:
    """Nobody waits."""
    checks = Checks(told.put_nowait, patience=0)
    yield checks
    await checks.close()


async def test_a_quick_one_is_answered_at_once(told: Told) -> None:
    checks, work = Checks(told.put_nowait), Work()
    work.gate.set()
    work.outcome = BAD
    assert await checks.ask("a", work, "bot") == BAD
    assert await checks.ask("a", work, "bot") == BAD
    assert work.begun == 1
    assert told.empty()


async def test_a_long_one_goes_on_and_everybody_who_asked_is_told(
    checks: Checks, told: Told
) -> None:
    work = Work()
    for asker in ("bot", "pool", "bot", None):
        with pytest.raises(Waiting):
            await checks.ask("a", work, asker)
    work.gate.set()
    assert {await told.get(), await told.get()} == {"bot", "pool"}
    assert await checks.ask("a", work, "bot") is None
    assert (work.begun, told.empty()) == (1, True)


async def test_it_outlives_a_reconcile_that_is_cancelled(told: Told) -> None:
    checks, work = Checks(told.put_nowait, patience=3600), Work()
    reconcile = asyncio.create_task(checks.ask("a", work, "bot"))
    await work.started.wait()
    reconcile.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reconcile
    with pytest.raises(Waiting):
        await checks.ask("a", work, "bot")
    work.gate.set()
    assert await told.get() == "bot"
    assert await checks.ask("a", work, "bot") is None
    assert work.begun == 1


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("error", [Transient("StorageUnavailable"), RuntimeError("a bug")])
async def test_an_error_is_told_to_all_and_tried_again_after_longer_and_longer_pauses(
    told: Told, error: Exception
) -> None:
    clock, work = Clock(), Work()
    checks = Checks(told.put_nowait, patience=0, clock=clock)
    work.outcome = error
    for pause in (2, 4, 8):
        work.gate.clear()
        for asker in ("bot", "pool"):
            with pytest.raises(Waiting):
                await checks.ask("a", work, asker)
        work.gate.set()
        assert {await told.get(), await told.get()} == {"bot", "pool"}
        clock.now += pause - 0.1
        for asker in ("bot", "pool"):
            with pytest.raises(type(error)):
                await checks.ask("a", work, asker)
        clock.now += 0.2
    work.outcome = None
    work.gate.clear()
    with pytest.raises(Waiting):
        await checks.ask("a", work, "bot")
    work.gate.set()
    assert await told.get() == "bot"
    assert await checks.ask("a", work, "bot") is None
    assert work.begun == 4


async def test_a_refusal_is_looked_at_again_soon_however_often_it_came(told: Told) -> None:
    clock, work = Clock(), Work()
    checks = Checks(told.put_nowait, clock=clock)
    work.gate.set()
    work.outcome = StorageProblem(FailureStatus.of("StorageDenied", "no", retriable=True))
    for _ in range(10):
        with pytest.raises(StorageProblem):
            await checks.ask("a", work, "bot")
        clock.now += 30.1
    work.outcome = None
    assert await checks.ask("a", work, "bot") is None


async def test_only_some_read_at_once(checks: Checks, told: Told) -> None:
    works = [Work() for _ in range(AT_ONCE + 2)]
    for number, work in enumerate(works):
        with pytest.raises(Waiting):
            await checks.ask(str(number), work, number)
    assert sum(w.begun for w in works) == AT_ONCE
    for work in works:
        work.gate.set()
    assert {await told.get() for _ in works} == set(range(len(works)))


async def test_the_end_of_the_operator_ends_them(checks: Checks, told: Told) -> None:
    works = [Work() for _ in range(AT_ONCE + 1)]
    for number, work in enumerate(works):
        with pytest.raises(Waiting):
            await checks.ask(str(number), work, number)
    await checks.close()
    assert [w.ended for w in works] == [1] * AT_ONCE + [0]
    assert told.empty()


async def test_the_oldest_verdicts_are_forgotten(told: Told) -> None:
    checks, work = Checks(told.put_nowait), Work()
    work.gate.set()
    for number in range(REMEMBERED + 1):
        await checks.ask(str(number), work, None)
    assert work.begun == REMEMBERED + 1
    await checks.ask(str(REMEMBERED), work, None)
    assert work.begun == REMEMBERED + 1
    await checks.ask("0", work, None)
    assert work.begun == REMEMBERED + 2
