"""A finished training is committed whatever happens to what only describes it.

An attempt from its job to COMMIT.json by the parent's real code, against a bucket in memory. In the
worker's place stands a program that "trains" at once; each case spoils one describing input.
"""

import json
import os
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import Commit, Progress, TrainReport
from qwen3_trainer.attempt import Attempt
from qwen3_trainer.environment import Paths
from qwen3_trainer.run import run_attempt
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.store import ObjectMissingError
from support.memory_bucket import MemoryBucket, OneBucket
from support.train_jobs import train_job

WORKER = """
import json, os, pathlib, signal, sys
out = os.fdopen(int(sys.argv[3]), "w")
plan = json.loads(pathlib.Path(sys.argv[2]).read_text())

def send(kind, **fields):
    print(json.dumps({"kind": kind, **fields}), file=out, flush=True)

LOSS = 0.5
AFTER = lambda: None
# spoiled here
if sys.argv[1] == "verify":
    send("verified", sample="hi")
    AFTER()
    sys.exit(0)
adapter = pathlib.Path(plan["output"]) / "adapter"
adapter.mkdir(parents=True)
(adapter / "adapter_model.safetensors").write_bytes(b"weights")
config = {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"]}
(adapter / "adapter_config.json").write_text(json.dumps(config))
send("trained", adapter=str(adapter), steps=12, epochs=1.0, tokens=10, final_loss=LOSS,
     train_loss=LOSS, eval_loss=None, train_seconds=1.0, truncated_rows=0,
     chat_template_sha256="0" * 64)
AFTER()
"""
CONFIG = b'{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}'
ROW = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
ATTEMPTS = f"{train_job().output.prefix}/{layout.ATTEMPTS}"


class ForgetfulBucket(MemoryBucket):
    """Answers 404 to whatever is written below one name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def put(self, key: str, body: bytes, *, only_if_absent: bool = False) -> None:
        """Raises ObjectMissingError."""
        if key.endswith(self._name):
            raise ObjectMissingError(key)
        super().put(key, body, only_if_absent=only_if_absent)


@dataclass
class Case:
    """What is spoiled."""

    card: bytes = b"---\nlicense: apache-2.0\n---\n"
    """README.md of the base model."""
    worker: str = ""
    """Lines of the stand-in worker."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Of the job."""
    bucket: Callable[[], MemoryBucket] = MemoryBucket
    before: dict[str, bytes] = field(default_factory=dict)
    """Objects that are there."""
    license: str | None = "apache-2.0"
    reported: bool = True


def _earlier(number: int) -> bytes:
    return Progress(
        attempt=f"pod-{number}",
        phase="Training",
        step=1,
        total_steps=12,
        gpu_seconds=1e308,
        started="t",
        updated="t",
    ).to_json()


CASES = {
    "nothing": Case(),
    "a card with a date that is none": Case(
        b"---\ndate: 2026-13-45\nlicense: mit\n---\n", license="mit"
    ),
    "a card with a huge number": Case(
        b"---\nn: " + b"9" * 5000 + b"\nlicense: mit\n---\n", license="mit"
    ),
    "a card that nests": Case(b"---\n" + b"[" * 3000 + b"\n---\n", license=None),
    "a card that is not UTF-8": Case(b"---\nlicense: \xff\n---\n", license=None),
    "a card with half of a character": Case(b'---\nlicense: "\\uD800"\n---\n', license=None),
    "a card of 10 MB": Case(b"---\n" + b"a: b\n" * 2_000_000, license=None),
    "a long name of the image": Case(changes={"image": "registry/" + "x" * 300}),
    "a long configuration": Case(changes={"adapter.target_modules": ["q_proj"] * 1200}),
    "losses that are no numbers": Case(worker="LOSS = float('inf')"),
    "GPU time of earlier attempts": Case(
        before={f"{ATTEMPTS}/pod-{n}/{layout.PROGRESS}": _earlier(n) for n in (2, 3)}
    ),
    "a file of W&B with an impossible name": Case(
        worker="""
        run = pathlib.Path("wandb/wandb/offline-run-1")
        run.mkdir(parents=True, exist_ok=True)
        (run / "run.wandb").write_bytes(b"w")
        (pathlib.Path(os.fsdecode(os.fsencode(run) + bytes([47, 255])))).write_bytes(b"w")
        """
    ),
    "a log line with half of a character": Case(
        worker=r"""print('{"level": 30, "message": "\\ud800"}', flush=True)"""
    ),
    "a worker that crashes on its way out": Case(
        worker="AFTER = lambda: os.kill(os.getpid(), signal.SIGSEGV)"
    ),
    "a worker that fails on its way out": Case(
        worker="""
        failure = {"reason": "TrainerFailed", "message": "NCCL"}
        AFTER = lambda: send("failed", failure=failure)
        """
    ),
    "no report": Case(bucket=lambda: ForgetfulBucket(layout.REPORT), reported=False),
}


def _run(folder: Path, case: Case) -> tuple[int, MemoryBucket]:
    package = folder / "fake" / "qwen3_trainer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    program = WORKER.replace("# spoiled here", textwrap.dedent(case.worker))
    (package / "worker.py").write_text(program)
    (folder / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    data = {"type": "File", "path": str(folder / "rows.jsonl"), "source": "ConfigMap d, key k"}
    job = train_job(**{"dataset.train": data, **case.changes})
    bucket = case.bucket()
    source = job.base_model.source
    assert source.type == "S3"
    for name, body in {
        "config.json": CONFIG,
        "model.safetensors": b"base",
        "README.md": case.card,
    }.items():
        bucket.objects[f"{source.location.prefix}/{name}"] = body
    bucket.objects |= case.before
    attempt = Attempt(
        job,
        "pod-1",
        Paths(folder / "work", folder / "termination-log"),
        Shutdown(),
        {**os.environ, "PYTHONPATH": str(folder / "fake"), "QWEN3_ALLOW_CPU": "1"},
        OneBucket(bucket),
    )
    return run_attempt(attempt), bucket


@pytest.mark.parametrize("name", CASES)
def test_a_trifle_loses_no_training(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    code, bucket = _run(tmp_path, case)

    assert code == ExitCode.SUCCEEDED, (tmp_path / "termination-log").read_text()
    commit = Commit.model_validate_json(bucket.get(f"{train_job().output.prefix}/{layout.COMMIT}"))
    assert commit.provenance.license == case.license
    card = bucket.get(f"{commit.prefix}/README.md").decode()
    assert f"| Its license | {case.license or 'unknown: '}" in card
    report = bucket.objects.get(f"{ATTEMPTS}/pod-1/{layout.REPORT}")
    assert (report is not None) is case.reported
    if report is not None:
        assert TrainReport.model_validate_json(report).outcome == "Committed"


def test_the_rest_of_an_offline_run_is_uploaded(tmp_path: Path) -> None:
    _, bucket = _run(tmp_path, CASES["a file of W&B with an impossible name"])
    prefix = layout.wandb_prefix(train_job().output.prefix, "pod-1")
    assert [key for key, _ in bucket.list(prefix)] == [f"{prefix}/offline-run-1/run.wandb"]
