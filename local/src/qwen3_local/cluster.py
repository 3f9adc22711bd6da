"""Bring the cluster up, as a whole or its control plane alone."""

import json
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from qwen3_local import containerd, control_plane, node, oci_archive
from qwen3_local.binaries import KUBE, PAUSE, ensure_program, link
from qwen3_local.bridge import ensure_bridge
from qwen3_local.control_plane import ControlPlane
from qwen3_local.down import discard_dead_state
from qwen3_local.layout import Home, current_home
from qwen3_local.locks import exclusive
from qwen3_local.node import Node
from qwen3_local.programs import run, wait_until
from qwen3_local.timings import say, step

API_PORT = 6443


@dataclass(frozen=True)
class Cluster:
    """A running cluster: hand `kubeconfig` to any client; `folder` has its logs."""

    name: str
    kubeconfig: Path
    server: str
    folder: Path
    kubectl: Path

    def kubectl_run(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl as admin; returns stdout, raises ProgramError on failure."""
        return run([self.kubectl, f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)


def up(home: Home | None = None) -> Cluster:
    """The whole cluster: control plane, one node with eight advertised GPUs, DNS.

    Idempotent: what runs is left alone, what died is started again. Takes seconds once `kube` is
    built and the Debian packages are there; needs root.
    """
    home = home or current_home()
    with step(home, "kube binary"):
        kube = ensure_kube(home)
    discard_dead_state(home)
    plane = ControlPlane(
        kube, home.state, "qwen3-local", API_PORT, node.BRIDGE_ADDRESS, with_scheduler=True
    )
    machine = Node(kube, home.state, home.cache / "containerd", plane.server)
    with exclusive(home.state / "up.lock"):
        started = ensure_cluster(home, plane, machine)
    say(f"      started: {', '.join(started) if started else 'nothing, all was running'}")
    return as_cluster(home, plane)


def ensure_cluster(home: Home, plane: ControlPlane, machine: Node) -> list[str]:
    """Control plane, then node; the names of the daemons started now."""
    cluster = as_cluster(home, plane)
    started = []
    with step(home, "control plane"):
        # The bridge first: the API server advertises its address to pods.
        ensure_bridge()
        write_configuration(machine)
        if node.containerd_daemon(machine).ensure_running():
            started.append("containerd")
        started += control_plane.ensure_control_plane(plane, node.identities())
        ensure_bindings(cluster)
    with step(home, "node"):
        started += ensure_node(home, machine, cluster)
    return started


def up_control_plane(
    name: str, port: int, home: Home | None = None, *, scheduler: bool = False
) -> Cluster:
    """etcd, API server and controllers on loopback, in a folder of their own.

    For tests of what needs no pods to run. Uses the ports `port` to `port + 4`; several
    instances with different names and ports run side by side. `scheduler` adds one, for nodes
    that KWOK plays.
    """
    home = home or current_home()
    kube = ensure_kube(home)
    plane = ControlPlane(kube, home.instance(name), name, port, with_scheduler=scheduler)
    with exclusive(plane.folder / "up.lock"), step(home, "control plane alone"):
        control_plane.ensure_control_plane(plane)
        cluster = as_cluster(home, plane)
        # The first objects of tests land here; it is made by the API server itself.
        wait_until(lambda: has_default_account(cluster), "the default ServiceAccount")
    return cluster


def as_cluster(home: Home, plane: ControlPlane) -> Cluster:
    return Cluster(plane.name, plane.kubeconfig, plane.server, plane.folder, home.bin / "kubectl")


def ensure_kube(home: Home) -> Path:
    """The one binary, with `kube` and `kubectl` linked beside each other in `<home>/bin`."""
    kube = ensure_program(home, KUBE)
    link(home, "kube", kube)
    link(home, "kubectl", kube)
    return kube


def has_default_account(cluster: Cluster) -> bool:
    """The controllers work and pods can be made in the namespace `default`."""
    found = subprocess.run(
        [
            cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}",
            "get", "serviceaccount", "default", "--ignore-not-found", "-o", "name",
        ],
        capture_output=True,
        check=False,
    )  # fmt: skip
    return found.returncode == 0 and bool(found.stdout.strip())


def write_configuration(machine: Node) -> None:
    for path, content in node.configuration(machine).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


BINDINGS = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: qwen3-local-proxy}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:node-proxier}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: system:kube-proxy}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: qwen3-local-coredns}}
rules:
- {{apiGroups: [""], resources: [services, pods, namespaces, nodes], verbs: [get, list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: qwen3-local-coredns}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: qwen3-local-coredns}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: "{node.identities()[2].user}"}}]
"""


def ensure_bindings(cluster: Cluster) -> None:
    """Rights of kube-proxy and CoreDNS."""
    cluster.kubectl_run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=BINDINGS)


def ensure_node(home: Home, machine: Node, cluster: Cluster) -> list[str]:
    """Start the node's daemons and wait for Ready, GPUs and the default ServiceAccount."""
    runtime = node.containerd_daemon(machine)
    runtime.wait_ready(lambda: containerd.answers(machine.socket))
    ensure_pause_image(home, machine)
    daemons = [
        node.kubelet_daemon(machine),
        node.proxy_daemon(machine),
        node.coredns_daemon(machine),
    ]
    started = [daemon.name for daemon in daemons if daemon.ensure_running()]
    # Its own word too: the Node still says Ready for a while when a kubelet was killed.
    daemons[0].wait_ready(lambda: kubelet_is_healthy() and node_is_ready(cluster))
    ensure_advertised(cluster)
    wait_until(lambda: has_default_account(cluster), "the default ServiceAccount")
    return started


def ensure_pause_image(home: Home, machine: Node) -> None:
    """Every sandbox runs it; built here, because there is nowhere to pull it from."""
    if containerd.has_image(machine.socket, node.PAUSE_IMAGE):
        return
    program = ensure_program(home, PAUSE)
    folder = home.state / "pause"
    folder.mkdir(parents=True, exist_ok=True)
    layer, archive = folder / "layer.tar", folder / "image.tar"
    oci_archive.layer_of_files(layer, {"pause": program.read_bytes()})
    config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
    oci_archive.write_image(archive, node.PAUSE_IMAGE, layer, config)
    containerd.import_archive(machine.socket, archive)


def node_object(cluster: Cluster) -> dict[str, object] | None:
    """The Node as JSON, or None before the kubelet registered it."""
    text = cluster.kubectl_run("get", "node", node.NODE_NAME, "--ignore-not-found", "-o", "json")
    return dict(json.loads(text)) if text.strip() else None


def kubelet_is_healthy() -> bool:
    try:
        with urllib.request.urlopen(node.KUBELET_HEALTH, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def node_is_ready(cluster: Cluster) -> bool:
    found = node_object(cluster)
    return found is not None and is_ready_status(found)


def is_ready_status(found: dict[str, object]) -> bool:
    """Ready is True and nothing keeps pods away."""
    status, spec = found.get("status"), found.get("spec")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    tainted = isinstance(spec, dict) and bool(spec.get("taints"))
    return not tainted and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def ensure_advertised(cluster: Cluster) -> None:
    """Advertise GPUs that are not there, so that GPU pods schedule and run on the CPU, and storage.

    A patch of the node's status: the kubelet keeps resources it does not know, and only a new
    registration drops them, which is why every `up` looks again.
    """
    if advertises(cluster):
        return
    patch = json.dumps(
        [
            {"op": "add", "path": f"/status/capacity/{name.replace('/', '~1')}", "value": value}
            for name, value in node.ADVERTISED.items()
        ]
    )
    cluster.kubectl_run(
        "patch", "node", node.NODE_NAME, "--subresource=status", "--type=json", f"--patch={patch}"
    )
    # The kubelet copies capacity to allocatable with its next status.
    wait_until(lambda: advertises(cluster), "GPUs and storage in the node's allocatable", 30)


def advertises(cluster: Cluster) -> bool:
    found = node_object(cluster) or {}
    status = found.get("status")
    allocatable = status.get("allocatable", {}) if isinstance(status, dict) else {}
    return bool(allocatable.items() >= node.ADVERTISED.items())
