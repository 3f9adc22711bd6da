"""The node of the local cluster, which is this machine: processes of its pods, their disks, and
their way to the object store. What a node's administrator can do, a test can do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def pod_processes(uid: str) -> dict[int, str]:
    """Command lines of a pod's processes by their ids."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if f"pod{uid}" in (folder / "cgroup").read_text():
                command = (folder / "cmdline").read_bytes()
                found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return found


def trainer(uid: str) -> int | None:
    """The first process of a training pod's container; None before it runs."""
    found = (p for p, command in pod_processes(uid).items() if "-m qwen3_trainer" in command)
    return min(found, default=None)


def training_workers(uid: str) -> list[int]:
    """The processes of a training pod that have the ML stack."""
    found = pod_processes(uid)
    return sorted(pid for pid, command in found.items() if "qwen3_trainer.worker train" in command)


def freeze(pids: list[int]) -> None:
    """SIGSTOP: they hang, as in a collective that never returns. SIGKILL still ends them."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def shrink_disk(pid: int, folder: str, size: str) -> None:
    """A small file system in the place of a folder of the container that a process is in.

    By a process of its own, since the thread that enters another mount namespace stays there.
    """
    script = Path(__file__).with_name("small_disk.py")
    subprocess.run([sys.executable, str(script), str(pid), folder, size], check=True)


@contextmanager
def cut_off(pod: Any, endpoint: str) -> Iterator[None]:
    """The pod's connections to a server of this machine are reset, old ones and new ones."""
    url = urlsplit(endpoint)
    rule = [
        *("--source", pod.status.pod_ip, "--protocol", "tcp", "--dport", str(url.port)),
        *("--jump", "REJECT", "--reject-with", "tcp-reset"),
    ]
    subprocess.run(["iptables", "--wait", "--insert", "INPUT", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "--wait", "--delete", "INPUT", *rule], check=True)
