"""What status says of a report. Pure.

The report lies where a tenant may write: only suites, metrics, baselines and gates of the spec are
taken over, numbers and texts are bounded, and the verdict is never better than its gates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from qwen3_api.job.evaluate import EvalComparison, EvalGateResult, EvalReport, EvalResult
from qwen3_api.metrics import Metric
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import EvalSpec, GateStatus, ResultStatus, Verdict
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_api.v1alpha1.suites import Gate
from qwen3_operator.evaluation.target import TARGET
from qwen3_operator.resources.conditions import Conditions
from qwen3_operator.resources.numbers import count, count_or_none, decimal

DIGITS = 4
MOST_RESULTS = 64
MOST_MESSAGE = 512
REFUSALS = {
    Verdict.FAILED: Reason.GATE_FAILED,
    Verdict.INCONCLUSIVE: Reason.GATE_INCONCLUSIVE,
}


@dataclass(frozen=True)
class _Numbers:
    """A report's numbers by what they are of."""

    results: dict[tuple[str, str, str, str | None], EvalResult]
    """By suite, metric, model and, for a metric per baseline, baseline."""
    comparisons: dict[tuple[str, str, str], EvalComparison]
    """By suite, metric and baseline."""


def build_results(spec: EvalSpec, report: EvalReport) -> list[ResultStatus]:
    """A row per suite, metric and baseline, in the order of the spec."""
    numbers = _Numbers(
        {(r.suite, r.metric, r.model, r.baseline): r for r in report.results},
        {(c.suite, c.metric, c.baseline): c for c in report.comparisons},
    )
    names: list[str | None] = [b.name for b in spec.baselines]
    rows = [
        row
        for suite in spec.suites
        for metric in suite.metrics
        for row in _build_rows(suite.name, metric, names or [None], numbers)
    ]
    return rows[:MOST_RESULTS]


def _build_rows(
    suite: str, metric: Metric, baselines: list[str | None], numbers: _Numbers
) -> Iterator[ResultStatus]:
    """The rows of one metric; none for what the report doesn't have or what is no number."""
    for baseline in baselines:
        # Such a metric is a comparison by itself.
        against = baseline if metric.facts.per_baseline else None
        mine = numbers.results.get((suite, metric, TARGET, against))
        value = decimal(mine.value, DIGITS) if mine is not None else None
        if mine is None or value is None:
            continue
        row = ResultStatus(
            suite=suite,
            metric=metric,
            baseline_name=baseline,
            value=value,
            samples=count(mine.samples),
        )
        if baseline is None or against is not None:
            yield row.model_copy(
                update={"ci_low": decimal(mine.low, DIGITS), "ci_high": decimal(mine.high, DIGITS)}
            )
            continue
        other = numbers.results.get((suite, metric, baseline, None))
        interval = numbers.comparisons.get((suite, metric, baseline))
        yield row.model_copy(
            update={
                "baseline": decimal(other.value, DIGITS) if other else None,
                "delta": decimal(mine.value - other.value, DIGITS, sign=True) if other else None,
                "ci_low": decimal(interval.low, DIGITS, sign=True) if interval else None,
                "ci_high": decimal(interval.high, DIGITS, sign=True) if interval else None,
            }
        )


def build_gates(spec: EvalSpec, report: EvalReport) -> list[GateStatus]:
    """The gates of the spec, as the report decided them."""
    found = {g.name: g for g in report.gates}
    return [_build_gate(gate, found.get(gate.name)) for gate in spec.gates]


def _build_gate(gate: Gate, found: EvalGateResult | None) -> GateStatus:
    if found is None:
        return GateStatus(
            name=gate.name,
            verdict=Verdict.INCONCLUSIVE,
            message="the report has no decision for this gate",
        )
    sign = gate.baseline is not None
    return GateStatus(
        name=gate.name,
        verdict=found.verdict,
        estimate=decimal(found.estimate, DIGITS, sign=sign),
        ci_low=decimal(found.low, DIGITS, sign=sign),
        ci_high=decimal(found.high, DIGITS, sign=sign),
        samples=count(found.samples),
        needed_samples=count_or_none(found.needed_samples),
        message=found.message[:MOST_MESSAGE],
    )


def decide_verdict(report: EvalReport, gates: list[GateStatus]) -> Verdict:
    """Completed without gates; else Failed if one failed, Inconclusive if one is, Passed. The
    report's own word counts where it is the worse one."""
    if not gates:
        return Verdict.COMPLETED
    said = {report.verdict, *(g.verdict for g in gates)}
    return next((v for v in REFUSALS if v.value in said), Verdict.PASSED)


def set_gate_condition(
    conditions: Conditions,
    spec: EvalSpec,
    verdict: Verdict | None,
    gates: list[GateStatus],
    reason: Reason,
) -> None:
    """GatePassed; absent without gates, Unknown until they are decided (then with `reason`)."""
    if not spec.gates:
        return
    type_ = ConditionType.GATE_PASSED
    if verdict is Verdict.PASSED:
        passed = f"{len(gates)} gates passed" if len(gates) > 1 else f"{gates[0].name} passed"
        conditions.set(type_, True, Reason.GATES_PASSED, passed)
    elif verdict in REFUSALS:
        conditions.set(type_, False, REFUSALS[verdict], _explain(gates))
    else:
        conditions.set(type_, ConditionStatus.UNKNOWN, reason)


def _explain(gates: list[GateStatus]) -> str:
    """The gates that did not pass, each with its words."""
    told = [f"{g.name} ({g.verdict}): {g.message}" for g in gates if g.verdict != Verdict.PASSED]
    return "; ".join(told) or "the evaluator failed it although each gate passed"
