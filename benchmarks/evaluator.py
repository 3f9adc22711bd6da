"""`make bench`: what the evaluator itself costs, beside a bare client that asks the same.

vLLM (CPU, a random Qwen3 of two layers), the S3 server and the evaluator are real and share the
machine. 1,000 questions are put to one model with the same request bodies and the same number in
flight by

  bare       asyncio and aiohttp alone: post, read the reply as JSON, keep nothing
  evaluator  `run_evaluation`: reads the data out of the bucket, asks, scores (ExactMatch and F1),
             saves answers and progress, intervals, report.html, samples.jsonl, report.json

in turns, the second first in every other round, after one uncounted pass of the bare client that
fills vLLM's prefix cache.

On a machine that is shared, the same client takes a fifth more or less from pass to pass, far more
than the overhead. So what is measured is what a client itself does to the wall time:

  idle   part of the time that vLLM's places stood empty: 1 - the seconds of all requests, from sent
         to answered, over wall time * number in flight. Reading the data, scoring between an answer
         and the next question, saving, statistics and report are all in it.
  busy   part of the time in which the event loop ran or was blocked while requests were in flight.
         An answer that came then was noticed late, which the client counts as vLLM's time. The
         time in which it stood in the kernel's queue for a core isn't in it: vLLM has the cores
         then, and loses nothing.

The overhead is idle + busy, less the bare client's: an upper bound, since not every answer comes
while the loop is busy, and since scoring counts in both. The queue (beside busy) is told apart.
The start of the process (Python and its imports) is not in it, being the same for ten questions and
for a million; it is measured apart. Greedy answers of random weights have no end, so every request
makes as many tokens.
"""

import argparse
import asyncio
import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import EvalJob, EvalReport
from qwen3_evaluator import run
from qwen3_evaluator.endpoint.chat import build_answer_request, open_session
from qwen3_evaluator.questions import Question
from qwen3_evaluator.store import Store
from qwen3_local.layout import current_home

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.evaluator_servers import NAMESPACE, TENANT, seaweedfs, vllm

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "local/tiny-model/tiny_qwen3/qwen3.jinja"
REFERENCE = ROOT / "tests/support/evaluator_reference.py"
ADAPTER = "bench.bot.12345678"
GOAL = 0.05


@dataclass(frozen=True)
class Pass:
    """One time through all questions."""

    wall: float
    cpu: float
    """Seconds of processor time of this process: the asking side alone."""
    asked: float
    """Seconds of all requests, from sent to answered, over the number in flight."""
    busy_seconds: float
    """In which the event loop ran or was blocked while requests were in flight."""
    queued_seconds: float
    """In which it could have run then, had a core been free."""

    @property
    def idle(self) -> float:
        """Part of the wall time that vLLM's places stood empty."""
        return 1 - self.asked / self.wall

    @property
    def busy(self) -> float:
        """Part of the wall time in which an answer could not be noticed."""
        return self.busy_seconds / self.wall


@dataclass(frozen=True)
class Figures:
    """What the run showed."""

    questions: int
    concurrency: int
    max_tokens: int
    bare: list[Pass]
    evaluator: list[Pass]
    start_seconds: float
    """From exec to the first line of the order read: Python and imports."""

    @property
    def overhead(self) -> float:
        """What the evaluator adds to the wall time at most, as a share."""
        own, bare = (
            median(p.idle for p in passes) + median(p.busy for p in passes)
            for passes in (self.evaluator, self.bare)
        )
        return own - bare

    @property
    def cpu_overhead(self) -> float:
        """Processor time that the evaluator needs more than the bare client, as a share of the bare
        client's wall time."""
        extra = median(p.cpu for p in self.evaluator) - median(p.cpu for p in self.bare)
        return extra / median(p.wall for p in self.bare)


def questions(count: int) -> list[dict[str, str]]:
    """Rows of different lengths in two languages."""
    return [
        {
            "question": f"第{n}题：{n}加{7 * n}是多少？" if n % 2 else f"What is {n} and {7 * n}?",
            "answer": f"It is {8 * n}.",
            "category": "zh" if n % 2 else "en",
        }
        for n in range(count)
    ]


def build_job(bucket: S3Location, data: S3Location, url: str, name: str, **how: Any) -> EvalJob:
    """The order of one pass, with a folder of its own."""
    suite = {
        "name": "bench",
        "data": {"type": "S3", "location": data.model_dump()},
        "metrics": ["ExactMatch", "F1"],
        "limit": None,
        "max_tokens": how["max_tokens"],
        "temperature": 0,
        "thinking": False,
        "seed": 3407,
    }
    return EvalJob.model_validate(
        {
            "namespace": NAMESPACE,
            "name": name,
            "uid": name,
            "target": {"name": "target", "base_url": url, "model": "tiny/base"},
            "baselines": [],
            "suites": [suite],
            "concurrency": how["concurrency"],
            "output": bucket.join("evals", name).model_dump(),
        }
    )


class Watch(selectors.DefaultSelector):
    """Tells how long requests were in flight, and what the event loop did meanwhile.

    The selector of the loop, because waiting in `select` is all that the loop does beside work. The
    kernel tells how long a thread stood ready without a core (Documentation/scheduler/sched-stats).
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.busy = self.queued = 0.0
        self._statistics = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._in_flight = 0
        self._woken, self._queued = time.perf_counter(), self._read_queued()
        self.trace = aiohttp.TraceConfig()
        self.trace.on_request_start.append(self._sent)
        self.trace.on_request_end.append(self._answered)
        self.trace.on_request_exception.append(self._answered)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As asyncio calls it."""
        if self._in_flight:
            queued = self._read_queued() - self._queued
            self.queued += queued
            self.busy += time.perf_counter() - self._woken - queued
        ready = super().select(timeout)
        self._woken, self._queued = time.perf_counter(), self._read_queued()
        return ready

    def close(self) -> None:
        """As asyncio calls it."""
        os.close(self._statistics)
        super().close()

    def _read_queued(self) -> float:
        return int(os.pread(self._statistics, 64, 0).split()[1]) / 1e9

    async def _sent(self, _: aiohttp.ClientSession, context: Any, __: object) -> None:
        context.sent = time.perf_counter()
        self._in_flight += 1

    async def _answered(self, _: aiohttp.ClientSession, context: Any, __: object) -> None:
        self.asked += time.perf_counter() - context.sent
        self._in_flight -= 1


async def ask_bare(job: EvalJob, rows: list[dict[str, str]]) -> None:
    """The least that a client can do."""
    suite, url = job.suites[0], f"{job.target.base_url}/chat/completions"
    bodies = iter(
        build_answer_request(
            job.target.model,
            suite,
            Question(
                line=n, question=r["question"], answer=r["answer"], category=None, system=None
            ),
            0,
            token_ids=False,
        )
        for n, r in enumerate(rows, 1)
    )
    async with run.open_session(job.concurrency) as http:

        async def work() -> None:
            for body in bodies:
                async with http.post(url, json=body) as response:
                    response.raise_for_status()
                    json.loads(await response.text())

        async with asyncio.TaskGroup() as group:
            for _ in range(job.concurrency):
                group.create_task(work())


async def _measure(do: Callable[[], Awaitable[None]], job: EvalJob, watch: Watch) -> Pass:
    before = watch.asked, watch.busy, watch.queued
    used, began = _cpu(), time.perf_counter()
    await do()
    wall, cpu = time.perf_counter() - began, _cpu() - used
    after = watch.asked, watch.busy, watch.queued
    asked, busy, queued = (a - b for a, b in zip(after, before, strict=True))
    return Pass(wall, cpu, asked / job.concurrency, busy, queued)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure_start(job_file: Path) -> float:
    """Seconds until the program has read its order: one that it refuses, so that it ends there."""
    job_file.write_text("{}")
    began = time.perf_counter()
    command = [sys.executable, "-m", "qwen3_evaluator", str(job_file)]
    done = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        raise SystemExit("the evaluator took an empty order")
    return time.perf_counter() - began


async def compare(
    bucket: S3Location, url: str, count: int, rounds: int, watch: Watch, **how: Any
) -> Figures:
    """Bare client and evaluator in turns."""
    # Both open their sessions here.
    run.open_session = partial(open_session, traces=[watch.trace])
    rows = questions(count)
    data = bucket.join("bench", "questions.jsonl")
    async with Store() as store:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        await store.put(data, content.encode(), "application/jsonl")
        await ask_bare(build_job(bucket, data, url, "warm", **how), rows)
        bare: list[Pass] = []
        own: list[Pass] = []
        for n in range(rounds):
            job = build_job(bucket, data, url, f"pass-{n}", **how)
            turns = [(bare, partial(ask_bare, job, rows)), (own, partial(run.run_evaluation, job))]
            for passes, do in turns if n % 2 == 0 else turns[::-1]:
                passes.append(await _measure(do, job, watch))
            report = await store.get(job.output.join(layout.REPORT))
            if report is None or EvalReport.model_validate_json(report).results[0].samples != count:
                raise SystemExit("the evaluator didn't score every question")
            told = (
                f"{p.wall:.2f} s, idle {p.idle:.1%}, busy {p.busy:.1%}" for p in (bare[-1], own[-1])
            )
            print("round {}: bare {}, evaluator {}".format(n, *told))
    return Figures(count, how["concurrency"], how["max_tokens"], bare, own, 0.0)


def render(figures: Figures) -> str:
    """The table."""

    def line(name: str, passes: list[Pass]) -> str:
        walls = sorted(p.wall for p in passes)
        shares = ((p.cpu, p.idle, p.busy, p.queued_seconds / p.wall) for p in passes)
        cpu, idle, busy, queued = (median(values) for values in zip(*shares, strict=True))
        return (
            f"{name:<44} {median(walls):7.2f} s  ({walls[0]:.2f}–{walls[-1]:.2f}),"
            f" {figures.questions / median(walls):.0f} questions/s, {cpu:.2f} s of CPU,"
            f" idle {idle:.1%}, busy {busy:.1%}, without a core {queued:.1%}"
        )

    goal = "reached" if figures.overhead <= GOAL else "MISSED"
    return "\n".join(
        [
            f"{figures.questions} questions, {figures.max_tokens} tokens each, "
            f"{figures.concurrency} in flight",
            line("bare client", figures.bare),
            line("evaluator", figures.evaluator),
            f"{'overhead of the evaluator, at most':<44} {100 * figures.overhead:+7.1f} %"
            f"  (goal: at most {100 * GOAL:.0f} %, {goal})",
            f"{'its own processor time, mostly in it':<44} {100 * figures.cpu_overhead:+7.1f} %",
            f"{'start of the process, not in it':<44} {figures.start_seconds:7.2f} s",
        ]
    )


def _interpreter(name: str) -> str:
    """`python -m qwen3_local prepare` leaves the paths."""
    if name in os.environ:
        return os.environ[name]
    file = current_home().state / "test-environment.json"
    if not file.exists():
        raise SystemExit(f"{file} is missing: run `python -m qwen3_local prepare` first")
    return str(json.loads(file.read_text())[name])


def main() -> None:
    """Print the table; exit 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID=TENANT.access_key, AWS_SECRET_ACCESS_KEY=TENANT.secret_key)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [_interpreter("QWEN3_ML_PYTHON"), str(REFERENCE), "build", str(folder / "m"), TEMPLATE],
            check=True,
        )
        with (
            seaweedfs(folder / "weed") as bucket,
            vllm(_interpreter("QWEN3_VLLM_PYTHON"), folder / "m", ADAPTER) as url,
        ):
            watch = Watch()
            with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watch)) as runner:
                figures = runner.run(
                    compare(
                        bucket.tenant,
                        url,
                        options.questions,
                        options.rounds,
                        watch,
                        concurrency=options.concurrency,
                        max_tokens=options.max_tokens,
                    )
                )
            start = min(measure_start(folder / "job.json") for _ in range(3))
    figures = Figures(**(vars(figures) | {"start_seconds": start}))
    print(render(figures))
    sys.exit(figures.overhead > GOAL)


if __name__ == "__main__":
    main()
