"""`python -m qwen3_local <command>`: the local platform from the command line."""

import argparse
import sys
from pathlib import Path

from qwen3_local import cluster, images, s3
from qwen3_local.layout import current_home
from qwen3_local.node import BRIDGE_ADDRESS
from qwen3_local.timings import step


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m qwen3_local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("kube", help="build the Kubernetes binary")
    up = commands.add_parser("up", help="bring the cluster up")
    up.add_argument("--control-plane-only", action="store_true")
    up.add_argument("--scheduler", action="store_true", help="with --control-plane-only")
    up.add_argument("--name", default="control-plane")
    up.add_argument("--port", type=int, default=17000)
    storage = commands.add_parser("s3", help="start the S3 server")
    storage.add_argument("--address", default=BRIDGE_ADDRESS)
    storage.add_argument("--port", type=int, default=s3.PORT)
    storage.add_argument("--folder", type=Path)
    pictures = commands.add_parser("images", help="build images into the cluster")
    pictures.add_argument("names", nargs="*", default=list(images.DEPLOYED))
    arguments = parser.parse_args()
    home = current_home()
    if arguments.command == "kube":
        with step(home, "kube binary"):
            print(cluster.ensure_kube(home))
    elif arguments.command == "up" and arguments.control_plane_only:
        print(cluster.up_control_plane(arguments.name, arguments.port, home, scheduler=arguments.scheduler).kubeconfig)
    elif arguments.command == "up":
        print(cluster.up(home).kubeconfig)
    elif arguments.command == "s3":
        server = s3.start(
            home, address=arguments.address, port=arguments.port, folder=arguments.folder
        )
        print(server.endpoint)
    elif arguments.command == "images":
        for image in images.build(arguments.names, home).values():
            print(image.ref)
    return 0


if __name__ == "__main__":
    sys.exit(main())
