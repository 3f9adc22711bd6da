"""A real etcd, API server and controllers for a test session, with our CRDs installed."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubernetes import config
from kubernetes.client import ApiClient

from qwen3_local.cluster import Cluster, up_control_plane
from qwen3_local.programs import stop_recorded
from support.ports import free_ports

ROOT = Path(__file__).parents[2]
INSTANCES = itertools.count()
PORTS = 5  # API server, etcd for clients and peers, controllers, scheduler


@dataclass(frozen=True)
class ControlPlane:
    """What tests need of a running control plane.

    api: client of the `kubernetes` package, as cluster admin.
    kubeconfig: for programs under test.
    """

    api: ApiClient
    kubeconfig: Path
    cluster: Cluster

    def kubectl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """kubectl as a user runs it; the exit status is the caller's to judge."""
        return subprocess.run(
            [self.cluster.kubectl, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )


@contextmanager
def running_control_plane(*, scheduler: bool = False) -> Iterator[ControlPlane]:
    """Starts a control plane of its own, installs the CRDs, and removes it all at the end."""
    # Several may run in one session: a benchmark brings its own.
    name = f"pytest-{os.getpid()}-{next(INSTANCES)}"
    cluster = up_control_plane(name, free_ports(PORTS), scheduler=scheduler)
    try:
        api = config.new_client_from_config(config_file=str(cluster.kubeconfig))
        plane = ControlPlane(api, cluster.kubeconfig, cluster)
        install_crds(plane)
        yield plane
    finally:
        stop(cluster)


def install_crds(plane: ControlPlane) -> None:
    """As the documentation says it: `kubectl apply -f crds/`, then wait until they are served."""
    for arguments in (
        ("apply", "--server-side", "-f", str(ROOT / "crds")),
        ("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"),
    ):
        result = plane.kubectl(*arguments)
        assert result.returncode == 0, result.stderr


def stop(cluster: Cluster) -> None:
    """Stops clients before servers and removes the folder."""
    run = cluster.folder / "run"
    for name in ("kwok", "scheduler", "controllers", "apiserver", "etcd"):
        stop_recorded(run / f"{name}.json")
    shutil.rmtree(cluster.folder)
