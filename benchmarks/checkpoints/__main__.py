"""`python -m benchmarks.checkpoints`: a bucket, a base model, an order; then the training.

On a GPU machine `gpu/checkpoints.sh --base 0.6B` (docs/reference/gpu-check.md tells what it needs).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[2] / "gpu"))
from gpu_check.base_model import SHAPES
from gpu_check.rows import messages_rows

from benchmarks.checkpoints.figures import read, table
from qwen3_api.job.train import TrainJob
from support.train_jobs import train_job
from support.trainer_runs import Store, build_tiny_base, ml_python, running_store

ROOT = Path(__file__).parents[2]
WARM_UP = 2
"""Checkpoints before the first window: compilation, the first uploads' connections."""
MAX_STEPS = 1000
"""The trainer logs each thousandth part of the steps."""
DATA = "data/train.jsonl"


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoints", description=__doc__)
    parser.add_argument("--base", choices=list(SHAPES), default="tiny", help="tiny: on the CPU")
    parser.add_argument("--pairs", type=int, default=8, help="windows of each kind")
    parser.add_argument("--every", type=int, default=50, help="steps of a window (everySteps)")
    parser.add_argument("--rows", type=int, default=8, help="of a micro-batch")
    parser.add_argument("--tokens", type=int, default=2048, help="of a row")
    parser.add_argument("--results", type=Path, help="keeps the windows, as JSON lines")
    parser.add_argument(
        "--table", type=Path, nargs="+", metavar="FILE", help="only prints what such files say"
    )
    options = parser.parse_args()
    if options.table:
        print(table(read("".join(file.read_text() for file in options.table))))
        return 0
    if steps(options) > MAX_STEPS:
        parser.error(f"{steps(options)} steps: over {MAX_STEPS} not each one is logged")
    with tempfile.TemporaryDirectory(prefix="checkpoints-") as name:
        folder = Path(name)
        results = (options.results or folder / "windows.jsonl").resolve()
        write_base(options.base, folder / "base")
        with running_store(folder / "store") as store:
            words = options.tokens + 100  # a word is more than a token
            store.put(DATA, messages_rows(256, (words, words), seed=1))
            job = order(store, options)
            (folder / "job.json").write_bytes(job.to_json())
            train(store, folder, results, options.pairs)
        print(table(read(results.read_text())))
    return 0


def steps(options: argparse.Namespace) -> int:
    """Of the whole run: the warm-up, the windows, and the checkpoint that ends the last one."""
    return int((WARM_UP + 2 * options.pairs + 1) * options.every)


def write_base(size: str, folder: Path) -> None:
    """A base model with random weights."""
    folder.mkdir()
    if size == "tiny":
        build_tiny_base(folder)
        return
    command = [ml_python(), "-m", "gpu_check.base_model", size, str(folder)]
    subprocess.run(command, check=True, env=environment())


def order(store: Store, options: argparse.Namespace) -> TrainJob:
    """Rank 16 on all projections, as by default; every row is full, so every step is alike."""
    return train_job(
        store.location,
        gpus=0 if options.base == "tiny" else 1,
        **{
            "output.prefix": "runs/checkpoints",
            "dataset.max_sequence_length": options.tokens,
            "adapter.rank": 16,
            "adapter.dropout": 0.0,
            "adapter.target_modules": [
                *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
            ],
            "hyperparameters.max_steps": steps(options),
            "hyperparameters.micro_batch_size": options.rows,
            "hyperparameters.gradient_accumulation_steps": 1,
            "hyperparameters.learning_rate": 1e-4,
            "checkpoint.every_steps": options.every,
        },
    )


def train(store: Store, folder: Path, results: Path, pairs: int) -> None:
    """Raises CalledProcessError."""
    module = "benchmarks.checkpoints.windows"
    command = [ml_python(), "-m", module, *map(str, (folder, results, pairs, WARM_UP))]
    credentials = store.server.credentials
    keys = {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
    }
    subprocess.run(command, check=True, env=environment() | keys)


def environment() -> dict[str, str]:
    """This checkout's packages beside what the interpreter has."""
    paths = [str(ROOT), str(ROOT / "gpu"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}


if __name__ == "__main__":
    sys.exit(main())
