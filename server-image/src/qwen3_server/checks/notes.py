"""Notes of checks that are under way, on the pod's disk: what is left of one that killed the agent.

The check runs in a process with limits of its own, so this is the second line of defence. The notes
are in the adapters' emptyDir, which outlives the containers. One that was written before a check
and is still there after a restart counts as a death, whoever sent the SIGKILL. One is enough for a
candidate: an evaluation that has to be applied again costs less than a pool that restarts. What is
behind a public name gets a second try, and later ones. A check that passes removes the note, and an
agent that is stopped by SIGTERM takes its note back.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qwen3_api.serving.pool import PoolAdapter
from qwen3_server.errors import CheckDiedError, refused
from qwen3_server.watched_file import replace_file

PREFIX = ".check-"
CANDIDATE_DEATHS, REQUIRED_DEATHS = 1, 2
"""In a row: as many as end the trying."""
REQUIRED_PAUSE_SECONDS = 600.0
"""A required adapter is tried again after this time: without it the pod serves nobody anyway. A
candidate isn't, as long as the index names it."""

_log = logging.getLogger(__name__)


class CheckNotes:
    """One note per digest: how many of its last checks died, or killed the agent."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def refuse_deadly(self, adapter: PoolAdapter) -> None:
        """Raise AdapterError(ArtifactRefused) if its check isn't to be tried again now."""
        note = self._note(adapter.digest)
        deaths = _read(note)
        if deaths < (REQUIRED_DEATHS if adapter.required else CANDIDATE_DEATHS):
            return
        if adapter.required and time.time() - note.stat().st_mtime > REQUIRED_PAUSE_SECONDS:
            return
        raise refused(
            f"the check of its files died in this pod ({deaths} in a row), alone or with the whole "
            "sidecar; it is not tried again here"
            + (f" for {REQUIRED_PAUSE_SECONDS / 60:.0f} minutes" if adapter.required else "")
        )

    @contextmanager
    def hold(self, digest: str) -> Iterator[None]:
        """Keep a note of this digest while its check runs; it stays if the check dies."""
        deaths = _read(self._note(digest))
        self._write(digest, deaths + 1)
        try:
            yield
        except CheckDiedError:
            raise
        except BaseException:
            # It was cancelled, or came to another verdict: nothing died.
            self._write(digest, deaths)
            raise
        self._write(digest, 0)

    def forget_except(self, digests: set[str]) -> None:
        """Remove the notes of all digests but these."""
        for note in self._root.glob(f"{PREFIX}*"):
            if note.name.removeprefix(PREFIX) not in digests:
                note.unlink(missing_ok=True)

    def _note(self, digest: str) -> Path:
        return self._root / f"{PREFIX}{digest}"

    def _write(self, digest: str, deaths: int) -> None:
        try:
            if deaths:
                replace_file(self._note(digest), str(deaths).encode(), 0o600)
            else:
                self._note(digest).unlink(missing_ok=True)
        except OSError as error:
            # A full disk must not keep adapters out of service that lie on it already.
            _log.warning("no note of the check of %s: %s", digest, error)


def _read(note: Path) -> int:
    try:
        return int(note.read_bytes())
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        _log.warning("%s cannot be read and counts as none: %s", note, error)
        return 0
