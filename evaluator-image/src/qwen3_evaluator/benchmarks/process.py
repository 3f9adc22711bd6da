"""The EvalScope process: makes the prompts of public benchmarks and scores answers to them.

`python -m qwen3_evaluator.benchmarks.process` is the only program that imports EvalScope. It reads
requests from standard input and writes replies to what was its standard output; whatever else is
printed goes to standard error. It asks no model and downloads nothing: the evaluator asks.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from types import FrameType
from typing import IO, Any

from evalscope.api.dataset import DatasetDict, MemoryDataset
from evalscope.api.evaluator import TaskState
from evalscope.api.model import ModelOutput
from evalscope.api.registry import get_benchmark
from evalscope.config import TaskConfig
from evalscope.version import __version__ as evalscope_version

from qwen3_evaluator.benchmarks.wire import (
    REQUEST,
    Load,
    Loaded,
    NumberedRow,
    Prompt,
    Refused,
    Score,
    Scored,
)

SCORE_SECONDS = 90
"""Of a whole score. EvalScope's own deadline for a mathematical comparison is 30 s, for which it
forks; regular expressions in its parsers have none."""
_SUBJECT_FROM_ROW = {"ceval": "subject"}
"""Benchmarks whose subject EvalScope takes from the file's name; here it is a field of the row."""
_ANSWER_FIELD = {"arc": "answerKey", "cmath": "golden", "gpqa_diamond": "Correct Answer"}
"""Where it isn't `answer`."""


class _RefusedError(Exception):
    """A row, or the file of examples, can't be used."""

    def __init__(
        self, line: int | None, complaint: str, field: str | None = None, *, example: bool = False
    ) -> None:
        super().__init__(complaint)
        self.reply = Refused(line=line, field=field, complaint=complaint, of_examples=example)


@dataclass(frozen=True)
class _Item:
    """A row as EvalScope's sample."""

    line: int
    subject: str
    sample: Any


class Suite:
    """A benchmark with its rows. Raises _RefusedError when made: a row is of another shape."""

    def __init__(self, order: Load) -> None:
        config = TaskConfig(
            model="unused",
            eval_type="mock_llm",
            datasets=[order.dataset],
            dataset_args={order.dataset: {"few_shot_num": order.few_shot}},
            judge={"strategy": "rule"},
        )
        self._order = order
        self._adapter: Any = get_benchmark(order.dataset, config)
        self._items = [self._read(row, example=False) for row in order.rows]
        self._by_line = {item.line: item for item in self._items}

    def make_prompts(self) -> list[Prompt]:
        """The prompts, as EvalScope makes them of loaded data. Raises _RefusedError."""
        for number, item in enumerate(self._items):
            item.sample.id = item.sample.group_id = number
            self._check_answer(item)
        questions = self._to_datasets(self._items)
        examples = self._pick_examples() if self._order.few_shot else None
        self._adapter.load = lambda: (questions, examples)
        self._adapter.load_dataset()
        return [self._to_prompt(item) for item in self._items]

    def score(self, line: int, answer: str) -> Scored:
        """EvalScope's main score of the answer. Raises _RefusedError: the expected answer of the
        row can't be compared with anything."""
        state = TaskState(
            model="unused",
            sample=self._by_line[line].sample,
            messages=[],
            output=ModelOutput.from_content(model="unused", content=answer),
            completed=True,
        )
        try:
            with _deadline(SCORE_SECONDS):
                found = self._adapter.calculate_metrics(state).score
        except TimeoutError:
            return Scored(score=0, note=f"scoring it took longer than {SCORE_SECONDS} s")
        if found.main_value is not None and found.status.is_usable:
            return Scored(score=float(found.main_value))
        told = " ".join(v for v in found.metadata.values() if isinstance(v, str))
        if "Invalid mathematical reference" in told:
            raise _RefusedError(line, "can't be read as mathematics", self._answer_field)
        return Scored(score=0, note=told[:400])

    @property
    def _answer_field(self) -> str:
        return _ANSWER_FIELD.get(self._order.dataset, "answer")

    def _read(self, row: NumberedRow, *, example: bool) -> _Item:
        """The row as a sample, with its subject ("" where there are none)."""
        field = _SUBJECT_FROM_ROW.get(self._order.dataset)
        subject = str(row.row[field]) if field else ""
        self._adapter.current_subset_name = subject
        try:
            sample = self._adapter.record_to_sample(dict(row.row))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            complaint = f"can't be read by EvalScope: {type(error).__name__}: {error}"
            raise _RefusedError(row.line, complaint, example=example) from error
        if self._adapter.reformat_subset:
            subject = str(sample.subset_key)
        if subject and subject not in self._adapter.subset_list:
            known = ", ".join(self._adapter.subset_list)
            complaint = f"says {subject}, which is none of: {known[:300]}"
            raise _RefusedError(row.line, complaint, _subject_field(row), example=example)
        return _Item(row.line, subject, sample)

    def _check_answer(self, item: _Item) -> None:
        """Raises _RefusedError: the answer names none of the choices."""
        if item.sample.choices:
            letters = "".join(item.sample.target)
            last = chr(ord("A") + len(item.sample.choices) - 1)
            if not letters or any(not "A" <= letter <= last for letter in letters):
                raise _RefusedError(
                    item.line,
                    f"is {letters!r}, none of the choices A to {last}",
                    self._answer_field,
                )

    def _pick_examples(self) -> Any:
        """The first examples of each subject that is asked about."""
        found = [self._read(row, example=True) for row in self._order.examples]
        picked: list[_Item] = []
        for subject in dict.fromkeys(item.subject for item in self._items):
            of_subject = [e for e in found if e.subject == subject][: self._order.few_shot]
            if len(of_subject) < self._order.few_shot:
                whose = f"of {subject} " if subject else ""
                complaint = f"has {len(of_subject)} rows {whose}and fewShot is "
                raise _RefusedError(None, complaint + str(self._order.few_shot), example=True)
            picked += of_subject
        return self._to_datasets(picked)

    def _to_datasets(self, items: list[_Item]) -> Any:
        ordered = sorted(items, key=lambda item: item.subject)
        return DatasetDict(
            {
                subject or "default": MemoryDataset([item.sample for item in group])
                for subject, group in groupby(ordered, key=lambda item: item.subject)
            }
        )

    def _to_prompt(self, item: _Item) -> Prompt:
        *system, user = item.sample.input
        if [m.role for m in item.sample.input] not in (["user"], ["system", "user"]):
            raise TypeError(f"{self._order.dataset} asks with more than one message")
        target = item.sample.target
        return Prompt(
            line=item.line,
            question=user.text,
            system=system[0].text if system else None,
            expected=target if isinstance(target, str) else " or ".join(target),
            subject=item.subject or None,
        )


def _subject_field(row: NumberedRow) -> str:
    """What the row calls its subject."""
    return next(f for f in ("subject", "category", "level", "grade") if f in row.row)


@contextmanager
def _deadline(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in the block after so many seconds; regular expressions notice it too."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def answer(request: Load | Score, suites: dict[str, Suite]) -> Loaded | Scored | Refused:
    """Do what is asked; `suites` keeps what was loaded."""
    try:
        if isinstance(request, Score):
            return suites[request.suite].score(request.line, request.answer)
        suite = suites[request.suite] = Suite(request)
        return Loaded(prompts=suite.make_prompts(), version=evalscope_version)
    except _RefusedError as error:
        return error.reply


def main(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    suites: dict[str, Suite] = {}
    for line in requests:
        reply = answer(REQUEST.validate_json(line), suites)
        replies.write(reply.model_dump_json().encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    # What EvalScope prints must not get among the replies.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        main(sys.stdin.buffer, out)
