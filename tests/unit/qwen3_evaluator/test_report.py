"""Documents: the fingerprint that decides what is taken over, progress, termination message."""

from importlib.metadata import version
from typing import Any

import pytest

from qwen3_api.data_sources import FileData
from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import EvalEndpoint, EvalJob, EvalSample, EvalSuite
from qwen3_api.metrics import Metric
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.questions import Question, QuestionSet
from qwen3_evaluator.report import (
    build_progress,
    build_report,
    compute_fingerprint,
    parse_samples,
    plan_units,
    render_samples,
)
from support.evaluations import build_gate

SUITE = EvalSuite(
    name="one",
    data=FileData(path="/q", source="q"),
    metrics=["ExactMatch"],
    limit=None,
    max_tokens=8,
    temperature=0,
    thinking=False,
    seed=1,
)
JOB = EvalJob(
    namespace="a",
    name="e",
    uid="u",
    target=EvalEndpoint(name="target", base_url="http://p/v1", model="a.b.12345678"),
    baselines=[EvalEndpoint(name="base", base_url="http://p/v1", model="base")],
    suites=[SUITE],
    concurrency=1,
    output=S3Location(endpoint=None, region=None, bucket="b", prefix="p"),
)
DATA = {"one": "0" * 64}
SETS = {"one": QuestionSet([Question(1, "q", "a"), Question(3, "r", "b")], "0" * 64)}


@pytest.mark.parametrize(
    "change",
    [
        {"target": JOB.target.model_copy(update={"model": "a.b.87654321"})},
        {"baselines": []},
        {"suites": [SUITE.model_copy(update={"temperature": 0.5})]},
        {"suites": [SUITE.model_copy(update={"metrics": [Metric.ASSISTANT_LOSS]})]},
        {"suites": [SUITE.model_copy(update={"thinking": True})]},
    ],
)
def test_answers_to_another_order_are_not_taken_over(change: dict[str, Any]) -> None:
    other = JOB.model_copy(update=change)
    assert compute_fingerprint(other, DATA) != compute_fingerprint(JOB, DATA)


def test_answers_to_other_data_are_not_taken_over() -> None:
    assert compute_fingerprint(JOB, {"one": "1" * 64}) != compute_fingerprint(JOB, DATA)


def test_answers_are_taken_over_whatever_the_speed() -> None:
    other = JOB.model_copy(update={"concurrency": 64, "progress_seconds": 1})
    assert compute_fingerprint(other, DATA) == compute_fingerprint(JOB, DATA)


def test_the_models_take_turns() -> None:
    assert [unit.key for unit in plan_units(JOB, SETS)] == [
        ("one", "target", 1, 0),
        ("one", "base", 1, 0),
        ("one", "target", 3, 0),
        ("one", "base", 3, 0),
    ]


def test_each_question_is_asked_as_often_as_the_suite_says() -> None:
    suite = SUITE.model_copy(update={"samples": 2})
    units = plan_units(JOB.model_copy(update={"suites": [suite]}), SETS)
    assert [unit.key[1:] for unit in units[:5]] == [
        ("target", 1, 0),
        ("base", 1, 0),
        ("target", 1, 1),
        ("base", 1, 1),
        ("target", 3, 0),
    ]
    assert len(units) == 8
    # The loss of an expected answer is the same each time.
    suite = suite.model_copy(update={"metrics": [Metric.ASSISTANT_LOSS]})
    assert len(plan_units(JOB.model_copy(update={"suites": [suite]}), SETS)) == 4


def sample(model: str, line: int, right: bool) -> EvalSample:
    return EvalSample(
        suite="one",
        model=model,
        line=line,
        category="zh",
        question="问\u2028题\n?",
        expected="x",
        answer="x",
        scores={"ExactMatch": float(right)},
        loss=None,
        answer_tokens=None,
    )


def test_samples_survive_the_file() -> None:
    # U+2028 ends a line for str.splitlines, but not in JSONL.
    samples = [sample("target", 1, True), sample("base", 1, False)]
    assert parse_samples(render_samples(samples)) == samples


def test_the_report_names_data_model_and_versions() -> None:
    samples = [sample("target", 1, True), sample("target", 3, False), sample("base", 1, False)]
    report = build_report(JOB, SETS, samples, started="s", finished="f")
    assert [(r.model, r.value, r.samples) for r in report.results] == [
        ("target", 0.5, 2),
        ("base", 0.0, 1),
    ]
    assert report.data_sha256 == DATA
    assert report.target_model == "a.b.12345678"
    assert (report.outcome, report.verdict, report.judge) == ("Completed", "Completed", None)
    assert [(c.metric, c.baseline, c.delta, c.samples) for c in report.comparisons] == [
        ("ExactMatch", "base", 1.0, 1)
    ]
    assert {"python", "aiohttp", "scipy", "sacrebleu"} <= set(report.versions)
    assert report.versions["qwen3-evaluator"] == version("qwen3-evaluator")


def test_the_verdict_is_that_of_the_gates() -> None:
    gates = [
        build_gate(name="low", minimum=0.01),
        build_gate(name="none", baseline="base", minimum_effect=0.1),
    ]
    job = JOB.model_copy(update={"gates": gates})
    samples = [sample("target", 1, True), sample("target", 3, True), sample("base", 1, False)]
    report = build_report(job, SETS, samples, started="s", finished="f")
    assert report.verdict == "Inconclusive"
    assert [(g.name, g.verdict) for g in report.gates] == [
        ("low", "Passed"),
        ("none", "Inconclusive"),
    ]


@pytest.mark.parametrize(
    ("asked", "seconds", "eta"),
    [(0, 5.0, None), (10, 20.0, 140), (30, 60.0, 140)],
)
def test_the_eta_counts_this_attempt_only(asked: int, seconds: float, eta: int | None) -> None:
    progress = build_progress(
        completed=30, total=100, asked=asked, seconds=seconds, suite="one", now="t"
    )
    assert (progress.completed, progress.total, progress.eta_seconds) == (30, 100, eta)


def test_an_endless_message_is_cut() -> None:
    error = FailureError(Reason.EVALUATOR_FAILED, "m" * 5000, hint="h" * 5000)
    assert (len(error.failure.message), len(error.failure.hint)) == (1024, 1024)
    assert error.failure.message.endswith("…")
