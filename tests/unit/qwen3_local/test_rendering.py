"""Configuration of the daemons, and what `down` reads from the machine."""

import json
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from qwen3_local import control_plane, node, oci_archive
from qwen3_local.binaries import KUBE
from qwen3_local.certificates import Identity, extensions
from qwen3_local.control_plane import ControlPlane
from qwen3_local.down import LAST, run_records, without_cluster_rules
from qwen3_local.images import render_buildkit
from qwen3_local.layout import Home
from qwen3_local.node import Node
from qwen3_local.s3 import tenant_actions
from qwen3_local.timings import Timing, covered_seconds, read_timings, record, render_table

MACHINE = Node(Path("/k/kube"), Path('/st "q"/state'), Path("/c/containerd"), "https://x")


def plane(name: str, port: int, *, advertise: str | None = None) -> ControlPlane:
    return ControlPlane(Path("/k/kube"), Path("/s") / name, name, port, advertise)


def option(command: tuple[str, ...], name: str) -> str:
    (value,) = [part.partition("=")[2] for part in command if part.startswith(f"{name}=")]
    return value


def test_containerd_configuration_is_toml_with_odd_paths() -> None:
    parsed = tomllib.loads(node.render_containerd(MACHINE))
    cri = parsed["plugins"]["io.containerd.grpc.v1.cri"]
    assert parsed["root"] == "/c/containerd"
    assert parsed["grpc"]["address"] == '/st "q"/state/containerd.sock'
    assert cri["sandbox_image"] == node.PAUSE_IMAGE
    assert cri["restrict_oom_score_adj"] is True


def test_kubelet_survives_a_nearly_full_disk() -> None:
    parsed = yaml.safe_load(node.render_kubelet(MACHINE))
    assert parsed["evictionHard"]["nodefs.available"] == "1%"
    assert parsed["imageGCHighThresholdPercent"] == 100
    assert parsed["seccompDefault"] is True
    assert parsed["clusterDNS"] == [node.BRIDGE_ADDRESS]


def test_buildkit_and_kubelet_share_one_containerd() -> None:
    parsed = tomllib.loads(render_buildkit(Home(Path("/h")), MACHINE.socket))
    worker = parsed["worker"]["containerd"]
    assert worker["address"] == str(MACHINE.socket)
    assert worker["namespace"] == node.CONTAINERD_NAMESPACE


def test_pods_get_the_bridge_that_the_node_address_is_on() -> None:
    (bridge,) = json.loads(node.render_cni(MACHINE))["plugins"]
    assert bridge["bridge"] == node.BRIDGE
    assert bridge["ipam"]["ranges"] == [[{"subnet": node.POD_CIDR}]]


def test_planes_five_ports_apart_share_no_port() -> None:
    ports: list[int] = []
    for first in (17000, 17005):
        instance = plane(f"p{first}", first)
        ports += [
            int(option(control_plane.apiserver_daemon(instance).command, "--secure-port")),
            int(option(control_plane.controllers_daemon(instance).command, "--secure-port")),
            int(option(control_plane.scheduler_daemon(instance).command, "--secure-port")),
        ]
        etcd = control_plane.etcd_daemon(instance).command
        for name in ("--listen-client-urls", "--listen-peer-urls"):
            ports.append(int(option(etcd, name).rpartition(":")[2]))
    assert sorted(ports) == list(range(17000, 17010))


def test_plane_without_pods_listens_on_loopback_only() -> None:
    alone = control_plane.apiserver_daemon(plane("a", 17000)).command
    whole = control_plane.apiserver_daemon(plane("b", 6443, advertise="10.244.0.1")).command
    assert option(alone, "--bind-address") == "127.0.0.1"
    assert option(whole, "--advertise-address") == "10.244.0.1"


def test_certificate_names_the_address_pods_use() -> None:
    server = control_plane.identities(plane("b", 6443, advertise="10.244.0.1"))[0]
    assert "IP:10.244.0.1" in extensions(server)
    assert "IP:10.96.0.1" in extensions(server)


def test_groups_become_organisations() -> None:
    assert Identity("a", "admin", ("system:masters",)).subject == "/O=system:masters/CN=admin"


def test_version_is_linked_into_both_packages() -> None:
    flags = KUBE.linker_flags
    assert "-X k8s.io/component-base/version.gitVersion=v1.35.4" in flags
    assert "-X k8s.io/client-go/pkg/version.gitMinor=35" in flags


def test_tenant_rights_stay_below_its_own_prefix() -> None:
    writes = [action for action in tenant_actions("team") if action.startswith("Write")]
    assert writes == ["Write:qwen3/qwen3/team/*"]


def test_image_archive_is_reproducible_and_complete(tmp_path: Path) -> None:
    digests = []
    for number in range(2):
        layer, archive = tmp_path / f"l{number}", tmp_path / f"a{number}"
        oci_archive.layer_of_files(layer, {"pause": b"program"})
        digests.append(oci_archive.write_image(archive, "localhost/p:1", layer, {"User": "1"}))
    assert digests[0] == digests[1]
    with tarfile.open(tmp_path / "a0") as opened:
        content = opened.extractfile(oci_archive.blob_path(digests[0]))
        assert content is not None
        manifest = json.loads(content.read())
        names = set(opened.getnames())
    for entry in [manifest["config"], *manifest["layers"]]:
        assert oci_archive.blob_path(entry["digest"]) in names


SAVED = """*nat
:PREROUTING ACCEPT [0:0]
:CNI-aaaa - [0:0]
:CNI-bbbb - [0:0]
-A POSTROUTING -s 10.244.0.5 -m comment --comment "name: \\"qwen3-pods\\" id: \\"1\\"" -j CNI-aaaa
-A POSTROUTING -s 10.9.0.5/32 -m comment --comment "name: \\"other\\" id: \\"2\\"" -j CNI-bbbb
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -p tcp -m comment --comment "not of a KUBE" -j ACCEPT
-A CNI-aaaa -d 10.244.0.0/24 -m comment --comment "name: \\"qwen3-pods\\" id: \\"1\\"" -j ACCEPT
-A CNI-bbbb -d 10.9.0.0/24 -m comment --comment "name: \\"other\\" id: \\"2\\"" -j ACCEPT
COMMIT
"""


def test_only_the_clusters_rules_are_dropped() -> None:
    kept = without_cluster_rules(SAVED, "qwen3-pods")
    assert "CNI-aaaa" not in kept
    assert "KUBE-FIREWALL" not in kept
    assert "not of a KUBE" in kept
    assert kept.count("CNI-bbbb") == 3
    assert kept.endswith("COMMIT\n")


def test_servers_are_stopped_after_their_clients(tmp_path: Path) -> None:
    for name in ("etcd", "apiserver", "kubelet", "containerd", "scheduler"):
        path = tmp_path / "run" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    order = [path.stem for path in run_records(tmp_path)]
    assert tuple(order[-3:]) == LAST


def test_timing_of_a_repeated_step_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    for seconds in (5.0, 1.0):
        record(path, Timing("build", seconds, ok=True, began=100.0))
    assert [entry.seconds for entry in read_timings(path)] == [1.0]


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([], 0),
        ([(0, 5), (10, 5)], 10),
        ([(0, 10), (2, 3)], 10),
        ([(0, 10), (5, 10)], 15),
    ],
)
def test_overlapping_steps_count_once(
    intervals: list[tuple[float, float]], expected: float
) -> None:
    steps = [Timing(str(began), length, True, began) for began, length in intervals]
    assert covered_seconds(steps) == expected
    assert f"{expected:.1f} s" in render_table(steps)
