"""Mounts a small tmpfs in the container of a process:

    python small_disk.py PID FOLDER SIZE

The base image has no `mount`, so it is the system call. Raises OSError.
"""

import ctypes
import os
import sys

CLONE_NEWNS = 0x0002_0000
"""<linux/sched.h>: a mount namespace."""


def main(pid: str, folder: str, size: str) -> None:
    """Mounts."""
    libc = ctypes.CDLL(None, use_errno=True)
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    _check(libc.setns(namespace, CLONE_NEWNS))
    os.makedirs(folder, exist_ok=True)
    options = f"size={size},mode=1777".encode()
    _check(libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, options))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
