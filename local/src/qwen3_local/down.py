"""Stop and remove everything that was started; the cache stays unless asked otherwise."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from qwen3_local import containerd, node
from qwen3_local.bridge import has_bridge
from qwen3_local.layout import Home, current_home
from qwen3_local.locks import exclusive
from qwen3_local.programs import read_record, run, stop_recorded, wait_until
from qwen3_local.timings import step

LAST = ("apiserver", "etcd", "containerd")
"""Stopped after all that talks to them."""

CGROUPS = Path("/sys/fs/cgroup")
CNI_RESULTS = Path("/var/lib/cni/results")
GRACE_SECONDS = 2.0
"""Nothing of the state is kept, so nobody needs long to write it."""


def down(home: Home | None = None, *, everything: bool = False) -> None:
    """Processes, pods, mounts, network and state; with `everything` the cache as well."""
    home = home or current_home()
    with step(home, "stop daemons"):
        records = run_records(home.state)
        for record in records:
            if record.stem != "containerd":
                stop_recorded(record, GRACE_SECONDS)
    with step(home, "remove pods and network"):
        socket = home.state / "containerd.sock"
        kill_pods(socket)
        unmount_below(home.state / "roots")
        remove_containers(home)
        stop_recorded(home.state / "run" / "containerd.json", GRACE_SECONDS)
        for pid in shim_pids(socket):
            kill(pid)
        unmount_below(home.state)
        remove_network()
        remove_cgroups()
    remove_tree(home.root if everything else home.state)


def discard_dead_state(home: Home) -> None:
    """Take down what is left of a platform of which no process lives.

    After a restart of the machine, or when a session ended and its processes with it, old pods,
    mounts and addresses would come back half alive: a new start is quicker and sound.
    """
    with exclusive(home.root / "fresh.lock"):
        if is_dead(home.state):
            down(home)


def is_dead(state: Path) -> bool:
    """Daemons were started here, and none of them lives."""
    records = run_records(state)
    entries = [read_record(path) for path in records]
    return bool(records) and not any(entry and entry.is_alive() for entry in entries)


def run_records(state: Path) -> list[Path]:
    """Records of all daemons below a folder, clients before servers."""
    # Not a walk over the whole state: running containers' file systems are mounted in it.
    records = sorted(r for level in ("", "*/", "*/*/") for r in state.glob(f"{level}run/*.json"))
    return sorted(records, key=lambda path: LAST.index(path.stem) if path.stem in LAST else -1)


def kill_pods(socket: Path) -> None:
    """The first process of each container, and with it the others of its namespace."""
    shims = shim_pids(socket)
    for pid in children_of(shims):
        kill(pid)
    wait_until(lambda: not children_of(shims), "end of the pods' processes", 30)


def shim_pids(socket: Path) -> set[int]:
    """The shims of our containerd, told from others by its socket: they outlive it by design."""
    found = set()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            # Ended while /proc was read.
            continue
        if "containerd-shim" in words[0] and str(socket) in words:
            found.add(int(command.parent.name))
    return found


def children_of(parents: set[int]) -> list[int]:
    """Living processes whose parent is one of `parents`."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) in parents and state != "Z":
            found.append(int(status.parent.name))
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        # Gone already, which is what was wanted.
        return


def remove_containers(home: Home) -> None:
    """Containers and the writable snapshots, so that the kept store holds images only."""
    machine = node.Node(Path(), home.state, home.cache / "containerd", "")
    runtime, socket = node.containerd_daemon(machine), machine.socket
    if not (home.state / "containerd.toml").exists():
        return
    # It may have died with the machine's last session: the store can only be cleaned by it.
    runtime.ensure_running()
    runtime.wait_ready(lambda: containerd.answers(socket))
    for task in containerd.all_tasks(socket):
        # A task that died this instant deletes itself; containers decide below.
        subprocess.run(
            ["ctr", "--address", socket, "--namespace", node.CONTAINERD_NAMESPACE,
             "tasks", "delete", "--force", task],
            capture_output=True,
            check=False,
        )  # fmt: skip
    for name in containerd.ctr(socket, "containers", "list", "--quiet").split():
        containerd.ctr(socket, "containers", "delete", name)
        for result in CNI_RESULTS.glob(f"*-{name}-*"):
            result.unlink()
    for line in containerd.ctr(socket, "snapshots", "list").splitlines():
        # Snapshots of `image_python` are named by the folder they were mounted at.
        if line.startswith(f"{home.state}/"):
            containerd.ctr(socket, "snapshots", "remove", line.split()[0])


def mounts_below(folder: Path) -> list[str]:
    """Mount points inside a folder, innermost first; one mounted over appears twice."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    decoded = [place.encode().decode("unicode_escape") for place in places]
    inside = [place for place in decoded if place.startswith(f"{folder}/")]
    return sorted(inside, key=len, reverse=True)


def unmount_below(folder: Path) -> None:
    for place in mounts_below(folder):
        run(["umount", "--lazy", place])


def remove_tree(folder: Path) -> None:
    """Delete a folder, but never through a mount: images are mounted with /tmp and the
    repository inside. Raises RuntimeError if something is still mounted.
    """
    unmount_below(folder)
    left = mounts_below(folder)
    if left:
        raise RuntimeError(f"{folder} is kept, still mounted: {', '.join(left)}")
    if folder.exists():
        shutil.rmtree(folder)


def remove_network() -> None:
    """The bridge with its veth pairs, and the chains of kube-proxy, kubelet and CNI plugin."""
    if has_bridge():
        run(["ip", "link", "delete", node.BRIDGE])
    for family in ("iptables", "ip6tables"):
        saved = run([f"{family}-save"])
        kept = without_cluster_rules(saved, node.CNI_NETWORK)
        if kept != saved:
            run([f"{family}-restore"], stdin=kept)


def without_cluster_rules(saved: str, network: str) -> str:
    """An iptables dump without Kubernetes's chains and those of one CNI network.

    The latter are known by the network's name in their rules' comments.
    """
    lines = saved.splitlines(keepends=True)
    ours = {
        word
        for line in lines
        if f'name: \\"{network}\\"' in line
        for word in line.split()
        if word.startswith("CNI-")
    }

    def is_kept(line: str) -> bool:
        words = line.removeprefix(":").split()
        return not ours.intersection(words) and not any(w.startswith("KUBE-") for w in words)

    return "".join(line for line in lines if is_kept(line))


def remove_cgroups() -> None:
    """The cgroups of pods that are empty now, innermost first."""
    folders = [path for path in CGROUPS.glob("**/kubepods/**/") if path.is_dir()]
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        # Not empty: the pods of another cluster on this machine.
        with suppress(OSError):
            folder.rmdir()


def describe(home: Home | None = None) -> list[tuple[str, bool, int]]:
    """Name, whether it runs, and pid of each daemon that was started and not taken down."""
    home = home or current_home()
    rows = []
    for path in run_records(home.state):
        entry = read_record(path)
        if entry is not None:
            folder = path.parents[1]
            name = path.stem if folder == home.state else f"{folder.name}/{path.stem}"
            rows.append((name, entry.is_alive(), entry.pid))
    return sorted(rows)
