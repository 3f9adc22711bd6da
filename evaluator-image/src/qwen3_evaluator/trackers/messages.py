"""What a tracker's process is given and what it tells, line by line."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from qwen3_api.job import layout
from qwen3_api.job.base import Document
from qwen3_api.job.evaluate import EvalJob, EvalReport, EvalSample, TrackedModel
from qwen3_evaluator.report.documents import parse_samples


class Run(Document):
    """The W&B run has begun."""

    kind: Literal["run"] = "run"
    url: str | None
    """None: offline."""


class Logged(Document):
    """An evaluation is at Weave, as far as its client knows by now."""

    kind: Literal["logged"] = "logged"
    evaluation: TrackedModel


class Lost(Document):
    """Something could not be sent."""

    kind: Literal["lost"] = "lost"
    message: str


class Sent(Document):
    """Everything was sent; the last line."""

    kind: Literal["sent"] = "sent"


Message = Annotated[Run | Logged | Lost | Sent, Field(discriminator="kind")]
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


@dataclass(frozen=True)
class Results:
    """What is sent."""

    job: EvalJob
    report: EvalReport
    samples: list[EvalSample]
    html: Path
    """The report for people."""

    @classmethod
    def read(cls, folder: Path) -> "Results":
        """The folder that the parent wrote."""
        return cls(
            EvalJob.model_validate_json((folder / layout.JOB).read_bytes()),
            EvalReport.model_validate_json((folder / layout.REPORT).read_bytes()),
            parse_samples((folder / layout.SAMPLES).read_bytes()),
            folder / layout.REPORT_HTML,
        )


class Channel:
    """Standard output, taken away from everybody else: the libraries print to it as they like."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)

    def tell(self, message: Run | Logged | Lost | Sent) -> None:
        """One line."""
        sys.stdout.flush()
        os.write(self._descriptor, message.model_dump_json().encode() + b"\n")
