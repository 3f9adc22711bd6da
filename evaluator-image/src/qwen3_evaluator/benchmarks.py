"""Suites of public benchmarks: EvalScope's prompts and scores, from a process of its own."""

import logging
from typing import Any

from qwen3_api.data_sources import DataSource
from qwen3_api.job.evaluate import EvalBenchmark, EvalSample, EvalSuite
from qwen3_api.metrics import Metric
from qwen3_api.pod.failure import FailureError
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
from qwen3_evaluator.questions import Question, QuestionSet, describe, invalid_row, read_rows
from qwen3_evaluator.store import Store
from qwen3_evaluator.worker import Worker

log = logging.getLogger(__name__)

LOAD_SECONDS = 600
"""For the import of EvalScope and the prompts of a suite."""
SCORE_SECONDS = 180
"""For one score; the process itself gives up after half of it."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


class EvalScope(Worker[Loaded | Scored | Refused]):
    """EvalScope in its process: questions of a suite, scores of answers."""

    def __init__(self) -> None:
        super().__init__("EvalScope", "qwen3_evaluator.benchmark_process", REPLY, _OFFLINE)

    async def load(self, suite: EvalSuite, store: Store) -> QuestionSet:
        """The suite's rows as EvalScope asks them.

        Raises FailureError: what `read_questions` raises; a row isn't of the benchmark's shape
        (names line and field); too few examples; the process ended.
        """
        benchmark = suite.benchmark
        assert benchmark is not None  # noqa: S101  # the caller's suites have one
        if benchmark.dataset not in SHAPES:
            raise FailureError(
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
        reply = await self.ask(order, LOAD_SECONDS)
        if isinstance(reply, Refused):
            raise _refusal(suite, reply)
        assert isinstance(reply, Loaded)  # noqa: S101  # the reply to Load
        log.info("suite %s: %s by EvalScope %s", suite.name, benchmark.dataset, reply.version)
        texts = {numbered.line: find_question(numbered.row) for numbered in rows}
        questions = [_to_question(prompt, texts.get(prompt.line)) for prompt in reply.prompts]
        return QuestionSet(questions, sha256, examples_sha256)

    async def score(self, suite: EvalSuite, sample: EvalSample) -> EvalSample:
        """The sample with its Accuracy. Raises FailureError: the process ended, or the expected
        answer of the row can't be compared with anything."""
        request = Score(suite=suite.name, line=sample.line, answer=sample.answer or "")
        reply = await self.ask(request, SCORE_SECONDS)
        if isinstance(reply, Refused):
            raise _refusal(suite, reply)
        assert isinstance(reply, Scored)  # noqa: S101  # the reply to Score
        if reply.note:
            log.warning(
                "suite %s, line %d, model %s: counted as wrong: %s",
                *(suite.name, sample.line, sample.model, reply.note),
            )
        scores = {**sample.scores, Metric.ACCURACY: reply.score}
        return sample.model_copy(update={"scores": scores})


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


def _refusal(suite: EvalSuite, reply: Refused) -> FailureError:
    benchmark = suite.benchmark
    assert benchmark is not None  # noqa: S101  # only benchmarks are refused
    source = benchmark.examples if reply.of_examples else suite.data
    name = describe(source) if source is not None else suite.name
    if reply.line is None:
        return FailureError(
            Reason.DATASET_INVALID,
            f"{name} {reply.complaint}",
            hint="Each subject that is asked about needs as many examples; lower evalScope.fewShot "
            "or add rows.",
        )
    hint = describe_shape(benchmark.dataset)
    return invalid_row(name, reply.line, reply.field, reply.complaint, hint)
