"""The evaluator as a program: start it, wait for it, look at what it has saved so far."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from qwen3_api.job.evaluate import EvalJob, EvalSample
from qwen3_evaluator.report.documents import parse_samples
from qwen3_evaluator.store import Store


async def start(
    job: EvalJob, folder: Path, python: str = sys.executable
) -> asyncio.subprocess.Process:
    """The program as the pod runs it."""
    path = folder / "job.json"
    path.write_bytes(job.to_json())
    return await asyncio.create_subprocess_exec(
        python, "-m", "qwen3_evaluator", str(path), stderr=asyncio.subprocess.PIPE
    )


async def finish(program: asyncio.subprocess.Process) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and log."""
    _, log = await asyncio.wait_for(program.communicate(), timeout=400)
    assert program.returncode is not None
    return program.returncode, [json.loads(line) for line in log.splitlines()]


async def read_partials(job: EvalJob) -> list[EvalSample]:
    """What an attempt that has not ended has saved."""
    async with Store() as store:
        found = await store.list_keys(job.output, "samples.partial-")
        return [s for at in found for s in parse_samples(await store.get(at) or b"")]


async def wait_for_partials(job: EvalJob, count: int) -> None:
    """Until at least so many answers are saved."""
    for _ in range(300):
        if len(await read_partials(job)) >= count:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the answers are not saved")
