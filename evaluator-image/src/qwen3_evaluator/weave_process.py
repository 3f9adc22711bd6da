"""The process of Weave's scorers: real classes of `weave.scorers`, asked for their opinion.

`python -m qwen3_evaluator.weave_process` reads requests from standard input and writes replies to
what was its standard output. Nothing is traced: `weave.init` is never called, and what runs is the
function below a scorer's op, not the op.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import IO, Any

from pydantic import BaseModel, Field, create_model
from weave.scorers import PydanticScorer, StringMatchScorer, ValidJSONScorer, ValidXMLScorer

from qwen3_api.job.evaluate import PydanticField
from qwen3_api.metrics import Metric
from qwen3_evaluator.weave_wire import Refused, Score, Scored, to_score

_TYPES: dict[str, Any] = {
    "String": str,
    "Integer": int,
    "Number": float,
    "Boolean": bool,
    "List": list[Any],
    "Object": dict[str, Any],
}
_BUILD: dict[Metric, Callable[[list[PydanticField]], Any]] = {
    Metric.VALID_JSON_SCORER: lambda _: ValidJSONScorer(),
    Metric.VALID_XML_SCORER: lambda _: ValidXMLScorer(),
    Metric.PYDANTIC_SCORER: lambda fields: PydanticScorer(model=build_model(fields)),
    Metric.STRING_MATCH_SCORER: lambda _: StringMatchScorer(),
}


def build_model(fields: list[PydanticField]) -> type[BaseModel]:
    """The pydantic model of these fields; other fields of an answer are ignored.

    Names are aliases: some can't be names in Python, some are those of BaseModel itself.
    """
    made: dict[str, Any] = {}
    for number, field in enumerate(fields):
        kind = _TYPES[field.type]
        made[f"field_{number}"] = (
            (kind, Field(alias=field.name))
            if field.required
            else (kind | None, Field(default=None, alias=field.name))
        )
    return create_model("Answer", **made)


class Scorers:
    """Scorers by what they were made of, made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Any] = {}

    def reply(self, request: Score) -> Scored | Refused:
        """Scores by all that are asked for; the first that fails is told instead."""
        scores: dict[Metric, float] = {}
        for name in request.scorers:
            try:
                scores[name] = self._score(name, request)
            # Another's code on a model's text: whatever it raises is told, and ends the evaluation.
            except Exception as error:  # noqa: BLE001
                complaint = f"{type(error).__name__}: {error}"[:400]
                return Refused(scorer=name, complaint=complaint)
        return Scored(scores=scores)

    def _score(self, name: Metric, request: Score) -> float:
        if name is Metric.STRING_MATCH_SCORER and not request.answer.strip():
            # Weave looks for the answer in the expected one, and "" is in every text.
            return 0.0
        scorer = self._get(name, request.fields)
        say = type(scorer).score.resolve_fn
        return to_score(say(scorer, output=request.answer, target=request.expected))

    def _get(self, name: Metric, fields: list[PydanticField]) -> Any:
        key = (name, json.dumps([field.model_dump() for field in fields]))
        if key not in self._made:
            self._made[key] = _BUILD[name](fields)
        return self._made[key]


def main(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    scorers = Scorers()
    for line in requests:
        reply = scorers.reply(Score.model_validate_json(line))
        replies.write(reply.model_dump_json().encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    # What a library prints must not get among the replies.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        main(sys.stdin.buffer, out)
