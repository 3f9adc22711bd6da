"""Real runs of the trainer: a real bucket, a small random Qwen3, a process per attempt."""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from qwen3_api.job import layout
from qwen3_api.job.base import Failure, S3Location
from qwen3_api.job.report import Commit, Progress, TrainReport
from qwen3_api.job.train import TrainJob
from qwen3_local import s3
from qwen3_local.layout import Home
from qwen3_local.programs import stop_recorded
from support.ports import free_ports

BUCKET = "qwen3"
ML_PYTHON = "QWEN3_ML_PYTHON"
"""Names the interpreter that has the ML stack beside the trainer."""


def ml_python() -> str:
    """The interpreter with the ML stack. The Makefile provides it, so its absence is an error."""
    python = os.environ.get(ML_PYTHON)
    assert python, f"{ML_PYTHON} must name an interpreter with unsloth and qwen3_trainer"
    return python


def run_probe(
    script: str, *arguments: str | Path, stdin: bytes = b"", seconds: float | None = None
) -> str:
    """What a script of this folder prints, run by the interpreter with the ML stack."""
    done = subprocess.run(
        [ml_python(), str(Path(__file__).with_name(script)), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return done.stdout.decode()


@dataclass(frozen=True)
class Store:
    """A running SeaweedFS with one bucket."""

    server: s3.S3Server

    @property
    def client(self) -> Any:
        """An S3 client that may do everything."""
        return boto3.client(
            "s3",
            endpoint_url=self.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.server.credentials.access_key,
            aws_secret_access_key=self.server.credentials.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )

    @property
    def location(self) -> S3Location:
        """The bucket."""
        return S3Location(endpoint=self.server.endpoint, region="us-east-1", bucket=BUCKET)

    def put(self, key: str, body: bytes) -> None:
        """Writes an object."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def get(self, key: str) -> bytes | None:
        """Reads an object; None if it is absent."""
        try:
            body: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return body

    def keys(self, prefix: str) -> list[str]:
        """Keys below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def upload_folder(self, folder: Path, prefix: str) -> None:
        """Copies the files of a folder."""
        for path in sorted(folder.iterdir()):
            if path.is_file():
                self.client.upload_file(str(path), BUCKET, f"{prefix}/{path.name}")


@contextmanager
def running_store(folder: Path) -> Iterator[Store]:
    """SeaweedFS on free ports, ended with the block."""
    server = s3.start(
        Home(folder / "home"),
        address="127.0.0.1",
        port=free_ports(8),
        folder=folder / "s3",
        bucket=BUCKET,
    )
    try:
        yield Store(server)
    finally:
        stop_recorded(s3.server_daemon(server).record_file, grace_seconds=1)


def build_tiny_base(folder: Path) -> None:
    """A random Qwen3 of 0.3 M parameters, the same each time."""
    for name, content in _tiny_base().items():
        (folder / name).write_bytes(content)


@functools.cache
def _tiny_base() -> dict[str, bytes]:
    """Made once: importing torch and transformers takes seconds."""
    script = Path(__file__).with_name("tiny_base.py")
    with tempfile.TemporaryDirectory() as folder:
        command = [ml_python(), str(script), folder]
        subprocess.run(command, check=True, capture_output=True)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def rows(count: int) -> bytes:
    """Messages rows, a line each."""
    return b"".join(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"what is {i}?"},
                    {"role": "assistant", "content": f"it is {i * 3}"},
                ]
            }
        ).encode()
        + b"\n"
        for i in range(count)
    )


@dataclass
class Attempt:
    """A trainer process, as a pod would run it."""

    job: TrainJob
    uid: str
    folder: Path
    store: Store
    process: "subprocess.Popen[bytes]"
    started: float = field(default_factory=time.monotonic)

    @property
    def prefix(self) -> str:
        """Key prefix of the attempt."""
        return layout.attempt_prefix(self.job.output.prefix, self.uid)

    @property
    def log(self) -> str:
        """What it printed so far."""
        return (self.folder / "log").read_text()

    def wait(self, seconds: float = 240) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def terminate(self) -> None:
        """SIGTERM, as the kubelet sends it: to the first process of the container."""
        self.process.send_signal(signal.SIGTERM)

    def wait_until(self, condition: Callable[["Attempt"], bool], seconds: float = 240) -> None:
        """Waits for a condition while the process runs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition(self):
                return
            assert self.process.poll() is None, self.log
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s\n{self.log}")

    def failure(self) -> Failure:
        """The termination message."""
        return Failure.model_validate_json((self.folder / "termination-log").read_bytes())

    def report(self) -> TrainReport:
        """report.json."""
        return TrainReport.model_validate_json(self._read(f"{self.prefix}/{layout.REPORT}"))

    def progress(self) -> Progress:
        """progress.json."""
        return Progress.model_validate_json(self._read(f"{self.prefix}/{layout.PROGRESS}"))

    def commit(self) -> Commit:
        """COMMIT.json of the revision."""
        return Commit.model_validate_json(self._read(f"{self.job.output.prefix}/{layout.COMMIT}"))

    def _read(self, key: str) -> bytes:
        body = self.store.get(key)
        assert body is not None, f"{key} is missing\n{self.log}"
        return body


def pod_environment(folder: Path, uid: str, store: Store) -> dict[str, str]:
    """Of a program of the trainer image that runs in a folder as if in its pod."""
    return {
        "PATH": os.environ["PATH"],
        "QWEN3_WORK_DIR": str(folder / "work"),
        "QWEN3_TERMINATION_LOG": str(folder / "termination-log"),
        layout.ENV_POD_UID: uid,
        "AWS_ACCESS_KEY_ID": store.server.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": store.server.credentials.secret_key,
    }


def start_attempt(
    job: TrainJob,
    uid: str,
    folder: Path,
    store: Store,
    *,
    python: str | None = None,
    environ: dict[str, str] | None = None,
    document: str | None = "",
) -> Attempt:
    """Starts `python -m qwen3_trainer` on the job, or on another text; None: on no file."""
    folder.mkdir(parents=True)
    if document is not None:
        (folder / "job.json").write_bytes(document.encode() or job.to_json())
    env = pod_environment(folder, uid, store) | (environ or {})
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [python or sys.executable, "-m", "qwen3_trainer", str(folder / "job.json")],
            env=env,
            stdout=output,
            stderr=output,
            cwd=folder,
        )
    return Attempt(job, uid, folder, store, process)


def worker_pid(attempt: Attempt) -> int | None:
    """The trainer's child that has the ML stack; None while there is none."""
    pid = attempt.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def worker_command(attempt: Attempt) -> bytes:
    """The command line of the child; empty while there is none."""
    pid = worker_pid(attempt)
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
