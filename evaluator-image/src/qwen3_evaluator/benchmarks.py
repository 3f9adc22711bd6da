"""Suites of public benchmarks: EvalScope's prompts and scores, asked for in a process of its own.

EvalScope and what it brings stay out of this process: an evaluation without such a suite never
starts the other one, a model's answer that makes a mathematical comparison explode kills nothing
here, and none of its packages sees a key of the bucket or of an endpoint.
"""

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalBenchmark, EvalSample, EvalSuite
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.train import DataSource
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.benchmark_rows import (
    SHAPES,
    describe_shape,
    find_question,
    parse_benchmark_row,
)
from qwen3_evaluator.benchmark_wire import (
    REPLY,
    Load,
    Loaded,
    NumberedRow,
    Prompt,
    Refused,
    Score,
    Scored,
)
from qwen3_evaluator.failures import EvaluationError
from qwen3_evaluator.questions import Question, QuestionSet, describe, invalid_row, read_rows
from qwen3_evaluator.store import Store

log = logging.getLogger(__name__)

LOAD_SECONDS = 600
"""For the import of EvalScope and the prompts of a suite."""
SCORE_SECONDS = 180
"""For one score; the process itself gives up after half of it."""
_LINE_LIMIT = 1 << 30
"""Bytes of a reply: all prompts of a suite."""
_END_SECONDS = 10
"""For a process that closed its pipe to end."""
_LAST_WORDS = 12
"""Lines of the process's log that are kept for when it ends."""
_INHERITED = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")
"""Of the environment; the keys of buckets and endpoints stay here."""


class EvalScope:
    """An async context manager around the process, which is started when first needed."""

    def __init__(self, python: str = sys.executable) -> None:
        self._command = (python, "-m", "qwen3_evaluator.benchmark_process")
        self._process: Process | None = None
        self._log: asyncio.Task[None] | None = None
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
        if self._log is not None:
            await self._log

    async def load(self, suite: EvalSuite, store: Store) -> QuestionSet:
        """The suite's rows as EvalScope asks them.

        Raises EvaluationError: what `read_questions` raises; a row isn't of the benchmark's shape
        (names line and field); too few examples; the process ended.
        """
        benchmark = suite.benchmark
        assert benchmark is not None  # noqa: S101  # the caller's suites have one
        if benchmark.dataset not in SHAPES:
            raise EvaluationError(
                Reason.INVALID_SPEC,
                f"suite {suite.name}: {benchmark.dataset} is no benchmark of this evaluator",
                hint=f"It knows {', '.join(SHAPES)}.",
            )
        rows, sha256 = await _read(suite.data, suite.limit, benchmark, store)
        examples: list[NumberedRow] = []
        examples_sha256 = None
        if benchmark.examples is not None:
            examples, examples_sha256 = await _read(benchmark.examples, None, benchmark, store)
        order = Load(
            suite=suite.name,
            dataset=benchmark.dataset,
            few_shot=benchmark.few_shot,
            rows=rows,
            examples=examples,
        )
        reply = await self._ask(order, LOAD_SECONDS)
        if isinstance(reply, Refused):
            raise _refusal(suite, reply)
        assert isinstance(reply, Loaded)  # noqa: S101  # the reply to Load
        log.info("suite %s: %s by EvalScope %s", suite.name, benchmark.dataset, reply.version)
        texts = {numbered.line: find_question(numbered.row) for numbered in rows}
        questions = [_to_question(prompt, texts.get(prompt.line)) for prompt in reply.prompts]
        return QuestionSet(questions, sha256, examples_sha256)

    async def score(self, suite: EvalSuite, sample: EvalSample) -> EvalSample:
        """The sample with its Accuracy. Raises EvaluationError: the process ended, or the expected
        answer of the row can't be compared with anything."""
        request = Score(suite=suite.name, line=sample.line, answer=sample.answer or "")
        reply = await self._ask(request, SCORE_SECONDS)
        if isinstance(reply, Refused):
            raise _refusal(suite, reply)
        assert isinstance(reply, Scored)  # noqa: S101  # the reply to Score
        if reply.note:
            log.warning(
                "suite %s, line %d, model %s: counted as wrong: %s",
                *(suite.name, sample.line, sample.model, reply.note),
            )
        return sample.model_copy(update={"scores": {**sample.scores, "Accuracy": reply.score}})

    async def _ask(self, request: Load | Score, seconds: float) -> Loaded | Scored | Refused:
        """One request at a time: the process works on one."""
        async with self._turn:
            process = self._process = self._process or await self._start()
            assert process.stdin is not None  # noqa: S101  # a pipe
            assert process.stdout is not None  # noqa: S101  # another
            try:
                process.stdin.write(request.model_dump_json().encode() + b"\n")
                async with asyncio.timeout(seconds):
                    await process.stdin.drain()
                    line = await process.stdout.readline()
                return REPLY.validate_json(line)
            except (TimeoutError, OSError, ValidationError) as error:
                # Half of a reply may be in the pipe: nothing can be asked after this.
                raise await self._loss(process, error) from error

    async def _start(self) -> Process:
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=env | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            cwd=_scratch_folder(),
            limit=_LINE_LIMIT,
        )
        self._log = asyncio.create_task(self._keep_last_words(process))
        return process

    async def _keep_last_words(self, process: Process) -> None:
        assert process.stderr is not None  # noqa: S101  # a pipe
        async for line in process.stderr:
            self._last_words.append(line.decode(errors="replace").rstrip())

    async def _loss(self, process: Process, error: Exception) -> EvaluationError:
        """What to tell when the process can't be asked any more."""
        # A signal to one that is ending takes its exit code away: Popen polls before it signals.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if isinstance(error, TimeoutError) else _END_SECONDS):
                await process.wait()
        if process.returncode is None:
            process.kill()
        code = await process.wait()
        if self._log is not None:
            await self._log
        what = "gave no reply in time" if isinstance(error, TimeoutError) else f"ended with {code}"
        said = " ".join(self._last_words)[-500:]
        return EvaluationError(
            Reason.EVALUATOR_FAILED,
            f"the EvalScope process {what}: {said}",
            hint="If it was out of memory, raise runner.memory.",
            exit_code=ExitCode.UNEXPECTED,
        )


def _scratch_folder() -> str | None:
    return layout.WORK_DIR if os.path.isdir(layout.WORK_DIR) else None


async def _read(
    source: DataSource, limit: int | None, benchmark: EvalBenchmark, store: Store
) -> tuple[list[NumberedRow], str]:
    name = describe(source)

    def parse(line: bytes, number: int) -> NumberedRow:
        row: dict[str, Any] = parse_benchmark_row(benchmark.dataset, line, number, name)
        return NumberedRow(line=number, row=row)

    return await read_rows(source, store, parse, limit)


def _to_question(prompt: Prompt, row_text: str | None) -> Question:
    return Question(
        line=prompt.line,
        question=prompt.question,
        answer=prompt.expected,
        category=prompt.subject,
        system=prompt.system,
        row_text=row_text,
    )


def _refusal(suite: EvalSuite, reply: Refused) -> EvaluationError:
    benchmark = suite.benchmark
    assert benchmark is not None  # noqa: S101  # only benchmarks are refused
    source = benchmark.examples if reply.of_examples else suite.data
    name = describe(source) if source is not None else suite.name
    if reply.line is None:
        return EvaluationError(
            Reason.DATASET_INVALID,
            f"{name} {reply.complaint}",
            hint="Each subject that is asked about needs as many examples; lower evalScope.fewShot "
            "or add rows.",
        )
    hint = describe_shape(benchmark.dataset)
    return invalid_row(name, reply.line, reply.field, reply.complaint, hint)
