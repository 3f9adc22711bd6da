"""Stop and remove everything that was started; the cache stays unless asked otherwise."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from qwen3_local import containerd, node
from qwen3_local.binaries import KUBE, built_path
from qwen3_local.layout import Home, current_home
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
        kill_pods()
        unmount_below(home.state / "roots")
        remove_containers(home.state)
        stop_recorded(home.state / "run" / "containerd.json", GRACE_SECONDS)
        kill_shims(home.state / "containerd.sock")
        unmount_below(home.state)
        remove_network(home)
        remove_cgroups()
    remove_tree(home.root if everything else home.state)


def run_records(state: Path) -> list[Path]:
    """Records of all daemons below a folder, clients before servers."""
    records = sorted(state.rglob("run/*.json"))
    return sorted(records, key=lambda path: LAST.index(path.stem) if path.stem in LAST else -1)


def pod_processes() -> list[int]:
    """Pids in the cgroups that the kubelet made for pods."""
    pids: set[int] = set()
    for listing in CGROUPS.glob("**/kubepods/**/cgroup.procs"):
        try:
            pids.update(int(line) for line in listing.read_text().split())
        except OSError:
            # The cgroup vanished while it was read, with its last process.
            continue
    return sorted(pids)


def kill_pods() -> None:
    for pid in pod_processes():
        kill(pid)
    wait_until(lambda: not pod_processes(), "end of the pods' processes", 30)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        # Gone already, which is what was wanted.
        return


def remove_containers(state: Path) -> None:
    """Containers and the writable snapshots, so that the kept store holds images only."""
    socket = state / "containerd.sock"
    if not socket.exists() or not containerd.answers(socket):
        return
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
    for line in containerd.ctr(socket, "snapshots", "list").splitlines():
        # Snapshots of `image_python` are named by the folder they were mounted at.
        if line.startswith(f"{state}/"):
            containerd.ctr(socket, "snapshots", "remove", line.split()[0])


def kill_shims(socket: Path) -> None:
    """The shims of our containerd: they outlive it by design."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "containerd-shim" in words[0] and str(socket) in words:
            kill(int(command.parent.name))


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


def remove_network(home: Home) -> None:
    """The bridge with its veth pairs, kube-proxy's chains and the CNI plugin's."""
    if Path(f"/sys/class/net/{node.BRIDGE}").exists():
        run(["ip", "link", "delete", node.BRIDGE])
    kube = built_path(home, KUBE)
    if kube.exists():
        run([kube, "proxy", "--cleanup"])
    remove_cni_chains()
    for result in CNI_RESULTS.glob(f"{node.CNI_NETWORK}-*"):
        result.unlink()


def remove_cni_chains() -> None:
    """The masquerading rules that each pod's network left, known by our network's name."""
    saved = run(["iptables-save", "-t", "nat"])
    kept = without_network_rules(saved, node.CNI_NETWORK)
    if kept != saved:
        run(["iptables-restore", "-T", "nat"], stdin=kept)


def without_network_rules(saved: str, network: str) -> str:
    """An iptables dump without the chains whose rules carry the network's comment."""
    lines = saved.splitlines(keepends=True)
    ours = {
        word
        for line in lines
        if f'name: \\"{network}\\"' in line
        for word in line.split()
        if word.startswith("CNI-")
    }
    return "".join(line for line in lines if not ours.intersection(line.replace(":", "").split()))


def remove_cgroups() -> None:
    """The empty cgroups of the pods, innermost first."""
    folders = [path for path in CGROUPS.glob("**/kubepods/**/") if path.is_dir()]
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
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
