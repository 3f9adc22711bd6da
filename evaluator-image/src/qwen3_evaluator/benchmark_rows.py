"""Rows of public benchmarks: the shape that each is published in, checked before anything is asked.

EvalScope's adapters read these fields (`record_to_sample` in evalscope/benchmarks/*/*_adapter.py)
and don't check them: a row of another shape would end as a KeyError without a line number.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from qwen3_evaluator.questions import Text, parse_row

_NUMBER = re.compile(r"[+-]?\$?\d[\d,]*(\.\d+)?")


def _check_worked(text: str) -> str:
    _, mark, result = text.rpartition("####")
    if not mark or not _NUMBER.fullmatch(result.strip()):
        raise ValueError('it must end in "#### " and a number')
    return text


def _check_integer(text: str) -> str:
    if not re.fullmatch(r"\d{1,3}", text.strip()):
        raise ValueError("it must be an integer from 0 to 999")
    return text


def _check_number(text: str) -> str:
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("it must be a number")
    return text


def _check_labelled(text: str) -> str:
    if not re.match(r"\([A-D]\)\s*\S", text):
        raise ValueError('it must begin with "(A)", "(B)", "(C)" or "(D)"')
    return text


def _to_text(value: object) -> object:
    """Numbers are published as text and as numbers; EvalScope takes text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Four = Annotated[list[Text], Field(min_length=4, max_length=4)]
Options = Annotated[list[Text], Field(min_length=2, max_length=10)]
Letter = Literal["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"]
Index = Annotated[int, Field(ge=0, le=3)]
Integer = Annotated[Text, BeforeValidator(_to_text), AfterValidator(_check_integer)]
Number = Annotated[Text, BeforeValidator(_to_text), AfterValidator(_check_number)]


class Row(BaseModel):
    """A row as its benchmark is published. Other fields are handed on as they are."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Gsm8k(Row):
    question: Text
    answer: Annotated[Text, AfterValidator(_check_worked)]


class _Aime(Row):
    problem: Text
    answer: Integer


class _Math500(Row):
    problem: Text
    answer: Text
    level: Annotated[int, Field(ge=1, le=5)]
    unique_id: str = ""
    solution: str = ""


class _Cmath(Row):
    question: Text
    golden: Number
    grade: Annotated[int, Field(ge=1, le=6)]


class _Mmlu(Row):
    question: Text
    choices: Four
    answer: Index
    subject: Text


class _MmluRedux(Row):
    question: Text
    choices: Four
    answer: Index
    error_type: Text
    correct_answer: str | None = None


class _MmluPro(Row):
    question: Text
    options: Options
    answer: Letter
    category: Text
    cot_content: str = ""
    question_id: int | str = 0


class _Ceval(Row):
    question: Text
    A: Text
    B: Text
    C: Text
    D: Text
    answer: Literal["A", "B", "C", "D"]
    subject: Text
    """Not in the published rows: there the file's name tells it."""
    explanation: str = ""


class _Cmmlu(Row):
    question: Text
    choices: Annotated[
        list[Annotated[str, AfterValidator(_check_labelled)]], Field(min_length=4, max_length=4)
    ]
    answer: Literal["(A)", "(B)", "(C)", "(D)"]
    category: Text


class _GeneralMcq(Row):
    question: Text
    A: Text
    B: Text
    answer: Letter


class _CommonsenseQa(Row):
    question: Text
    choices: Options
    answer: Letter


class _ArcChoices(Row):
    text: Options


class _Arc(Row):
    question: Text
    choices: _ArcChoices
    answerKey: Literal["A", "B", "C", "D", "E", "1", "2", "3", "4", "5"]  # noqa: N815  # published so


class _Gpqa(Row):
    question: Text = Field(alias="Question")
    correct: Text = Field(alias="Correct Answer")
    wrong_1: Text = Field(alias="Incorrect Answer 1")
    wrong_2: Text = Field(alias="Incorrect Answer 2")
    wrong_3: Text = Field(alias="Incorrect Answer 3")


SHAPES: Mapping[str, type[Row]] = {
    "aime24": _Aime,
    "aime25": _Aime,
    "aime26": _Aime,
    "arc": _Arc,
    "ceval": _Ceval,
    "cmath": _Cmath,
    "cmmlu": _Cmmlu,
    "commonsense_qa": _CommonsenseQa,
    "general_mcq": _GeneralMcq,
    "gpqa_diamond": _Gpqa,
    "gsm8k": _Gsm8k,
    "math_500": _Math500,
    "mmlu": _Mmlu,
    "mmlu_pro": _MmluPro,
    "mmlu_redux": _MmluRedux,
}
"""By EvalScope's name of the benchmark."""
QUESTION_FIELDS = ("question", "problem", "Question")
"""What a row asks is in the first of these that it has."""


def parse_benchmark_row(dataset: str, line: bytes, number: int, name: str) -> dict[str, Any]:
    """The row for EvalScope. Raises FailureError: DatasetInvalid (names line and field)."""
    row = parse_row(SHAPES[dataset], line, number, name, describe_shape(dataset))
    return row.model_dump(mode="json", by_alias=True)


def find_question(row: Mapping[str, Any]) -> str:
    """What a parsed row asks, without choices and prompt. Raises KeyError: it is of no shape."""
    return str(next(row[name] for name in QUESTION_FIELDS if name in row))


def describe_shape(dataset: str) -> str:
    """What a row must have, for a hint."""
    fields = [f.alias or n for n, f in SHAPES[dataset].model_fields.items() if f.is_required()]
    return f"Each line is a JSON object of the shape of {dataset}: {', '.join(fields)}."
