"""A small, complete PreflightJob for tests, and real runs of it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.base import Failure, S3Location
from qwen3_api.job.preflight import Preflight, PreflightJob
from support.train_jobs import LOCATION, train_job
from support.trainer_runs import Store, pod_environment


def preflight_job(location: S3Location = LOCATION, **changes: Any) -> PreflightJob:
    """The preflight of `train_job`; `changes` replace values by dotted path."""
    order = train_job(location)
    document: dict[str, Any] = {
        "assistant_only_loss": order.hyperparameters.assistant_only_loss,
        "checks": {
            "max_truncated_percent": 20,
            "max_dropped_percent": 5,
            "fail_on_leakage": True,
        },
        **order.model_dump(
            include={
                *("namespace", "name", "uid", "revision", "spec_hash", "method"),
                *("base_model", "dataset", "output"),
            }
        ),
    }
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = document
        for parent in parents:
            target = target[parent]
        target[last] = value
    return PreflightJob.model_validate(document)


@dataclass
class PreflightRun:
    """A preflight process, as a pod would run it."""

    job: PreflightJob
    folder: Path
    store: Store
    process: "subprocess.Popen[bytes]"

    @property
    def log(self) -> str:
        """What it printed so far."""
        return (self.folder / "log").read_text()

    @property
    def body(self) -> bytes | None:
        """preflight.json; None if it is absent."""
        return self.store.get(self.job.output.join(layout.PREFLIGHT).prefix)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(400)

    def report(self) -> Preflight:
        """preflight.json."""
        assert self.body is not None, self.log
        return Preflight.model_validate_json(self.body)

    def failure(self) -> Failure:
        """The termination message."""
        return Failure.model_validate_json((self.folder / "termination-log").read_bytes())


def start_preflight(
    job: PreflightJob,
    folder: Path,
    store: Store,
    *,
    python: str = sys.executable,
    environ: dict[str, str] | None = None,
) -> PreflightRun:
    """Starts `python -m qwen3_trainer preflight`."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_bytes(job.to_json())
    env = pod_environment(folder, folder.name, store) | (environ or {})
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [python, "-m", "qwen3_trainer", "preflight", str(folder / "job.json")],
            env=env,
            stdout=output,
            stderr=output,
            cwd=folder,
        )
    return PreflightRun(job, folder, store, process)
