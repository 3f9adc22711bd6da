"""The node: bridge, containerd, kubelet, kube-proxy and CoreDNS on this machine.

The renderers are pure; the settings that look odd each answer to something a bare virtual machine
without Docker does (cgroup v1, missing CAP_SYS_RESOURCE, a disk that is nearly full).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from qwen3_local.certificates import Identity
from qwen3_local.programs import Daemon

NODE_NAME = "local"
BRIDGE = "qwen3br0"
BRIDGE_ADDRESS = "10.244.0.1"
POD_CIDR = "10.244.0.0/24"
CNI_NETWORK = "qwen3-pods"
PAUSE_IMAGE = "localhost/pause:1"
KUBELET_HEALTH = "http://127.0.0.1:10248/healthz"
GPU_RESOURCE = "nvidia.com/gpu"
GPU_COUNT = 8
ADVERTISED = {GPU_RESOURCE: str(GPU_COUNT), "ephemeral-storage": "64Gi"}
"""Capacity that is patched into the node's status. The kubelet tells no storage here, since it
can't measure it on every file system; a pod that requests some could not be scheduled."""
CONTAINERD_NAMESPACE = "k8s.io"


@dataclass(frozen=True)
class Node:
    """Paths of the node's daemons.

    `store` holds images and snapshots and lives in the cache, so that `down` does not lose what
    took minutes to build; everything else is state.
    """

    kube: Path
    folder: Path
    store: Path
    server: str

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"


def identities() -> list[Identity]:
    """Client certificates of the node's agents; the kubelet's also serves logs and exec."""
    return [
        Identity(
            "kubelet",
            f"system:node:{NODE_NAME}",
            groups=("system:nodes",),
            alternative_names=(f"DNS:{NODE_NAME}", "IP:127.0.0.1", f"IP:{BRIDGE_ADDRESS}"),
        ),
        Identity("proxy", "system:kube-proxy"),
        # ClusterRole system:coredns does not exist by itself: `cluster` binds this user.
        Identity("coredns", "qwen3:coredns"),
    ]


def render_cni(node: Node) -> str:
    """One bridge; addresses are leased by files below the state folder."""
    return json.dumps(
        {
            "cniVersion": "0.4.0",
            "name": CNI_NETWORK,
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": BRIDGE,
                    "isGateway": True,
                    "ipMasq": True,
                    # A pod may reach itself through its own Service.
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(node.folder / "cni-leases"),
                        "ranges": [[{"subnet": POD_CIDR}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        },
        indent=1,
    )


def render_containerd(node: Node) -> str:
    """containerd 1.6 (config version 2); TOML strings are written as JSON strings."""
    return f"""version = 2
root = {json.dumps(str(node.store))}
state = {json.dumps(str(node.folder / "containerd"))}
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs",
]
[grpc]
  address = {json.dumps(str(node.socket))}

[plugins."io.containerd.grpc.v1.cri"]
  # The machine may lack CAP_SYS_RESOURCE, and then runc dies on a lowered score.
  restrict_oom_score_adj = true
  sandbox_image = {json.dumps(PAUSE_IMAGE)}
  # Network namespaces below our own state, so that `down` finds exactly ours.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = {json.dumps(str(node.folder / "cni"))}
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def render_kubelet(node: Node) -> str:
    """KubeletConfiguration."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{node.socket}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(node.pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(node.pki / "kubelet.crt"),
            "tlsPrivateKeyFile": str(node.pki / "kubelet.key"),
            "clusterDomain": "cluster.local",
            "clusterDNS": [BRIDGE_ADDRESS],
            "resolvConf": "/etc/resolv.conf",
            # A nearly full disk is normal on a build machine: evict at the very end only.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "localStorageCapacityIsolation": False,
            "maxPods": 200,
            "serializeImagePulls": False,
            "seccompDefault": True,
            # A demo watches seconds: do not hold back status and events.
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "20s",
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
            "volumePluginDir": str(node.folder / "volume-plugins"),
            "podLogsDir": str(node.folder / "pod-logs"),
        },
        sort_keys=False,
    )


def render_corefile(node: Node) -> str:
    """DNS of the pods; other names go where the host asks."""
    return f""".:53 {{
  bind {BRIDGE_ADDRESS}
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {node.pki / "coredns.kubeconfig"}
    ttl 5
  }}
  forward . /etc/resolv.conf
  cache 5
  reload 10s
}}
"""


def containerd_daemon(node: Node) -> Daemon:
    command = ("containerd", "--config", str(node.folder / "containerd.toml"))
    return Daemon("containerd", command, node.folder, configuration=render_containerd(node))


def kubelet_daemon(node: Node) -> Daemon:
    return Daemon(
        "kubelet",
        (
            str(node.kube), "kubelet",
            f"--config={node.folder / 'kubelet.yaml'}",
            f"--kubeconfig={node.pki / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={BRIDGE_ADDRESS}",
            f"--root-dir={node.folder / 'kubelet'}",
            f"--cert-dir={node.pki}",
        ),
        node.folder,
        configuration=render_kubelet(node),
    )  # fmt: skip


def proxy_daemon(node: Node) -> Daemon:
    return Daemon(
        "proxy",
        (
            str(node.kube), "proxy",
            f"--kubeconfig={node.pki / 'proxy.kubeconfig'}",
            f"--hostname-override={NODE_NAME}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={POD_CIDR}",
            # The conntrack limit may not be set here.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
            # Program new endpoints at once: rollouts are watched by the second.
            "--iptables-min-sync-period=100ms",
        ),
        node.folder,
    )  # fmt: skip


def coredns_daemon(node: Node) -> Daemon:
    return Daemon(
        "coredns", (str(node.kube), "coredns", "-conf", str(node.folder / "Corefile")), node.folder
    )


def configuration(node: Node) -> dict[Path, str]:
    """Every configuration file of the node by its path."""
    return {
        node.folder / "cni" / "10-bridge.conflist": render_cni(node),
        node.folder / "containerd.toml": render_containerd(node),
        node.folder / "kubelet.yaml": render_kubelet(node),
        node.folder / "Corefile": render_corefile(node),
    }
