"""What the evaluator and its process of Weave's scorers say to each other: a JSON document per
line. Each `Score` is answered by a `Scored` or a `Refused`."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from qwen3_api.job.base import Document
from qwen3_api.job.evaluate import PydanticField
from qwen3_api.metrics import Metric


class Score(Document):
    """Score an answer."""

    scorers: list[Metric]
    fields: list[PydanticField]
    """Of PydanticScorer's model."""
    answer: str
    """Without the thinking."""
    expected: str


class Scored(Document):
    """What the scorers say of the answer, 0 to 1."""

    kind: Literal["Scored"] = "Scored"
    scores: dict[Metric, float]


class Refused(Document):
    """A scorer raised, or said what is no score."""

    kind: Literal["Refused"] = "Refused"
    scorer: Metric
    complaint: str


REPLY: TypeAdapter[Scored | Refused] = TypeAdapter(
    Annotated[Scored | Refused, Field(discriminator="kind")]
)


def to_score(said: Any) -> float:
    """A scorer's result as a score: false and true are 0 and 1.

    Raises TypeError: it is anything but one boolean, or one number from 0 to 1.
    """
    if isinstance(said, dict) and len(said) == 1:
        (value,) = said.values()
        if isinstance(value, bool | int | float) and 0 <= value <= 1:
            return float(value)
    raise TypeError(f"{said!r} is neither one boolean nor one number from 0 to 1")
