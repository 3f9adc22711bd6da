"""Where the out-of-memory killer's count is, and what two counts prove."""

from pathlib import Path

import pytest

from qwen3_trainer.oom_kills import count_oom_kills, counter_files, has_struck, parse_oom_kills

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
V2 = "low 0\nhigh 0\nmax 812\noom 4\noom_kill 3\noom_group_kill 1\n"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (V1, 3),
        (V2, 3),
        ("oom_kill_disable 0\nunder_oom 0\n", None),  # kernels before 4.13
        ("oom_kill many\n", None),
        ("", None),
    ],
)
def test_the_count_in_a_file(text: str, count: int | None) -> None:
    assert parse_oom_kills(text) == count


POD = "/kubepods.slice/kubepods-pod1.slice/cri-containerd-abc.scope"
HYBRID = f"9:name=systemd:/\n5:devices:{POD}\n4:cpu,memory:{POD}\n0::/init.scope\n"
UNIFIED = "0::/\n"
V1_MOUNT = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory"
V2_MOUNT = "29 23 0:26 {root} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate"
OTHERS = (
    "36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n22 1 8:1 / / rw - ext4 x rw"
)


@pytest.mark.parametrize(
    ("cgroup", "mount", "file"),
    [
        pytest.param(
            UNIFIED, V2_MOUNT.format(root="/"), "/sys/fs/cgroup/memory.events", id="v2 container"
        ),
        pytest.param(
            f"0::{POD}\n",
            V2_MOUNT.format(root="/"),
            f"/sys/fs/cgroup{POD}/memory.events",
            id="v2, on the host",
        ),
        pytest.param(
            UNIFIED,
            V2_MOUNT.format(root="/../../x.scope"),
            "/sys/fs/cgroup/memory.events",
            id="v2, mounted from outside of the namespace",
        ),
        pytest.param(
            HYBRID,
            V1_MOUNT.format(root=POD),
            "/sys/fs/cgroup/memory/memory.oom_control",
            id="v1 container",
        ),
        pytest.param(
            HYBRID,
            V1_MOUNT.format(root="/"),
            f"/sys/fs/cgroup/memory{POD}/memory.oom_control",
            id="v1, on the host",
        ),
    ],
)
def test_the_file_of_a_process(cgroup: str, mount: str, file: str) -> None:
    assert counter_files(cgroup, f"{OTHERS}\n{mount}\n") == [Path(file)]


@pytest.mark.parametrize(
    ("cgroup", "mounts"), [("", V2_MOUNT.format(root="/")), (UNIFIED, OTHERS), (HYBRID, OTHERS)]
)
def test_a_machine_without_a_memory_cgroup_has_none(cgroup: str, mounts: str) -> None:
    assert counter_files(cgroup, mounts) == []


@pytest.mark.parametrize(
    ("before", "after", "struck"),
    [(0, 1, True), (3, 3, False), (None, 1, None), (0, None, None)],
)
def test_only_a_higher_count_is_proof(
    before: int | None, after: int | None, struck: bool | None
) -> None:
    assert has_struck(before, after) is struck


def _proc(folder: Path, mount_point: Path) -> Path:
    (folder / "cgroup").write_text(UNIFIED)
    line = V2_MOUNT.format(root="/").replace("/sys/fs/cgroup", str(mount_point))
    (folder / "mountinfo").write_text(f"{OTHERS}\n{line}\n")
    return folder


def test_the_count_is_read(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text(V2)
    assert count_oom_kills(_proc(tmp_path, tmp_path)) == 3
    (tmp_path / "memory.events").unlink()
    assert count_oom_kills(_proc(tmp_path, tmp_path)) is None
    (tmp_path / "memory.events").mkdir()
    assert count_oom_kills(_proc(tmp_path, tmp_path)) is None
    assert count_oom_kills(tmp_path / "nowhere") is None
