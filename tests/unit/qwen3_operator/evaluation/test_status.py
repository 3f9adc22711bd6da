"""What came out, in status: verdict, gates, intervals; and nothing that a tenant made up."""

from typing import Any

import pytest

from qwen3_api.job.evaluate import (
    EvalComparison,
    EvalGateResult,
    EvalReport,
    EvalResult,
    GateVerdict,
    ReportVerdict,
)
from qwen3_api.v1alpha1.evaluation import EvalStatus, GateStatus, ResultStatus, Verdict
from qwen3_operator.evaluation.actions import EvalPlan
from support.evaluation_world import (
    QUESTIONS,
    build_eval,
    build_eval_job,
    build_report,
    conditions_of,
    plan,
    told,
)

GATES = [
    {
        "name": "better", "suite": "quiz", "metric": "ExactMatch", "baseline": "base",
        "minimumEffect": "0.1",
    },
    {"name": "floor", "suite": "quiz", "metric": "ExactMatch", "minimum": "0.6"},
]  # fmt: skip
GATED = build_eval(gates=GATES)


def gate(name: str, verdict: GateVerdict = "Passed", **changes: Any) -> EvalGateResult:
    """How the evaluator decided one."""
    values = {"estimate": 0.5, "low": 0.31, "high": 0.69, "samples": 20, "message": f"{name} so"}
    return EvalGateResult(name=name, verdict=verdict, **(values | changes))


def finish(verdict: ReportVerdict, *gates: EvalGateResult) -> EvalPlan:
    """The evaluation with both gates, and a report."""
    report = build_report(verdict=verdict, gates=list(gates))
    return plan(GATED, job=build_eval_job(complete=True, ttl=86400), report=report)


def status_of(found: EvalPlan) -> EvalStatus:
    """As the API server would take it."""
    assert found.status is not None
    return EvalStatus.model_validate(found.status.to_wire())


# --- verdicts


@pytest.mark.parametrize(
    ("verdict", "better", "floor", "expected", "condition"),
    [
        ("Passed", "Passed", "Passed", Verdict.PASSED, ("True", "GatesPassed")),
        ("Failed", "Failed", "Passed", Verdict.FAILED, ("False", "GateFailed")),
        ("Failed", "Inconclusive", "Failed", Verdict.FAILED, ("False", "GateFailed")),
        (
            "Inconclusive", "Passed", "Inconclusive", Verdict.INCONCLUSIVE,
            ("False", "GateInconclusive"),
        ),
        # A report that contradicts itself: the worse word counts.
        ("Passed", "Failed", "Passed", Verdict.FAILED, ("False", "GateFailed")),
        (
            "Completed", "Inconclusive", "Passed", Verdict.INCONCLUSIVE,
            ("False", "GateInconclusive"),
        ),
        ("Failed", "Passed", "Passed", Verdict.FAILED, ("False", "GateFailed")),
    ],
)  # fmt: skip
def test_verdict(
    verdict: ReportVerdict,
    better: GateVerdict,
    floor: GateVerdict,
    expected: Verdict,
    condition: tuple[str, str],
) -> None:
    found = finish(verdict, gate("better", better), gate("floor", floor))
    assert status_of(found).verdict is expected
    assert told(found)["GatePassed"] == condition
    assert told(found)["Succeeded"] == ("True", "Completed"), "it ran; what came out is no error"
    assert told(found)["Ready"] == ("True", "Completed")
    assert "Stalled" not in told(found)


def test_without_gates_there_is_nothing_to_pass() -> None:
    found = plan(report=build_report(verdict="Failed"))
    assert status_of(found).verdict is Verdict.COMPLETED
    assert "GatePassed" not in told(found)


def test_the_message_names_the_gates_that_did_not_pass() -> None:
    found = finish("Failed", gate("better", "Failed"), gate("floor"))
    assert conditions_of(found)["GatePassed"].message == "better (Failed): better so"
    (ran, refused) = found.events
    assert (ran.type, ran.message) == ("Normal", "Failed: score 0.7500, delta +0.5000")
    assert (refused.type, refused.reason) == ("Warning", "GateFailed")
    passed = finish("Passed", gate("better"), gate("floor"))
    assert [e.type for e in passed.events] == ["Normal", "Normal"]
    assert conditions_of(passed)["GatePassed"].message == "2 gates passed"


def test_until_it_is_decided_gates_are_unknown() -> None:
    assert told(plan(GATED))["GatePassed"] == ("Unknown", "Scheduling")
    failed = plan(GATED, job=build_eval_job(failed=True))
    assert told(failed)["GatePassed"] == ("Unknown", "EvaluatorFailed")


def test_gates_in_numbers() -> None:
    found = finish(
        "Inconclusive",
        gate("better", "Inconclusive", low=-0.1, needed_samples=400),
        gate("floor", estimate=0.75, low=0.61, high=None),
    )
    assert [g.to_wire() for g in status_of(found).gates] == [
        {
            "name": "better",
            "verdict": "Inconclusive",
            "estimate": "+0.5000",
            "ciLow": "-0.1000",
            "ciHigh": "+0.6900",
            "samples": 20,
            "neededSamples": 400,
            "message": "better so",
        },
        {
            "name": "floor",
            "verdict": "Passed",
            "estimate": "0.7500",
            "ciLow": "0.6100",
            "samples": 20,
            "message": "floor so",
        },
    ]


def test_a_second_look_changes_nothing() -> None:
    first = finish("Failed", gate("better", "Failed"), gate("floor"))
    report = build_report(verdict="Failed", gates=[gate("better", "Failed"), gate("floor")])
    again = plan(
        build_eval(first.status, gates=GATES),
        job=build_eval_job(complete=True, ttl=86400),
        report=report,
    )
    assert status_of(again) == status_of(first)
    assert again.events == ()


# --- results


def result(model: str, value: float, metric: Any = "ExactMatch", **changes: Any) -> EvalResult:
    """One number of the suite quiz."""
    values: dict[str, Any] = {"low": value - 0.1, "high": value + 0.1, "samples": 20}
    return EvalResult(suite="quiz", metric=metric, model=model, value=value, **(values | changes))


def compare(baseline: str, delta: float, low: float, high: float) -> EvalComparison:
    """The target against a baseline by ExactMatch."""
    return EvalComparison(
        suite="quiz", metric="ExactMatch", baseline=baseline,
        delta=delta, low=low, high=high, better=10, worse=2, samples=20,
    )  # fmt: skip


def rows(report: EvalReport, **spec: Any) -> list[dict[str, Any]]:
    """status.results of an evaluation, in wire names."""
    return [r.to_wire() for r in status_of(plan(build_eval(**spec), report=report)).results]


def test_the_interval_is_of_the_difference() -> None:
    report = build_report(
        results=[result("target", 0.75), result("base", 0.25)],
        comparisons=[compare("base", 0.5, 0.2, 0.8), compare("stranger", 0.9, 0.9, 0.9)],
    )
    assert rows(report) == [
        {
            "suite": "quiz",
            "metric": "ExactMatch",
            "baselineName": "base",
            "value": "0.7500",
            "baseline": "0.2500",
            "delta": "+0.5000",
            "ciLow": "+0.2000",
            "ciHigh": "+0.8000",
            "samples": 20,
        }
    ]


def test_without_a_baseline_it_is_of_the_value() -> None:
    (row,) = rows(build_report(results=[result("target", 0.75)]), baselines=[])
    assert (row["ciLow"], row["ciHigh"]) == ("0.6500", "0.8500")
    assert "delta" not in row
    assert "baselineName" not in row


def test_judge_win_has_a_value_for_each_baseline() -> None:
    judge = {"endpoints": [{"name": "j", "url": "http://j/v1", "model": "j"}]}
    questions = QUESTIONS | {"metrics": ["JudgeWin"], "judge": judge}
    other = {"name": "old", "type": "FineTune", "fineTune": {"name": "bot"}}
    report = build_report(
        results=[
            result("target", 0.75, "JudgeWin", baseline="base"),
            result("target", 0.5, "JudgeWin", baseline="old"),
            result("target", 0.1, "JudgeWin", baseline="stranger"),
        ]
    )
    found = rows(
        report,
        suites=[{"name": "quiz", "questions": questions}],
        baselines=[{"name": "base", "type": "BaseModel"}, other],
    )
    assert [(r["baselineName"], r["value"], r["ciLow"]) for r in found] == [
        ("base", "0.7500", "0.6500"),
        ("old", "0.5000", "0.4000"),
    ]
    assert [r for r in found if "delta" in r or "baseline" in r] == []


# --- what a tenant may have written


def test_names_that_the_spec_does_not_have_are_dropped() -> None:
    report = build_report(
        verdict="Passed",
        results=[
            result("target", 0.75),
            result("target", 0.9, "F1"),
            result("stranger", 0.9),
            EvalResult(suite="s" * 900, metric="F1", model="target", value=1, samples=1),
        ],
        gates=[gate("floor"), gate("g" * 900, message=""), gate("better", message="x" * 512)],
    )
    found = plan(GATED, report=report)
    status = status_of(found)
    assert [(r.metric, r.baseline) for r in status.results] == [("ExactMatch", None)]
    assert [g.name for g in status.gates] == ["better", "floor"]


def test_a_gate_that_the_report_leaves_out_is_not_passed() -> None:
    found = finish("Passed", gate("floor"))
    assert status_of(found).verdict is Verdict.INCONCLUSIVE
    assert "better (Inconclusive)" in conditions_of(found)["GatePassed"].message
    assert status_of(found).gates[0] == GateStatus(
        name="better",
        verdict="Inconclusive",
        message="the report has no decision for this gate",
    )


@pytest.mark.parametrize("value", [1e308, -1e308, float("nan"), float("inf")])
def test_numbers_are_bounded(value: float) -> None:
    numbers: dict[str, Any] = {"estimate": value, "low": value, "high": value, "samples": 10**40}
    report = build_report(
        results=[result("target", 0.5), result("base", value)],
        comparisons=[compare("base", value, value, value)],
        gates=[gate("better", needed_samples=10**40, **numbers), gate("floor", **numbers)],
    )
    found = plan(GATED, report=report)
    assert status_of(found).gates[0].samples == 2**53
    assert all(isinstance(r, ResultStatus) for r in status_of(found).results)


def test_not_more_rows_than_status_holds() -> None:
    metrics = ["ExactMatch", "F1", "BLEU", "RougeL", "RegexMatch", "AssistantLoss"]
    names = [f"s{n}" for n in range(8)]
    suites = [{"name": n, "questions": QUESTIONS | {"metrics": metrics}} for n in names]
    other = {"name": "old", "type": "FineTune", "fineTune": {"name": "bot"}}
    results = [
        EvalResult.model_validate(
            {"suite": n, "metric": m, "model": "target", "value": 0.5, "samples": 3}
        )
        for n in names
        for m in metrics
    ]
    found = rows(
        build_report(results=results),
        suites=suites,
        baselines=[{"name": "base", "type": "BaseModel"}, other],
    )
    assert len(found) == 64
