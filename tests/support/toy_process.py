"""Toy operators as processes, and kubeconfigs for them that may do less than an admin."""

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import yaml

from support import toy_operator
from support.operator_process import free_port
from support.waiting import wait_for


@dataclass
class ToyProcess:
    """One toy operator; see toy_operator.py."""

    kubeconfig: Path
    namespace: str
    folder: Path
    identity: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """All that it logged."""
        return (self.folder / f"{self.identity}.log").read_text()

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text of a probe; 0 while it doesn't listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_leading(self) -> None:
        """Wait until it leads and has listed everything."""
        wait_for(
            lambda: self.log, lambda log: '"leading"' in log, f"{self.identity} leads", 60, 0.1
        )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """SIGKILL, also when it is stopped."""
        self.process.kill()
        self.process.wait(10)


def start_toy(
    kubeconfig: Path, namespace: str, folder: Path, identity: str, *options: str
) -> ToyProcess:
    """Start one; the caller ends it."""
    port = free_port()
    with (folder / f"{identity}.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, toy_operator.__file__, "--port", str(port),
                "--namespace", namespace, "--identity", identity, *options,
            ],
            env={"KUBECONFIG": str(kubeconfig)},
            stdout=log,
            stderr=log,
        )  # fmt: skip
    return ToyProcess(kubeconfig, namespace, folder, identity, port, process)


def write_token_kubeconfig(admin: Path, token: str, path: Path) -> Path:
    """A kubeconfig like `admin` that logs in with a token instead of the certificate."""
    content = yaml.safe_load(admin.read_text())
    for user in content["users"]:
        user["user"] = {"token": token}
    path.write_text(yaml.safe_dump(content))
    return path
