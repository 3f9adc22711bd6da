"""Verified adapters on this pod's disk: /adapters/<digest>/, complete or absent, never changed.

A folder is made under another name and renamed when every check has passed, so its name alone says
that its content was good. After a restart of the agent it is checked again, once.

Contents are checked one at a time: two would share the container's memory, and of two that were
under way when the agent died nobody could say which one killed it.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from qwen3_api.serving.pool import PoolAdapter
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_server.checks.notes import CheckNotes
from qwen3_server.checks.verify import check_declared, check_files, check_listing
from qwen3_server.errors import AdapterError, CheckDiedError, load_failed, refused
from qwen3_server.store import Store

_UNFINISHED = ".pull-"

Check = Callable[[Path, PoolAdapter], Awaitable[None]]
"""Of a folder's content; raises AdapterError. `ContentCheck`, in a pod."""


class AdapterCache:
    """The folder of adapters; one agent at a time owns it."""

    def __init__(self, root: Path, store: Store, check: Check, *, max_bytes: int) -> None:
        self._root = root
        self._store = store
        self._check_content = check
        self._max_bytes = max_bytes
        self._checked: set[str] = set()
        self._refused: dict[str, tuple[int, str]] = {}
        """Digest to the rank it was refused with, and why: the same bytes aren't fetched again."""
        self._notes = CheckNotes(root)
        self._checking = asyncio.Lock()

    def folder(self, digest: str) -> Path:
        """Where the adapter of this digest lies, if it is here."""
        return self._root / digest

    async def clean(self) -> None:
        """Remove what an earlier process left unfinished."""
        for leftover in self._root.glob(f"{_UNFINISHED}*"):
            await asyncio.to_thread(shutil.rmtree, leftover)

    async def pull(self, adapter: PoolAdapter) -> Path:
        """The adapter's verified folder, downloaded if it isn't here yet.

        Raises AdapterError, StorageError.
        """
        check_declared(adapter, self._max_bytes)
        target = self.folder(adapter.digest)
        if adapter.digest in self._checked and target.is_dir():
            return target
        rank, message = self._refused.get(adapter.digest, (None, ""))
        if rank == adapter.rank:
            raise refused(message)
        self._notes.refuse_deadly(adapter)
        if target.is_dir():
            try:
                await self._check(target, adapter)
            except AdapterError as error:
                if error.reason is not Reason.ARTIFACT_CORRUPT:
                    raise
                # Damaged on this disk; the bucket may still be good.
                await asyncio.to_thread(shutil.rmtree, target)
        if not target.is_dir():
            await self._download(adapter, target)
        self._checked.add(adapter.digest)
        return target

    async def remove_except(self, digests: set[str]) -> None:
        """Delete every adapter but these."""
        self._notes.forget_except(digests)
        self._refused = {d: found for d, found in self._refused.items() if d in digests}
        for path in self._root.iterdir():
            # Hidden ones are pulls and checks that are under way.
            if not path.name.startswith(".") and path.name not in digests:
                self._checked.discard(path.name)
                await asyncio.to_thread(shutil.rmtree, path)

    async def _download(self, adapter: PoolAdapter, target: Path) -> None:
        found = await self._store.list_folder(adapter.location, limit=len(adapter.files))
        check_listing(found, adapter.files)
        try:
            unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._root))
        except OSError as error:
            raise load_failed(f"no room for the adapter on this pod: {error}") from error
        try:
            for file in adapter.files:
                await self._store.download(adapter.location, file, unfinished / file.path)
            await self._check(unfinished, adapter)
            await asyncio.to_thread(_publish, unfinished, target)
        except OSError as error:
            raise load_failed(f"no room for the adapter on this pod: {error}") from error
        finally:
            await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)

    async def _check(self, folder: Path, adapter: PoolAdapter) -> None:
        await asyncio.to_thread(check_files, folder, adapter)
        try:
            async with self._checking:
                with self._notes.hold(adapter.digest):
                    await self._check_content(folder, adapter)
        except CheckDiedError:
            raise
        except AdapterError as error:
            if error.reason is Reason.ARTIFACT_REFUSED:
                self._refused[adapter.digest] = (adapter.rank, error.message)
            raise


def _publish(unfinished: Path, target: Path) -> None:
    """Give a checked folder its name; vLLM (another user, perhaps) may read it, nobody write."""
    for path in unfinished.iterdir():
        path.chmod(0o444)
    unfinished.chmod(0o755)
    unfinished.rename(target)
