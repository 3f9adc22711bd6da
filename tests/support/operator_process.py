"""The real operator as a process of the test: started, killed, started again."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.waiting import wait_for


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class OperatorProcess:
    """`python -m qwen3_operator` outside the cluster."""

    kubeconfig: Path
    settings: Mapping[str, Any]
    folder: Path
    name: str = "operator"
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def start(self, failpoint: str | None = None) -> None:
        """Start it; it may wait for the lease."""
        self.port = free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump({**self.settings, "metricsPort": self.port}))
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "POD_NAME": self.name}
        env.pop("QWEN3_FAILPOINT", None)
        if failpoint is not None:
            marks = self.folder / "failpoints"
            marks.mkdir(exist_ok=True)
            (marks / failpoint).unlink(missing_ok=True)
            env |= {"QWEN3_FAILPOINT": failpoint, "QWEN3_FAILPOINT_DIR": str(marks)}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "qwen3_operator", "--settings", str(file)],
                env=env,
                stdout=log,
                stderr=log,
            )

    def wait_leading(self, seconds: float = 180.0) -> None:
        """Wait until it leads and has listed everything."""
        wait_for(
            lambda: self.metric("qwen3_operator_leader"),
            lambda value: value == 1.0,
            f"{self.name} leads",
            seconds,
        )

    def wait_dead(self, seconds: float = 180.0) -> int:
        """Wait for its end (a failpoint, say); returns the exit status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that isn't enough."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by `name{labels}`; none if it doesn't answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as r:
                text = r.read().decode()
        except OSError:
            return {}
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                key, _, value = line.rpartition(" ")
                samples[key] = float(value)
        return samples

    def metric(self, prefix: str) -> float:
        """Sum of all samples whose name starts with the prefix."""
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == prefix)

    @property
    def log(self) -> str:
        """All that it logged."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")


@contextmanager
def running_operator(
    kubeconfig: Path, settings: Mapping[str, Any], folder: Path, name: str = "operator"
) -> Iterator[OperatorProcess]:
    """An operator that leads, stopped at the end."""
    operator = OperatorProcess(kubeconfig, settings, folder, name)
    operator.start()
    try:
        operator.wait_leading()
        yield operator
    finally:
        operator.stop()
