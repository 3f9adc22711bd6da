"""Pulls with the real check in its process: what it says, and what is left when it dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.serving.pool import PoolAdapter
from qwen3_server.agent.adapter_cache import AdapterCache
from qwen3_server.checks.content import CHECK_COMMAND, DEADLINE_SECONDS, ContentCheck
from qwen3_server.checks.notes import REQUIRED_PAUSE_SECONDS
from qwen3_server.errors import AdapterError
from support.adapters import describe_adapter, make_adapter
from support.folder_store import FolderStore, folder_location

PULL = """
import asyncio, sys
from pathlib import Path
from qwen3_api.serving.pool import PoolAdapter
from qwen3_server.agent.adapter_cache import AdapterCache
from qwen3_server.checks.content import ContentCheck
from support.folder_store import FolderStore
root, *command = sys.argv[1:]
check = ContentCheck(base_model="test/tiny", max_rank=16, command=command)
cache = AdapterCache(Path(root), FolderStore(), check, max_bytes=1 << 20)
asyncio.run(cache.pull(PoolAdapter.model_validate_json(sys.stdin.buffer.read())))
"""
"""A sidecar that pulls one adapter."""


def python(code: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *map(str, arguments))


def stalled(running: Path) -> tuple[str, ...]:
    """A check that writes its process id into a file and never ends."""
    return ("sh", "-c", 'echo $$ > "$0"; exec sleep 600', str(running))


class Disk:
    """A bucket of folders and the adapters of a pod."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "adapters"
        self.root.mkdir()
        self.bucket = FolderStore()

    def commit(self, name: str, *, required: bool = False, **config: Any) -> PoolAdapter:
        folder = self.folder / name
        make_adapter(folder, seed=len(name), config=config)
        return describe_adapter(
            folder, name=name, location=folder_location(folder), required=required
        )

    def cache(
        self, command: Sequence[str] = CHECK_COMMAND, seconds: float = DEADLINE_SECONDS
    ) -> AdapterCache:
        """Of an agent that has just started."""
        check = ContentCheck(
            base_model="test/tiny", max_rank=16, command=command, deadline_seconds=seconds
        )
        store: Any = self.bucket
        return AdapterCache(self.root, store, check, max_bytes=1 << 20)

    def names(self) -> set[str]:
        return {path.name for path in self.root.iterdir()}

    async def refusal(self, cache: AdapterCache, adapter: PoolAdapter) -> tuple[str, str]:
        with pytest.raises(AdapterError) as caught:
            await cache.pull(adapter)
        return str(caught.value.reason), caught.value.message

    async def kill_sidecar_in_check(self, adapter: PoolAdapter) -> None:
        """SIGKILL while the content is being checked."""
        running = self.folder / "running"
        command = python(PULL, self.root, *stalled(running))
        env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        sidecar = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, env=env, start_new_session=True
        )
        ended = asyncio.create_task(sidecar.communicate(adapter.to_json()))
        try:
            await until(lambda: written(running) or ended.done())
        finally:
            # Its check too.
            os.killpg(sidecar.pid, signal.SIGKILL)
            await ended
        assert sidecar.returncode == -signal.SIGKILL
        running.unlink()


def written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.02)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


async def test_a_good_adapter_is_pulled_once(disk: Disk) -> None:
    good = disk.commit("good")
    cache = disk.cache()
    assert await cache.pull(good) == disk.root / good.digest
    assert await cache.pull(good) == await disk.cache().pull(good) == disk.root / good.digest
    assert disk.bucket.downloads == {good.location.prefix: 3}
    assert disk.names() == {good.digest}


async def test_refused_content_is_not_fetched_again(disk: Disk) -> None:
    bad = disk.commit("bad", use_dora=True)
    cache = disk.cache()
    first = await disk.refusal(cache, bad)
    assert first == ("ArtifactRefused", "adapter_config.json: use_dora is not allowed, it is True")
    assert await disk.refusal(cache, bad) == first
    assert disk.bucket.downloads == {bad.location.prefix: 3}
    # Named with another rank, or again after it left the index, it is looked at anew.
    other = bad.model_copy(update={"rank": 16})
    assert "the commit says 16" in (await disk.refusal(cache, other))[1]
    await cache.remove_except(set())
    assert await disk.refusal(cache, bad) == first
    assert disk.bucket.downloads == {bad.location.prefix: 9}
    assert disk.names() == set()


DEATHS = {
    "memory": (
        "from qwen3_server.checks.process import limit_process; "
        "limit_process(); bytearray(1 << 29)",
        "exit code 1",
    ),
    "time": (
        "import resource, time; from qwen3_server.checks import process as check_process; "
        "check_process.CPU_SECONDS = 1; check_process.limit_process()\nwhile True: pass",
        "SIGXCPU",
    ),
    "crash": ("import os; os.abort()", "SIGABRT"),
}


@pytest.mark.parametrize(("code", "end"), DEATHS.values(), ids=DEATHS)
async def test_a_check_that_dies_refuses_its_adapter_alone(disk: Disk, code: str, end: str) -> None:
    deadly, good = disk.commit("deadly"), disk.commit("good")
    cache = disk.cache(python(code))
    reason, message = await disk.refusal(cache, deadly)
    assert (reason, f"died ({end})" in message) == ("ArtifactRefused", True), message
    downloads = disk.bucket.downloads.copy()
    # Neither this agent nor the next one of the pod tries it again.
    for later in (cache, disk.cache()):
        reason, message = await disk.refusal(later, deadly)
        assert (reason, "died in this pod (1 in a row)" in message) == ("ArtifactRefused", True)
    assert disk.bucket.downloads == downloads
    assert await disk.cache().pull(good) == disk.root / good.digest


async def test_a_check_without_a_verdict_is_none_passed(disk: Disk) -> None:
    reason, message = await disk.refusal(disk.cache(python("print('{}')")), disk.commit("silent"))
    assert (reason, "said nonsense" in message) == ("ArtifactRefused", True)


async def test_a_check_that_cannot_be_started_condemns_nobody(disk: Disk) -> None:
    adapter = disk.commit("good")
    for _ in range(3):
        reason, message = await disk.refusal(disk.cache((str(disk.folder / "none"),)), adapter)
        assert (reason, "cannot be started" in message) == ("LoadFailed", True)
    assert await disk.cache().pull(adapter) == disk.root / adapter.digest


async def test_a_check_that_hangs_is_ended_and_condemns_nobody(disk: Disk) -> None:
    adapter, running = disk.commit("good"), disk.folder / "running"
    for _ in range(2):
        cache = disk.cache(stalled(running), seconds=2)
        reason, message = await disk.refusal(cache, adapter)
        assert (reason, message) == ("LoadFailed", "the check of its files did not end within 2 s")
        with pytest.raises(ProcessLookupError):
            os.kill(int(running.read_text()), 0)
        running.unlink()
    assert disk.names() == set()
    assert await disk.cache().pull(adapter) == disk.root / adapter.digest


async def test_what_killed_the_sidecar_once_is_not_tried_again(disk: Disk) -> None:
    deadly, good = disk.commit("deadly"), disk.commit("good")
    await disk.kill_sidecar_in_check(deadly)
    cache = disk.cache()
    await cache.clean()
    reason, message = await disk.refusal(cache, deadly)
    assert (reason, "died in this pod (1 in a row)" in message) == ("ArtifactRefused", True)
    assert disk.bucket.downloads == {}
    assert await cache.pull(good) == disk.root / good.digest

    # The ticks of the agent keep the note as long as the index names the digest.
    await cache.remove_except({good.digest, deadly.digest})
    assert (await disk.refusal(cache, deadly))[0] == "ArtifactRefused"
    await cache.remove_except({good.digest})
    assert await cache.pull(deadly) == disk.root / deadly.digest
    assert disk.names() == {good.digest, deadly.digest}


async def test_a_kill_that_hit_an_incumbent_is_forgiven(disk: Disk) -> None:
    """The node was lost, or the kubelet lost patience: once, and again much later."""
    adapter = disk.commit("good", required=True)
    for _ in range(2):
        await disk.kill_sidecar_in_check(adapter)
        cache = disk.cache()
        await cache.clean()
        assert await cache.pull(adapter) == disk.root / adapter.digest
        assert disk.names() == {adapter.digest}


async def test_a_required_adapter_is_tried_again_later(disk: Disk) -> None:
    required = disk.commit("incumbent", required=True)
    for _ in range(2):
        await disk.refusal(disk.cache(python(DEATHS["crash"][0])), required)
    cache = disk.cache()
    assert "not tried again here for 10 minutes" in (await disk.refusal(cache, required))[1]
    (note,) = disk.root.iterdir()
    then = note.stat().st_mtime - REQUIRED_PAUSE_SECONDS - 1
    os.utime(note, (then, then))
    candidate = required.model_copy(update={"required": False})
    assert (await disk.refusal(cache, candidate))[0] == "ArtifactRefused"
    assert await cache.pull(required) == disk.root / required.digest
    assert disk.names() == {required.digest}


async def test_a_sidecar_that_is_told_to_stop_blames_nobody(disk: Disk) -> None:
    """SIGTERM cancels the pull."""
    adapter, running = disk.commit("good"), disk.folder / "running"
    for _ in range(2):
        pull = asyncio.create_task(disk.cache(stalled(running)).pull(adapter))
        await until(lambda: written(running))
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull
        with pytest.raises(ProcessLookupError):
            os.kill(int(running.read_text()), 0)
        running.unlink()
    assert disk.names() == set()
    assert await disk.cache().pull(adapter) == disk.root / adapter.digest


async def test_a_disk_without_room_for_a_note_serves_what_is_on_it(disk: Disk) -> None:
    adapter = disk.commit("good")
    await disk.cache().pull(adapter)
    # No file can be put where this folder is.
    (disk.root / f".check-{adapter.digest}").mkdir()
    assert await disk.cache().pull(adapter) == disk.root / adapter.digest
