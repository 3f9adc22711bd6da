"""Starts `check_process` for an adapter: whatever its files do to a parser, the agent lives."""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from qwen3_api.serving.pool import PoolAdapter
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_server.checks.verify import Verdict
from qwen3_server.errors import AdapterError, CheckDiedError, load_failed

CHECK_COMMAND = (sys.executable, "-m", "qwen3_server.checks.process")
DEADLINE_SECONDS = 60.0
"""From its start to its end. A check takes a second; a starved node may need many."""
_LAST_WORDS = 2000

_log = logging.getLogger(__name__)


class ContentCheck:
    """The check of a folder; its process lives as long as the call."""

    def __init__(
        self,
        *,
        base_model: str,
        max_rank: int,
        command: Sequence[str] = CHECK_COMMAND,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._base_model = base_model
        self._max_rank = max_rank
        self._command = command
        self._seconds = deadline_seconds

    async def __call__(self, folder: Path, adapter: PoolAdapter) -> None:
        """Check the content of a folder.

        Raises AdapterError: what the check found, LoadFailed if it didn't come to an end, and
        CheckDiedError.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(folder),
                self._base_model,
                str(self._max_rank),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                # Else numpy takes memory for every core of the node.
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise load_failed(f"the check of its files cannot be started: {error}") from error
        try:
            async with asyncio.timeout(self._seconds):
                said, last_words = await process.communicate(adapter.to_json())
        except TimeoutError as error:
            message = f"the check of its files did not end within {self._seconds:.0f} s"
            raise load_failed(message) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        _raise_failure(_read_verdict(adapter, process.returncode, said, last_words))


def _read_verdict(
    adapter: PoolAdapter, code: int | None, said: bytes, last_words: bytes
) -> Verdict:
    try:
        if code == 0:
            return Verdict.model_validate_json(said)
    except ValidationError as error:
        raise CheckDiedError(f"the check of its files said nonsense: {error}") from error
    words = last_words[-_LAST_WORDS:].decode(errors="replace")
    _log.warning("the check of %s ended with %s: %s", adapter.id, code, words)
    raise CheckDiedError(
        f"the check of its files died ({_describe_end(code)}): they need more memory or time than "
        "a LoRA adapter's, or are made to break the reader"
    )


def _describe_end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name


def _raise_failure(verdict: Verdict) -> None:
    if verdict.failure is not None:
        raise AdapterError(Reason(verdict.failure.reason), verdict.failure.message)
