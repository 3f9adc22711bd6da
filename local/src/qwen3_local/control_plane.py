"""etcd, the API server, the controllers and the scheduler as daemons of one folder.

Used twice: for the whole cluster, and for control-plane-only instances of which several run side
by side, each on four ports of its own.
"""

import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from qwen3_local.certificates import (
    Identity,
    ensure_certificates,
    render_kubeconfig,
    write_kubeconfig,
)
from qwen3_local.programs import Daemon

SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"


@dataclass(frozen=True)
class ControlPlane:
    """One control plane.

    `port` is the API server's; the three after it belong to etcd (client, peer) and the
    controllers, the fourth to the scheduler. `advertise` is the address that pods reach the API
    server at; without pods it is None and the server listens on loopback only.
    """

    kube: Path
    folder: Path
    name: str
    port: int
    advertise: str | None = None
    with_scheduler: bool = False

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def etcd_endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}"


def identities(plane: ControlPlane) -> list[Identity]:
    """The certificates of the control plane itself."""
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names.append("kubernetes.default.svc.cluster.local")
    addresses = ["127.0.0.1", API_SERVICE_ADDRESS]
    if plane.advertise:
        addresses.append(plane.advertise)
    alternative = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
    return [
        Identity("apiserver", "kube-apiserver", alternative_names=tuple(alternative)),
        Identity("admin", "admin", groups=("system:masters",)),
        Identity("controllers", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
    ]


def etcd_daemon(plane: ControlPlane) -> Daemon:
    peer = f"http://127.0.0.1:{plane.port + 2}"
    return Daemon(
        "etcd",
        (
            str(plane.kube), "etcd",
            f"--data-dir={plane.folder / 'etcd'}",
            f"--listen-client-urls={plane.etcd_endpoint}",
            f"--advertise-client-urls={plane.etcd_endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # A lost machine loses this cluster anyway: waiting for the disk buys nothing.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        plane.folder,
    )  # fmt: skip


def apiserver_daemon(plane: ControlPlane) -> Daemon:
    pki = plane.pki
    if plane.advertise:
        exposure = ["--bind-address=0.0.0.0", f"--advertise-address={plane.advertise}"]
    else:
        # No pods, so nothing needs the `kubernetes` Service; its endpoints refuse loopback.
        exposure = ["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]
    return Daemon(
        "apiserver",
        (
            str(plane.kube), "apiserver",
            f"--etcd-servers={plane.etcd_endpoint}",
            f"--secure-port={plane.port}",
            *exposure,
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-account-key-file={pki / 'sa.pub'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--kubelet-client-certificate={pki / 'admin.crt'}",
            f"--kubelet-client-key={pki / 'admin.key'}",
            # By address: the node's name is in no DNS.
            "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged=true",
            "--profiling=false",
        ),
        plane.folder,
        # Go's collector took a sixth of the two processors; memory is what this machine has.
        environment=(("GOGC", "400"),),
    )  # fmt: skip


def controllers_daemon(plane: ControlPlane) -> Daemon:
    pki, config = plane.pki, plane.pki / "controllers.kubeconfig"
    return Daemon(
        "controllers",
        (
            str(plane.kube), "controllers",
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--service-account-private-key-file={pki / 'sa.key'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={plane.port + 3}",
            # 200 fine-tunes at once must be limited by the operator, not by this client.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--concurrent-job-syncs=20",
        ),
        plane.folder,
    )  # fmt: skip


def scheduler_daemon(plane: ControlPlane) -> Daemon:
    config = plane.pki / "scheduler.kubeconfig"
    return Daemon(
        "scheduler",
        (
            str(plane.kube), "scheduler",
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={plane.port + 4}",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ),
        plane.folder,
    )  # fmt: skip


def client_daemons(plane: ControlPlane) -> list[Daemon]:
    """What gives up for good when the API server does not know its user yet: started last."""
    daemons = [controllers_daemon(plane)]
    if plane.with_scheduler:
        daemons.append(scheduler_daemon(plane))
    return daemons


def ensure_control_plane(plane: ControlPlane, extra: list[Identity] | None = None) -> list[str]:
    """Start what does not run and wait until the API server is ready.

    Returns the names of the daemons started now. `extra` certificates are made along.
    """
    plane.folder.mkdir(parents=True, exist_ok=True)
    ensure_certificates(plane.pki, [*identities(plane), *(extra or [])])
    for user in ("controllers", "scheduler", *(identity.file for identity in extra or [])):
        content = render_kubeconfig(plane.server, plane.pki, user, plane.name)
        write_kubeconfig(plane.pki / f"{user}.kubeconfig", content)
    admin = render_kubeconfig(plane.server, plane.pki, "admin", plane.name)
    write_kubeconfig(plane.kubeconfig, admin)

    apiserver = apiserver_daemon(plane)
    started = ensure_all([etcd_daemon(plane), apiserver])
    # readyz also waits for the built-in roles, without which controllers and scheduler exit.
    apiserver.wait_ready(lambda: is_ready(plane))
    return started + ensure_all(client_daemons(plane))


def ensure_all(daemons: list[Daemon]) -> list[str]:
    """Names of those that had to be started."""
    return [daemon.name for daemon in daemons if daemon.ensure_running()]


def is_ready(plane: ControlPlane) -> bool:
    """True once `/readyz` says ok."""
    context = ssl.create_default_context(cafile=str(plane.pki / "ca.crt"))
    context.load_cert_chain(plane.pki / "admin.crt", plane.pki / "admin.key")
    try:
        with urllib.request.urlopen(
            f"{plane.server}/readyz", context=context, timeout=2
        ) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
