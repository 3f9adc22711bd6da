"""`python -m benchmarks.preflight`: the preflight of a large JSONL, as its pod runs it.

A real bucket (SeaweedFS), the real command in the trainer's Python (QWEN3_ML_PYTHON). Rows are
chats of random English and Chinese words; each size of row is a run. `--tokenizer` takes a real
tokenizer.json: the tiny base's own makes a token of each byte, which is more than Qwen3's would.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from qwen3_api.job import layout
from qwen3_api.job.preflight import Preflight, PreflightJob

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.preflight_runs import preflight_job
from support.trainer_runs import BUCKET, Store, build_tiny_base, ml_python, running_store

BASE = "models/tiny"
ROW_BYTES = (250, 1_000, 4_000)
"""Sizes of rows, about: short answers, usual chats, long documents."""
VOCABULARY = 8_000
DISTINCT = 2_000
"""Different texts; the rows differ in their number, too."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Figures:
    """One run."""

    row_bytes: int
    rows: int
    size: int
    """Bytes."""
    seconds: float
    """Of the process, from its start to its end."""
    cpu_seconds: float
    """Of all processes of the command. Beside other work `seconds` grows and this does not."""
    peak_mib: float
    """Sum of the peaks of all processes of the command."""
    report: Preflight


def main() -> int:
    """Runs and prints. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preflight", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--row-bytes", type=int, nargs="+", default=list(ROW_BYTES))
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json to count with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="preflight-") as folder:
        work = Path(folder)
        base = work / "base"
        base.mkdir()
        build_tiny_base(base)
        if options.tokenizer:
            shutil.copy(options.tokenizer, base / "tokenizer.json")
        with running_store(work / "store") as store:
            store.upload_folder(base, BASE)
            figures = [
                run(store, work, size, round(options.gigabytes * 1e9)) for size in options.row_bytes
            ]
    print(table(figures))
    return 0


def run(store: Store, work: Path, row_bytes: int, size: int) -> Figures:
    """One data set: made, uploaded, looked at, deleted."""
    data = work / "train.jsonl"
    rows, written = write_rows(data, row_bytes, size)
    key = f"data/{row_bytes}.jsonl"
    store.client.upload_file(
        str(data), BUCKET, key, Config=TransferConfig(multipart_chunksize=64 << 20)
    )
    data.unlink()
    job = build_job(store, key, f"runs/{row_bytes}")
    seconds, cpu_seconds, peak = run_command(store, work / f"run-{row_bytes}", job)
    store.client.delete_object(Bucket=BUCKET, Key=key)
    body = store.get(job.output.join(layout.PREFLIGHT).prefix)
    assert body is not None  # noqa: S101  (the command ended well)
    report = Preflight.model_validate_json(body)
    assert report.rows == rows  # noqa: S101  (a benchmark of something else otherwise)
    return Figures(row_bytes, rows, written, seconds, cpu_seconds, peak, report)


def write_rows(path: Path, row_bytes: int, size: int) -> tuple[int, int]:
    """Chats of about `row_bytes` each, `size` bytes in all. Returns rows and bytes."""
    dice = random.Random(0)  # noqa: S311
    words = [_word(dice) for _ in range(VOCABULARY)]
    weights = [1 / (rank + 10) for rank in range(VOCABULARY)]  # Zipf's law, as words have it
    texts = [
        json.dumps(" ".join(dice.choices(words, weights, k=_spread(dice, row_bytes // 16))))[1:-1]
        for _ in range(DISTINCT)
    ]
    rows = written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            asked, said = dice.choice(texts), dice.choice(texts)
            written += file.write(
                f'{{"messages": [{{"role": "user", "content": "{rows} {asked}"}}, '
                f'{{"role": "assistant", "content": "{said}"}}]}}\n'
            )
            rows += 1
    return rows, path.stat().st_size


def _word(dice: random.Random) -> str:
    if dice.random() < 0.1:
        return "".join(chr(dice.randint(0x4E00, 0x9FA5)) for _ in range(dice.randint(1, 3)))
    return "".join(dice.choices("etaoinshrdlucmfwypvbgk", k=dice.randint(2, 11)))


def _spread(dice: random.Random, mean: int) -> int:
    return max(1, round(dice.lognormvariate(0, 0.5) * mean * 0.88))


def build_job(store: Store, key: str, prefix: str) -> PreflightJob:
    """The order."""
    return preflight_job(
        store.location,
        **{
            "output.prefix": prefix,
            "dataset.train": {"type": "S3", "location": store.location.join(key)},
            "dataset.max_sequence_length": 2048,
            "checks.max_truncated_percent": 100,
            "checks.max_dropped_percent": 99,
        },
    )


def run_command(store: Store, folder: Path, job: PreflightJob) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak MiB of the command. Raises CalledProcessError."""
    folder.mkdir()
    (folder / "job.json").write_bytes(job.to_json())
    environ = {
        "PATH": os.environ["PATH"],
        "QWEN3_WORK_DIR": str(folder / "work"),
        "QWEN3_TERMINATION_LOG": str(folder / "termination-log"),
        layout.ENV_POD_UID: "pod-1",
        "AWS_ACCESS_KEY_ID": store.server.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": store.server.credentials.secret_key,
    }
    command = [ml_python(), "-m", "qwen3_trainer", "preflight", str(folder / "job.json")]
    begun, before = time.monotonic(), _children_cpu()
    peaks: dict[int, int] = {}
    with subprocess.Popen(command, env=environ, cwd=folder, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for pid in _tree(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), _peak_kib(pid))
            time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - begun
    subprocess.CompletedProcess(command, process.returncode).check_returncode()
    return seconds, _children_cpu() - before, sum(peaks.values()) / 1024


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(p for child in children for p in _tree(int(child)))]


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = (line.split() for line in status.splitlines())
    return next((int(words[1]) for words in lines if words[0] == "VmHWM:"), 0)


def table(figures: list[Figures]) -> str:
    """The figures as Markdown."""
    lines = [
        "| Bytes per row | Rows | Size, GB | Seconds | MB/s | CPU seconds | Peak, MiB "
        "| Rows tokenised |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run_ in figures:
        counted = run_.report.lengths.counted_rows if run_.report.lengths else 0
        lines.append(
            f"| {run_.size / run_.rows:,.0f} | {run_.rows:,} | {run_.size / 1e9:.2f} "
            f"| {run_.seconds:.1f} | {run_.size / 1e6 / run_.seconds:.0f} "
            f"| {run_.cpu_seconds:.1f} | {run_.peak_mib:.0f} | {counted:,} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
