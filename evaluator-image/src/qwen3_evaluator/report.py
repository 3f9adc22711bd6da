"""The documents of an evaluation: samples, progress and report. Pure.

Resuming: answers are kept as `samples.partial-<fingerprint>-<attempt>-<n>.jsonl` until the report
is there. The fingerprint stands for everything that an answer depends on, so an attempt takes over
exactly the answers that it would ask for again.
"""

import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

from qwen3_api.job.base import Failure, Sha256
from qwen3_api.job.evaluate import (
    EvalEndpoint,
    EvalJob,
    EvalLeakage,
    EvalProgressDocument,
    EvalReport,
    EvalSample,
    EvalSuite,
    JudgeUsage,
    ModelUsage,
)
from qwen3_api.metrics import OF_WEAVE
from qwen3_evaluator import VERSION
from qwen3_evaluator.gate import decide_gates, decide_report
from qwen3_evaluator.metrics import needs_answer
from qwen3_evaluator.questions import Question, QuestionSet, collect_digests
from qwen3_evaluator.scores import Scores, build_comparisons, build_results

PARTIAL_START = "samples.partial-"
USAGE_START = "usage.partial-"
_OF_BENCHMARKS = ("evalscope", "math-verify")
_OF_SCORERS = ("weave",)
_LIBRARIES = (
    "aiohttp",
    "aiobotocore",
    "jsonschema",
    "numpy",
    "pydantic",
    "regex",
    "sacrebleu",
    "scipy",
)


class SampleKey(NamedTuple):
    """What tells a sample from any other of the same evaluation."""

    suite: str
    model: str
    line: int
    sample: int

    @classmethod
    def of(cls, sample: EvalSample) -> "SampleKey":
        """Key of the sample."""
        return cls(sample.suite, sample.model, sample.line, sample.sample)


@dataclass(frozen=True)
class Unit:
    """One question to one model: what becomes a sample."""

    suite: EvalSuite
    endpoint: EvalEndpoint
    question: Question
    sample: int

    @property
    def key(self) -> SampleKey:
        """Key of the sample."""
        return SampleKey(self.suite.name, self.endpoint.name, self.question.line, self.sample)


def plan_units(job: EvalJob, sets: Mapping[str, QuestionSet]) -> list[Unit]:
    """Every question to every model as often as the suite says, suite by suite.

    The models take turns, so that all of them are compared under the same load. A suite without
    answers has one sample: the loss of an expected answer is always the same.
    """
    return [
        Unit(suite, endpoint, question, sample)
        for suite in job.suites
        for question in sets[suite.name].questions
        for sample in range(suite.samples if needs_answer(suite) else 1)
        for endpoint in (job.target, *job.baselines)
    ]


def compute_fingerprint(job: EvalJob, data: Mapping[str, Sha256]) -> str:
    """16 hex digits over models, suites and data; how fast or where to is left out."""
    digest = hashlib.sha256()
    for document in (job.target, *job.baselines, *job.suites):
        digest.update(document.model_dump_json().encode() + b"\n")
    for suite, sha256 in sorted(data.items()):
        digest.update(f"{suite} {sha256}\n".encode())
    return digest.hexdigest()[:16]


def partial_name(fingerprint: str, attempt: str, number: int) -> str:
    """Name of a batch of answers; no other attempt writes it."""
    return f"{PARTIAL_START}{fingerprint}-{attempt}-{number:06d}.jsonl"


def usage_name(fingerprint: str, attempt: str) -> str:
    """Name of what the judges cost in an attempt."""
    return f"{USAGE_START}{fingerprint}-{attempt}.json"


def parse_samples(content: bytes) -> list[EvalSample]:
    """The samples of a JSONL file."""
    return [EvalSample.model_validate_json(line) for line in content.splitlines() if line]


def render_samples(samples: Iterable[EvalSample]) -> bytes:
    """Samples as JSONL."""
    return b"".join(sample.model_dump_json().encode() + b"\n" for sample in samples)


def build_progress(
    *, completed: int, total: int, asked: int, seconds: float, suite: str, now: str
) -> EvalProgressDocument:
    """Progress; `asked` of the completed answers came in this attempt's `seconds`."""
    eta = round(seconds / asked * (total - completed)) if asked else None
    return EvalProgressDocument(
        completed=completed, total=total, suite=suite, eta_seconds=eta, updated=now
    )


def build_report(
    job: EvalJob,
    sets: Mapping[str, QuestionSet],
    samples: Iterable[EvalSample],
    *,
    judge: JudgeUsage | None = None,
    holdout: Sequence[EvalLeakage] = (),
    started: str,
    finished: str,
) -> EvalReport:
    """The report of a completed evaluation."""
    samples = list(samples)
    scores = Scores.from_samples(samples)
    gates = decide_gates(job, scores)
    return EvalReport(
        outcome="Completed",
        verdict=decide_report(gates),
        results=build_results(job, scores),
        comparisons=build_comparisons(job, scores),
        gates=gates,
        usage=sum_tokens(job, samples),
        judge=judge,
        holdout=list(holdout),
        data_sha256=collect_digests(sets),
        target_model=job.target.model,
        started=started,
        finished=finished,
        versions=collect_versions(job),
    )


def sum_tokens(job: EvalJob, samples: Iterable[EvalSample]) -> list[ModelUsage]:
    """Tokens by model, in the order of the job; without those of whom nothing is known."""
    totals: dict[str, ModelUsage] = {}
    for sample in samples:
        if sample.prompt_tokens is None and sample.completion_tokens is None:
            continue
        before = totals.get(sample.model, ModelUsage(model=sample.model))
        totals[sample.model] = before.model_copy(
            update={
                "prompt_tokens": before.prompt_tokens + (sample.prompt_tokens or 0),
                "completion_tokens": before.completion_tokens + (sample.completion_tokens or 0),
            }
        )
    return [totals[e.name] for e in (job.target, *job.baselines) if e.name in totals]


def build_failed_report(
    job: EvalJob, failure: Failure, *, started: str, finished: str
) -> EvalReport:
    """The report of an evaluation that needs a change before it can be done."""
    return EvalReport(
        outcome="Failed",
        failure=failure,
        target_model=job.target.model,
        started=started,
        finished=finished,
        versions=collect_versions(job),
    )


def collect_versions(job: EvalJob) -> dict[str, str]:
    """Versions of Python and of what asks and scores."""
    own = {"qwen3-evaluator": VERSION, "python": platform.python_version()}
    with_benchmarks = any(suite.benchmark is not None for suite in job.suites)
    with_scorers = any(metric in OF_WEAVE for suite in job.suites for metric in suite.metrics)
    used = _LIBRARIES + _OF_BENCHMARKS * with_benchmarks + _OF_SCORERS * with_scorers
    return own | {name: version(name) for name in used}
