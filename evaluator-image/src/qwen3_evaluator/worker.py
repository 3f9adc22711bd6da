"""A process of this image that is asked one thing at a time, a JSON document per line.

What a big library brings stays in there: an evaluation that doesn't need it never starts it, an
answer that makes it explode kills nothing here, and it sees no key of the bucket or of an endpoint.
"""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Generic, Self, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from qwen3_api.job import layout
from qwen3_api.pod.failure import FailureError, Retry
from qwen3_api.v1alpha1.conditions import Reason

_LINE_LIMIT = 1 << 30
"""Bytes of a reply: all prompts of a suite."""
_END_SECONDS = 10
"""For a process that closed its pipe to end."""
_LAST_WORDS = 12
"""Lines of the process's log that are kept for when it ends."""
_INHERITED = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")
"""Of the environment; the keys of buckets and endpoints stay here."""
_T = TypeVar("_T")


class Worker(Generic[_T]):
    """An async context manager around the process, which is started when first needed.

    name: what messages call it.
    module: what it runs; requests come in by its standard input.
    replies: what it may reply.
    env: what it needs besides the inherited environment.
    """

    def __init__(
        self, name: str, module: str, replies: TypeAdapter[_T], env: Mapping[str, str]
    ) -> None:
        self._name = name
        self._command = (sys.executable, "-m", module)
        self._replies = replies
        self._env = env
        self._process: Process | None = None
        self._log: asyncio.Task[None] | None = None
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
        if self._log is not None:
            await self._log

    async def ask(self, request: BaseModel, seconds: float) -> _T:
        """The reply to one request; others wait for their turn.

        Raises FailureError: the process ended, or gave no reply in time.
        """
        async with self._turn:
            process = self._process = self._process or await self._start()
            assert process.stdin is not None  # noqa: S101  # a pipe
            assert process.stdout is not None  # noqa: S101  # another
            try:
                process.stdin.write(request.model_dump_json().encode() + b"\n")
                async with asyncio.timeout(seconds):
                    await process.stdin.drain()
                    line = await process.stdout.readline()
                return self._replies.validate_json(line)
            except (TimeoutError, OSError, ValidationError) as error:
                # Half of a reply may be in the pipe: nothing can be asked after this.
                raise await self._loss(process, error) from error

    async def _start(self) -> Process:
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**env, **self._env},
            cwd=_scratch_folder(),
            limit=_LINE_LIMIT,
        )
        self._log = asyncio.create_task(self._keep_last_words(process))
        return process

    async def _keep_last_words(self, process: Process) -> None:
        assert process.stderr is not None  # noqa: S101  # a pipe
        async for line in process.stderr:
            self._last_words.append(line.decode(errors="replace").rstrip())

    async def _loss(self, process: Process, error: Exception) -> FailureError:
        """What to tell when the process can't be asked any more."""
        # A signal to one that is ending takes its exit code away: Popen polls before it signals.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if isinstance(error, TimeoutError) else _END_SECONDS):
                await process.wait()
        if process.returncode is None:
            process.kill()
        code = await process.wait()
        if self._log is not None:
            await self._log
        what = "gave no reply in time" if isinstance(error, TimeoutError) else f"ended with {code}"
        said = " ".join(self._last_words)[-500:]
        return FailureError(
            Reason.EVALUATOR_FAILED,
            f"the {self._name} process {what}: {said}",
            hint="If it was out of memory, raise runner.memory.",
            retry=Retry.BACKOFF,
        )


def _scratch_folder() -> str | None:
    return layout.WORK_DIR if os.path.isdir(layout.WORK_DIR) else None
