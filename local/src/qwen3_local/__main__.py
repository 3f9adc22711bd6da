"""`python -m qwen3_local <command>`: the local platform from the command line.

Progress goes to stderr; stdout holds the result (a path, an address, image references).
"""

import argparse
import sys
from pathlib import Path

from qwen3_local import cluster, images, s3
from qwen3_local.binaries import KWOK, ensure_program, link
from qwen3_local.demo import demo
from qwen3_local.down import describe, down
from qwen3_local.install import install
from qwen3_local.layout import Home, current_home
from qwen3_local.node import BRIDGE_ADDRESS
from qwen3_local.platform import prepare
from qwen3_local.timings import read_timings, render_table, step


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m qwen3_local")
    commands = root.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="install, build and start all that the tests need")
    commands.add_parser("demo", help="the whole loop, watched")
    commands.add_parser("install", help="Debian packages, Go, helm, kubeconform")
    commands.add_parser("kube", help="build the Kubernetes binary")
    commands.add_parser("kwok", help="build KWOK, for scale tests")
    up = commands.add_parser("up", help="bring the cluster up")
    up.add_argument("--control-plane-only", action="store_true")
    up.add_argument("--scheduler", action="store_true", help="with --control-plane-only")
    up.add_argument("--name", default="control-plane")
    up.add_argument("--port", type=int, default=17000)
    storage = commands.add_parser("s3", help="start the S3 server")
    storage.add_argument("--address", default=BRIDGE_ADDRESS)
    storage.add_argument("--port", type=int, default=s3.PORT)
    storage.add_argument("--folder", type=Path)
    build = commands.add_parser("images", help="build images into the cluster")
    build.add_argument("names", nargs="*", help=f"of {', '.join(images.IMAGES)}")
    commands.add_parser("status", help="what runs")
    commands.add_parser("timings", help="how long each step took")
    stop = commands.add_parser("down", help="stop and remove what was started")
    stop.add_argument("--all", action="store_true", help="the cache as well")
    return root


def execute(arguments: argparse.Namespace, home: Home) -> list[str]:
    """Run one command and return the lines of its result."""
    match arguments.command:
        case "prepare":
            prepare(home)
            lines = [str(home.kubeconfig)]
        case "install":
            install(home)
            lines = [str(home.bin)]
        case "kube":
            with step(home, "kube binary"):
                lines = [str(cluster.ensure_kube(home))]
        case "kwok":
            with step(home, "kwok binary"):
                link(home, "kwok", ensure_program(home, KWOK))
            lines = [str(home.bin / "kwok")]
        case "up":
            lines = [str(start_cluster(arguments, home).kubeconfig)]
        case "s3":
            place = {"address": arguments.address, "port": arguments.port}
            lines = [s3.start(home, folder=arguments.folder, **place).endpoint]
        case "images":
            built = images.build(arguments.names or images.DEPLOYED, home)
            lines = [image.ref for image in built.values()]
        case "status":
            rows = describe(home)
            lines = [f"{'runs' if alive else 'dead'}  {name}  {pid}" for name, alive, pid in rows]
        case "timings":
            lines = [render_table(read_timings(home.timings_file))]
        case _:
            down(home, everything=arguments.all)
            lines = []
    return lines


def start_cluster(arguments: argparse.Namespace, home: Home) -> cluster.Cluster:
    if not arguments.control_plane_only:
        return cluster.up(home)
    return cluster.up_control_plane(
        arguments.name, arguments.port, home, scheduler=arguments.scheduler
    )


def main() -> int:
    arguments = parser().parse_args()
    if arguments.command == "demo":
        return demo()
    for line in execute(arguments, current_home()):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
