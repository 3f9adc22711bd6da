"""A second process where it pays: functions over a stream of arguments, in order, a few at once.

Started (0.5 s) when the first large thing comes; small data never does.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

MAX_PROCESSES = 2
"""Each has up to 250 MiB with the tokenizer, and the budget of the pod is 1 GiB."""


class Cores:
    """The processes. As a context: they are gone at its end, also when an error leaves it."""

    def __init__(self, processes: int | None = None) -> None:
        self._processes = min(MAX_PROCESSES, processes or len(os.sched_getaffinity(0)))
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Cores":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(
        self, function: Callable[..., T], arguments: Iterable[tuple[object, ...]]
    ) -> Iterator[T]:
        """Results in the order of the arguments. At most two of these per process wait, so that a
        stream is read no faster than it is worked on. Raises what the function raises, and
        BrokenProcessPool when a process is killed."""
        if self._processes == 1:
            for each in arguments:
                yield function(*each)
            return
        pool = self._start()
        waiting: deque[Future[T]] = deque()
        try:
            for each in arguments:
                waiting.append(pool.submit(function, *each))
                while waiting and (len(waiting) > 2 * self._processes or waiting[0].done()):
                    yield waiting.popleft().result()
        except Exception:
            # What came before an error of the stream counts, whatever the processes' pace.
            while waiting:
                yield waiting.popleft().result()
            raise
        while waiting:
            yield waiting.popleft().result()

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # No fork: this process may have threads of boto3 and of the tokenizer.
            self._pool = ProcessPoolExecutor(
                self._processes, mp_context=multiprocessing.get_context("spawn")
            )
        return self._pool
