"""The out-of-memory killer's count for this container: the only proof that a SIGKILL was its.

A kubelet that runs into its grace period, an eviction, `kubectl debug` and a driver may all send
SIGKILL. The kernel counts those of its own in the memory cgroup of the process that it ends: in
`memory.events` of cgroup v2, in `memory.oom_control` of v1, each with a line `oom_kill <count>`.
"""

import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

log = logging.getLogger(__name__)

PROC = Path("/proc/self")
_V1_FILE, _V2_FILE = "memory.oom_control", "memory.events"


def count_oom_kills(proc: Path = PROC) -> int | None:
    """How often the killer struck in the cgroup of this process; None where that can't be read.

    proc: folder with `cgroup` and `mountinfo` of the process.
    """
    try:
        files = counter_files((proc / "cgroup").read_text(), (proc / "mountinfo").read_text())
    except (OSError, UnicodeDecodeError) as error:
        log.warning("the cgroup of this container is unknown: %s", error)
        return None
    for file in files:
        try:
            return parse_oom_kills(file.read_text())
        except FileNotFoundError:
            continue  # a mount of another part of the hierarchy
        except (OSError, UnicodeDecodeError) as error:
            log.warning("the container's memory events can't be read: %s", error)
            return None
    return None


def has_struck(before: int | None, after: int | None) -> bool | None:
    """Whether the killer struck between two counts; None where they can't prove it. Pure."""
    return None if before is None or after is None else after > before


def parse_oom_kills(text: str) -> int | None:
    """The count in a counter file of either version; None in one that has none (kernels before
    4.13). Pure."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdecimal():
            return int(value)
    return None


def counter_files(cgroup: str, mountinfo: str) -> list[Path]:
    """Where the counter of a process may be, by its /proc/<pid>/cgroup and mountinfo. Pure.

    The version that has the memory controller counts: in a hybrid hierarchy that is v1.
    """
    v1 = v2 = None
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            v1 = PurePosixPath(path)
        elif not controllers:
            v2 = PurePosixPath(path)
    if v1 is not None:
        return [folder / _V1_FILE for folder in _folders(v1, mountinfo, "cgroup", "memory")]
    if v2 is not None:
        return [folder / _V2_FILE for folder in _folders(v2, mountinfo, "cgroup2")]
    return []


def _folders(path: PurePosixPath, mountinfo: str, kind: str, option: str = "") -> Iterator[Path]:
    """The folder of a cgroup below each mount of its hierarchy."""
    for line in mountinfo.splitlines():
        # ID, parent, device, root, mount point, options, [tags] - type, source, super options
        mount, _, filesystem = line.partition(" - ")
        fields, described = mount.split(), filesystem.split()
        if len(fields) < 5 or len(described) < 3 or described[0] != kind:
            continue
        if option and option not in described[2].split(","):
            continue
        root, point = PurePosixPath(fields[3]), Path(fields[4])
        # A container without a cgroup namespace sees its path from the host's root, and a mount of
        # just its own cgroup. One whose path isn't below the mount's root sees its own at the top.
        below = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
        yield point / below
