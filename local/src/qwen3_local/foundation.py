"""Cluster, object store and images, built beside each other where that saves time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from qwen3_local import cluster, images, s3
from qwen3_local.binaries import BUILDCTL, BUILDKITD, ensure_program
from qwen3_local.cluster import Cluster
from qwen3_local.images import BuiltImage
from qwen3_local.layout import Home
from qwen3_local.s3 import S3Server
from qwen3_local.timings import step


def start_all(
    home: Home, names: Sequence[str] = images.DEPLOYED
) -> tuple[Cluster, S3Server, dict[str, BuiltImage]]:
    """Idempotent; raises what the failing step raised.

    BuildKit is compiled first. Then the Go compiler, which needs both cores for minutes, runs
    beside the image builds, which mostly wait for downloads and the disk.
    """
    with step(home, "buildkit binaries"):
        ensure_program(home, BUILDKITD)
        ensure_program(home, BUILDCTL)
    with ThreadPoolExecutor(max_workers=1) as pool:
        building = pool.submit(images.build, names, home)
        running = cluster.up(home)
        store = s3.start(home)
        return running, store, building.result()
