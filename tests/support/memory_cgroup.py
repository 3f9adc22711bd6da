"""A memory cgroup of one's own, as a container has one; needs root and writable cgroups.

with memory_cgroup("test", 256 << 20) as enter:
    subprocess.run(command, preexec_fn=enter)
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.waiting import wait_for

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


@contextmanager
def memory_cgroup(name: str, limit: int) -> Iterator[Callable[[], None]]:
    """Makes a cgroup whose processes hold at most `limit` bytes together. What it yields moves the
    process that calls it in there. Raises OSError where that can't be done."""
    hierarchy, maximum = (V1, "memory.limit_in_bytes") if V1.is_dir() else (V2, "memory.max")
    folder = hierarchy / f"qwen3-{name}-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / maximum).write_text(str(limit))
        for swap in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
            if (folder / swap).exists():
                (folder / swap).write_text("0" if swap == "memory.swap.max" else str(limit))
        yield lambda: _enter(folder)
    finally:
        wait_for((folder / "cgroup.procs").read_text, lambda pids: not pids, "an empty cgroup", 10)
        folder.rmdir()


def _enter(folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(os.getpid()))
