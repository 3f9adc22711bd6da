"""What the evaluator and its EvalScope process say to each other: a JSON document per line.

The process is asked one thing at a time and answers each with a `Loaded`, `Scored` or `Refused`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from qwen3_api.job.base import Document


class NumberedRow(Document):
    """A row with its place in the file."""

    line: int
    """1-based."""
    row: dict[str, Any]


class Load(Document):
    """Make the prompts of a suite."""

    kind: Literal["Load"] = "Load"
    suite: str
    dataset: str
    few_shot: int
    rows: list[NumberedRow]
    examples: list[NumberedRow]


class Score(Document):
    """Score an answer to a question of a suite that was loaded."""

    kind: Literal["Score"] = "Score"
    suite: str
    line: int
    answer: str
    """Without the thinking."""


class Prompt(Document):
    """What EvalScope makes of a row."""

    line: int
    question: str
    """The whole prompt, with instructions, choices and worked examples."""
    system: str | None
    expected: str
    subject: str | None
    """None where the benchmark has no subjects."""


class Loaded(Document):
    """The prompts, in the order of the rows."""

    kind: Literal["Loaded"] = "Loaded"
    prompts: list[Prompt]
    version: str
    """Of EvalScope."""


class Scored(Document):
    """The answer's score, 0 to 1."""

    kind: Literal["Scored"] = "Scored"
    score: float
    note: str = ""
    """Why it counts as wrong though EvalScope could not say so."""


class Refused(Document):
    """A row can't be asked or scored."""

    kind: Literal["Refused"] = "Refused"
    line: int | None
    field: str | None = None
    complaint: str
    of_examples: bool = False
    """Whether the line is one of the examples' file."""


REQUEST: TypeAdapter[Load | Score] = TypeAdapter(
    Annotated[Load | Score, Field(discriminator="kind")]
)
REPLY: TypeAdapter[Loaded | Scored | Refused] = TypeAdapter(
    Annotated[Loaded | Scored | Refused, Field(discriminator="kind")]
)
