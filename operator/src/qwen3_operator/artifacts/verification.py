"""Reads that may take longer than a reconcile: they go on in the background, to be asked for again.

docs/adr/0032-obstore.md
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.controller.errors import OperatorError, Stalled, Waiting
from qwen3_operator.controller.logs import get_logger

PATIENCE_SECONDS = 2.0
"""That who asks first waits for the answer: most adapters are read by then."""
AT_ONCE = 4
"""Checks that read at the same time, each with a chunk in memory; the others wait."""
AGAIN_SECONDS = 60.0
"""Until a key that waits looks again, should nobody wake it."""
REMEMBERED = 4096
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 300.0
"""From an error to the next try; doubled with every error in a row."""

logger = get_logger(__name__)
Work = Callable[[], Awaitable[FailureStatus | None]]
T = TypeVar("T")
Tell = Callable[[Hashable], None]


@dataclass
class _Running:
    task: "asyncio.Task[None]"
    askers: set[Hashable] = field(default_factory=set)
    """Who went away without the answer."""


@dataclass(frozen=True)
class _Failed:
    error: BaseException
    in_a_row: int
    until: float
    """When it may be tried again, by the clock."""


class Checks:
    """Verdicts by the content that they are about, and the checks that are under way."""

    def __init__(
        self,
        tell: Tell,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._patience = patience
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, _Running] = {}
        self._verdicts: OrderedDict[str, FailureStatus | None] = OrderedDict()
        self._failed: OrderedDict[str, _Failed] = OrderedDict()

    async def ask(self, key: str, work: Work, asker: Hashable | None) -> FailureStatus | None:
        """The verdict. The first who asks starts the work; cancelling who asks doesn't end it.

        Raises:
            Waiting: it isn't there yet; `asker`, if any, is told when it is.
            Exception: what the work raised, to everybody who asks within a pause that grows with
                every error in a row. Who asks then has it tried again.
        """
        running, failed = self._running.get(key), self._failed.get(key)
        if running is None and failed is not None and self._clock() < failed.until:
            raise failed.error
        if running is None and key not in self._verdicts:
            task = asyncio.create_task(self._run(key, work), name=f"check {key}")
            running = self._running[key] = _Running(task)
            await asyncio.wait({task}, timeout=self._patience)
        if running is not None and not running.task.done():
            if asker is not None:
                running.askers.add(asker)
            raise Waiting(AGAIN_SECONDS, Reason.VERIFYING, key)
        if key in self._failed:
            raise self._failed[key].error
        return self._verdicts[key]

    async def close(self) -> None:
        """End what is under way."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: str, work: Work) -> None:
        try:
            async with self._turns:
                verdict = await work()
            self._failed.pop(key, None)
            _remember(self._verdicts, key, verdict)
        except OperatorError as error:
            self._note(key, error)
        except Exception as error:  # raised to who asks next, where it is one object's bug
            logger.exception("check crashed", extra={"check": key})
            self._note(key, error)
        finally:
            running = self._running.pop(key)
        for asker in running.askers:
            self._tell(asker)

    def _note(self, key: str, error: BaseException) -> None:
        before = self._failed.get(key)
        count = before.in_a_row if before is not None else 0
        longest = LONGEST_PAUSE_SECONDS
        if isinstance(error, Stalled) and error.recheck is not None:
            # A refusal costs no reading, and no event reports that the store accepts again.
            longest = error.recheck
        # The exponent is capped only so that the power can't overflow.
        pause = min(longest, FIRST_PAUSE_SECONDS * 2.0 ** min(count, 30))
        _remember(self._failed, key, _Failed(error, count + 1, self._clock() + pause))


def _remember(memory: OrderedDict[str, T], key: str, value: T) -> None:
    memory[key] = value
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
