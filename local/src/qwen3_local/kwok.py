"""KWOK: nodes and pods that are only played, for tests of scale without kubelets."""

import json
from collections.abc import Sequence
from pathlib import Path

from qwen3_local.binaries import KWOK, ensure_program, go_command, link
from qwen3_local.cluster import Cluster
from qwen3_local.layout import Home, current_home
from qwen3_local.node import GPU_RESOURCE
from qwen3_local.programs import Daemon, run
from qwen3_local.timings import step

MODULE = "sigs.k8s.io/kwok"
STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
)
COMPLETION = "pod/fast/pod-complete.yaml"
ANNOTATION = {"kwok.x-k8s.io/node": "fake"}


def play_nodes(
    cluster: Cluster,
    count: int,
    home: Home | None = None,
    *,
    gpus: int = 8,
    completes: bool = True,
) -> None:
    """`count` Ready nodes in a control plane that has a scheduler.

    Pods bound to them become Ready at once, and those of a Job succeed at once: KWOK's own fast
    stages. Without `completes` they run until a later call lets them. The daemon lies in the
    cluster's folder and goes with it.
    """
    home = home or current_home()
    with step(home, f"{count} KWOK nodes"):
        program = ensure_program(home, KWOK)
        link(home, "kwok", program)
        stages = read_stages(home, (*STAGES, COMPLETION) if completes else STAGES)
        config = cluster.folder / "kwok.yaml"
        config.write_text(stages)
        command = (
            str(program),
            f"--kubeconfig={cluster.kubeconfig}",
            f"--config={config}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        )
        daemon = Daemon("kwok", command, cluster.folder, configuration=stages)
        daemon.ensure_running()
        nodes = [node_manifest(f"kwok-{number}", gpus) for number in range(count)]
        objects = {"apiVersion": "v1", "kind": "List", "items": nodes}
        cluster.kubectl_run("apply", "--server-side", "-f", "-", stdin=json.dumps(objects))
        daemon.wait_ready(lambda: ready_nodes(cluster) >= count)


def read_stages(home: Home, names: Sequence[str]) -> str:
    """How nodes and pods go on by themselves, as KWOK's module ships it."""
    module = json.loads(
        run(
            [go_command(home), "mod", "download", "-json", MODULE],
            cwd=KWOK.folder,
            env={"GOTOOLCHAIN": "auto"},
        )
    )
    shipped = Path(module["Dir"]) / "kustomize" / "stage"
    return "\n---\n".join((shipped / name).read_text() for name in names)


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
