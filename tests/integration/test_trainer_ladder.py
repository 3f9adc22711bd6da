"""Memory that really runs out: the kernel gives the training process no more than a limit."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.train import TrainJob
from support.train_jobs import train_job
from support.trainer_runs import (
    Attempt,
    Store,
    ml_python,
    start_attempt,
)
from support.training_store import training_store

pytestmark = pytest.mark.integration
MICRO = 96
LENGTH = 1024
LIMIT = 3000 << 20
"""Bytes of the data segment (heap and private mappings). The worker has 2.2 GB after its imports,
and a step needs 13 KB a token more: 3.4 GB in all for 96 rows of 1,024 tokens, 2.8 GB for 48. With
libraries that need more, the ladder is a rung longer and the test still holds."""
FEW_THREADS = {"OMP_NUM_THREADS": "2", "MALLOC_ARENA_MAX": "2"}
"""Stacks and arenas of threads count too: as many on every machine."""


def _long_rows(count: int) -> bytes:
    """Rows that are longer than a sequence may be; a character is a token."""
    answer = "it is what it is, " * (LENGTH // 16)
    messages = [
        [
            {"role": "user", "content": f"what is {i}?"},
            {"role": "assistant", "content": f"{i}: {answer}"},
        ]
        for i in range(count)
    ]
    return b"".join(json.dumps({"messages": m}).encode() + b"\n" for m in messages)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with the tiny base model and long rows."""
    data = {"data/train.jsonl": _long_rows(2 * MICRO)}
    with training_store(tmp_path_factory.mktemp("store"), data) as running:
        yield running


def _start(job: TrainJob, uid: str, folder: Path, store: Store) -> Attempt:
    return start_attempt(
        job, uid, folder / uid, store, python=ml_python(), environ=dict(FEW_THREADS)
    )


def test_a_run_adapts_to_the_memory_and_so_does_the_next_attempt(
    store: Store, tmp_path: Path
) -> None:
    job = train_job(
        store.location,
        **{
            "output.prefix": "runs/ladder",
            "hyperparameters.max_steps": 4,
            "hyperparameters.micro_batch_size": MICRO,
            "hyperparameters.gradient_accumulation_steps": 1,
            "dataset.max_sequence_length": LENGTH,
            "checkpoint.every_steps": 1,
        },
    )
    first = _start(job, "pod-1", tmp_path, store)
    # Before it starts a worker, which inherits it.
    resource.prlimit(first.process.pid, resource.RLIMIT_DATA, (LIMIT, LIMIT))
    first.wait_until(lambda a: (a.folder / "work/output/checkpoint-1").exists(), 400)
    first.terminate()
    assert first.wait() == ExitCode.INTERRUPTED, first.log

    progress = first.progress()
    assert progress.sizing is not None
    assert progress.sizing.micro_batch_size < MICRO
    assert progress.sizing.micro_batch_size * progress.sizing.gradient_accumulation_steps == MICRO
    assert progress.adaptations[0].startswith("step 0: out of memory: micro-batch 96 → 48")
    assert 1 <= first.report().step < 4

    second = _start(job, "pod-2", tmp_path, store)
    assert second.wait(400) == ExitCode.SUCCEEDED, second.log
    # It had memory enough for more, and goes on as it stood.
    assert second.progress().sizing == progress.sizing
    assert second.progress().adaptations == progress.adaptations
    commit = second.commit()
    assert commit.provenance.sizing == progress.sizing
    assert commit.provenance.resumed_from_step == first.report().step
    assert (commit.metrics.steps, commit.metrics.epochs) == (4, 2.0)
