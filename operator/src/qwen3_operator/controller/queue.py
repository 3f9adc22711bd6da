"""The work queue: keys in, one reconcile per key at a time, a fixed number of workers.

kopf's own retries have no exponential backoff and one task per object; nothing bounds how many
reconciles run at once (docs/adr/0002-kopf-as-watcher.md).
"""

import asyncio
from collections import deque
from collections.abc import Callable

from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.metrics import QUEUE_DELAYED, QUEUE_DEPTH, QUEUE_SECONDS
from qwen3_operator.controller.reconciler import Backoff, Reconcile, Verdict, run_reconcile
from qwen3_operator.controller.schedule import Schedule, Taken

logger = get_logger(__name__)


class WorkQueue:
    """Feeds keys to `workers` concurrent runs of `reconcile`.

    Keys may be added before `start`; they wait. Use it from one event loop only. `clock` must be
    the time of that loop, since delays are armed as its timers.
    """

    def __init__(
        self,
        reconcile: Reconcile,
        *,
        workers: int,
        backoff: Backoff | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._reconcile = reconcile
        self._workers = workers
        self._backoff = backoff or Backoff()
        self._clock = clock or asyncio.get_running_loop().time
        self._schedule = Schedule()
        self._idle: deque[asyncio.Future[Taken]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def running(self) -> frozenset[Key]:
        """Keys whose reconcile runs now."""
        return self._schedule.running

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Reconcile a key as soon as a worker is free, or again if it is running now."""
        self._schedule.add(key, self._clock(), urgent=urgent)
        self._pump()

    def add_after(self, key: Key, seconds: float) -> None:
        """Reconcile a key in `seconds`, unless it is added before."""
        self._schedule.add_at(key, self._clock() + seconds)
        self._pump()

    def start(self) -> None:
        """Start the workers."""
        self._tasks = [
            asyncio.create_task(self._work(), name=f"worker-{number}")
            for number in range(self._workers)
        ]

    async def stop(self, grace: float) -> bool:
        """Take no more keys; give running reconciles `grace` seconds, then cancel them.

        Returns whether all of them came to their end.
        """
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._idle:
            waiter.cancel()
        self._idle.clear()
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        if late:
            keys = [str(key) for key in sorted(self.running)]
            logger.warning("reconciles cancelled at shutdown", extra={"keys": keys})
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return not late

    async def _work(self) -> None:
        while not self._stopping:
            waiter: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            self._pump()
            try:
                taken = await waiter
            except asyncio.CancelledError:
                if self._stopping and waiter.cancelled():
                    return
                raise
            QUEUE_SECONDS.labels("urgent" if taken.urgent else "normal").observe(taken.waited)
            again_in: float | None = None
            try:
                again_in = self._delay(taken.key, await run_reconcile(self._reconcile, taken.key))
            finally:
                now = self._clock()
                again_at = None if again_in is None else now + again_in
                self._schedule.finish(taken.key, now, again_at)

    def _delay(self, key: Key, verdict: Verdict) -> float | None:
        """Seconds until the key is looked at again, None for not by itself."""
        if verdict.failed:
            return max(self._backoff.delay(key), verdict.after or 0.0)
        self._backoff.forget(key)
        return verdict.after

    def _pump(self) -> None:
        """Hand ready keys to idle workers and arm the timer for the next delayed one."""
        if self._stopping:
            return
        while self._idle and (taken := self._schedule.take(self._clock())) is not None:
            self._idle.popleft().set_result(taken)
        QUEUE_DEPTH.set(self._schedule.ready)
        QUEUE_DELAYED.set(self._schedule.delayed)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # With every worker busy nobody waits for the timer: the next idle one pumps again.
        due = self._schedule.next_due()
        if self._idle and due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - self._clock()), self._pump)
