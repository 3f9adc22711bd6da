"""KWOK: nodes and pods that are only played, for tests of scale without kubelets."""

import json

from qwen3_local.binaries import KWOK, ensure_program, link
from qwen3_local.cluster import Cluster
from qwen3_local.layout import Home, current_home
from qwen3_local.node import GPU_RESOURCE
from qwen3_local.programs import Daemon, wait_until
from qwen3_local.timings import step

ANNOTATION = {"kwok.x-k8s.io/node": "fake"}


def play_nodes(cluster: Cluster, count: int, home: Home | None = None, *, gpus: int = 8) -> None:
    """`count` Ready nodes in a control plane that has a scheduler.

    Pods bound to them become Ready at once, and those of a Job succeed at once: KWOK's own
    default stages. The daemon lies in the cluster's folder and goes with it.
    """
    home = home or current_home()
    with step(home, f"{count} KWOK nodes"):
        program = ensure_program(home, KWOK)
        link(home, "kwok", program)
        command = (
            str(program),
            f"--kubeconfig={cluster.kubeconfig}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        )
        Daemon("kwok", command, cluster.folder).ensure_running()
        nodes = [node_manifest(f"kwok-{number}", gpus) for number in range(count)]
        objects = {"apiVersion": "v1", "kind": "List", "items": nodes}
        cluster.kubectl_run("apply", "--server-side", "-f", "-", stdin=json.dumps(objects))
        wait_until(lambda: ready_nodes(cluster) >= count, f"{count} KWOK nodes Ready", 60)


def node_manifest(name: str, gpus: int) -> dict[str, object]:
    """A node of a size that never limits the test."""
    capacity = {"cpu": "256", "memory": "1Ti", "pods": "1000", GPU_RESOURCE: str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": ANNOTATION},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def ready_nodes(cluster: Cluster) -> int:
    found = json.loads(cluster.kubectl_run("get", "nodes", "-o", "json"))["items"]
    conditions = [entry for item in found for entry in item["status"].get("conditions", [])]
    return sum(1 for entry in conditions if entry["type"] == "Ready" and entry["status"] == "True")
