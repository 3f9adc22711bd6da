"""Gates: whether the data show what a gate asks for. Pure.

A gate is decided by one-sided confidence bounds, never by the estimate alone:
  minimum m         Passed: low >= m      Failed: high < m
  maximum m         Passed: high <= m     Failed: low > m
  maxRegression r   Passed: low > -r      Failed: high < -r   (of the improvement)
  minimumEffect e   Passed: low > 0 and high >= e             Failed: high < e
and is Inconclusive otherwise. The improvement is target minus baseline, with the sign turned for a
loss.

Several gates. A candidate is promoted only if all of them pass, an intersection-union test: the
chance of a false promotion is at most that of its least strict gate, so each is tested at its own
confidence without a correction (Berger 1982, Technometrics 24:295). It is refused if any of them
fails, a union: with m gates, m chances to refuse a good candidate. So failing takes bounds at
1 - (1 - confidence) / m (Bonferroni; Dunn 1961, J. Am. Stat. Assoc. 56:52).
"""

import math
from collections.abc import Sequence

from scipy import stats

from qwen3_api.job.evaluate import (
    EvalGate,
    EvalGateResult,
    EvalJob,
    GateVerdict,
    ReportVerdict,
)
from qwen3_evaluator.scores import Scores
from qwen3_evaluator.statistics import MIN_QUESTIONS, Interval, Quantity

POWER = 0.8
"""Chance that `needed_samples` questions tell."""
_MESSAGE_LIMIT = 512
_SEVERITY: tuple[GateVerdict, ...] = ("Passed", "Inconclusive", "Failed")


def decide_gates(job: EvalJob, scores: Scores) -> list[EvalGateResult]:
    """A result per gate of the job, in its order."""
    return [decide_gate(gate, job, scores) for gate in job.gates]


def decide_report(gates: Sequence[EvalGateResult]) -> ReportVerdict:
    """Completed without gates; else the worst of their verdicts."""
    if not gates:
        return "Completed"
    return max((gate.verdict for gate in gates), key=_SEVERITY.index)


def decide_gate(gate: EvalGate, job: EvalJob, scores: Scores) -> EvalGateResult:
    """Decide one of the job's gates.

    A metric per baseline has as many values and all must pass; the result is that of the worst.
    """
    found = _find_quantities(gate, job, scores)
    chances = len(job.gates) * max(1, len(found))
    results = [_decide(gate, _Evidence(gate, quantity, chances), what) for what, quantity in found]
    if not results:
        text = f"{gate.metric} on suite {gate.suite} was not measured: the data can't decide"
        results = [_result(gate, "Inconclusive", None, text)]
    return max(results, key=_badness)


def _badness(result: EvalGateResult) -> tuple[int, float]:
    estimate = math.inf if result.estimate is None else result.estimate
    return _SEVERITY.index(result.verdict), -estimate


def _find_quantities(gate: EvalGate, job: EvalJob, scores: Scores) -> list[tuple[str, Quantity]]:
    """What the gate looks at, each with its name in words."""
    target = job.target.name
    place = f"on suite {gate.suite}"
    found: list[tuple[str, Quantity | None]]
    if gate.metric.facts.per_baseline:
        found = [
            (
                f"{gate.metric} of the target against {b.name} {place}",
                scores.value(gate.suite, gate.metric, target, b.name),
            )
            for b in job.baselines
        ]
    elif gate.baseline is not None:
        found = [
            (
                f"the target's improvement over {gate.baseline} in {gate.metric} {place}",
                scores.difference(gate.suite, gate.metric, target, gate.baseline),
            )
        ]
    else:
        what = f"{gate.metric} of the target {place}"
        found = [(what, scores.value(gate.suite, gate.metric, target))]
    return [(what, quantity) for what, quantity in found if quantity is not None]


class _Evidence:
    """What is known of a quantity; of a difference the improvement, whose sign is turned for a
    loss."""

    def __init__(self, gate: EvalGate, quantity: Quantity, chances: int) -> None:
        """chances: how many looks at the data could refuse a good candidate."""
        turned = gate.baseline is not None and gate.metric.facts.lower_is_better
        self._quantity = quantity
        self._sign = -1 if turned else 1
        self.n = quantity.n
        self.estimate = self._sign * quantity.estimate
        self.confidence = gate.confidence
        self.refusal_confidence = 1 - (1 - gate.confidence) / chances
        self.bounds = self._bounds(self.confidence)
        self.refusal_bounds = self._bounds(self.refusal_confidence)

    def _bounds(self, confidence: float) -> Interval | None:
        """Lower and upper bound, each at this one-sided confidence."""
        found = self._quantity.interval(max(2 * confidence - 1, 0.0))
        if found is None or self._sign == 1:
            return found
        return Interval(-found.high, -found.low)

    @property
    def deviation(self) -> float:
        """Standard deviation of a question's contribution.

        Where all questions were the same it is what the width of the interval amounts to.
        """
        z = float(stats.norm.ppf(self.confidence))
        if self._quantity.deviation > 0 or self.bounds is None or z == 0:
            return self._quantity.deviation
        return (self.bounds.high - self.bounds.low) / (2 * z) * math.sqrt(self.n)


def _decide(gate: EvalGate, evidence: _Evidence, what: str) -> EvalGateResult:
    bounds, refusal = evidence.bounds, evidence.refusal_bounds
    if bounds is None or refusal is None:
        few = evidence.n < MIN_QUESTIONS
        why = (
            f"fewer than {MIN_QUESTIONS} don't give an interval"
            if few
            else "all are the same, so nothing shows how much others would differ"
        )
        text = f"{what} is {_number(evidence.estimate)} from {evidence.n} questions; {why}"
        return _result(gate, "Inconclusive", evidence, text, MIN_QUESTIONS if few else None)
    verdict = compare(gate, bounds, refusal)
    shown = evidence.refusal_confidence if verdict == "Failed" else evidence.confidence
    low, high = refusal if verdict == "Failed" else bounds
    text = (
        f"{what} is {_number(evidence.estimate)} from {evidence.n} questions (with "
        f"{100 * shown:.4g} % confidence at least {_number(low)}, and likewise at most "
        f"{_number(high)}): {_conclude(gate, verdict)}"
    )
    needed = None
    if verdict == "Inconclusive":
        needed = count_needed(gate, evidence)
        text += f"; about {needed} questions could" if needed else ""
        if compare(gate, bounds, bounds) == "Failed":
            text += (
                f"; with so many gates a refusal takes {100 * evidence.refusal_confidence:.4g} % "
                "confidence"
            )
    return _result(gate, verdict, evidence, text, needed)


def compare(gate: EvalGate, bounds: Interval, refusal: Interval) -> GateVerdict:
    """The verdict.

    bounds: at the gate's confidence, of the value or of the improvement.
    refusal: at the confidence that a refusal takes.
    """
    if gate.minimum is not None:
        passed, failed = bounds.low >= gate.minimum, refusal.high < gate.minimum
    elif gate.maximum is not None:
        passed, failed = bounds.high <= gate.maximum, refusal.low > gate.maximum
    elif gate.max_regression is not None:
        passed, failed = bounds.low > -gate.max_regression, refusal.high < -gate.max_regression
    else:
        effect = gate.minimum_effect or 0.0
        passed, failed = bounds.low > 0 and bounds.high >= effect, refusal.high < effect
    if failed:
        return "Failed"
    return "Passed" if passed else "Inconclusive"


def count_needed(gate: EvalGate, evidence: _Evidence) -> int | None:
    """How many questions could tell, if estimate and spread stay what they are; None: no number."""
    estimate, deviation = evidence.estimate, evidence.deviation
    passing, failing = _boundaries(gate)
    better = -1 if gate.maximum is not None else 1
    counts = []
    if better * (estimate - passing) > 0:
        counts.append(plan_questions(estimate - passing, deviation, evidence.confidence))
    if better * (estimate - failing) < 0:
        counts.append(plan_questions(estimate - failing, deviation, evidence.refusal_confidence))
    if gate.minimum_effect is not None and len(counts) == 2:
        # Between nothing and the effect: with so many questions that it is told from nothing, it
        # must not have been told from the effect.
        z = float(stats.norm.ppf(evidence.confidence))
        reach = estimate * (1 + z / (z + float(stats.norm.ppf(POWER))))
        counts = counts if reach >= gate.minimum_effect else counts[1:]
    known = [count for count in counts if count is not None]
    return max(min(known), evidence.n + 1) if known else None


def _boundaries(gate: EvalGate) -> tuple[float, float]:
    """What the estimate must be told from to pass, and to fail."""
    if gate.minimum_effect is not None:
        return 0.0, gate.minimum_effect
    for bound in (gate.minimum, gate.maximum):
        if bound is not None:
            return bound, bound
    regression = gate.max_regression or 0.0
    return -regression, -regression


def plan_questions(
    distance: float, deviation: float, confidence: float, power: float = POWER
) -> int | None:
    """Questions that tell a value from a boundary so far away, with a one-sided bound.

    deviation: standard deviation of a question's contribution.

    Normal approximation, as Connor 1987 (Biometrics 43:207) has it for paired proportions:
    ((z_confidence · √(s² + d²) + z_power · s) / d)²; s² + d² is the variance around the boundary.
    Miller 2024 (arXiv 2411.00640, section 5) uses the same for evaluations, with s² for both. None
    when the distance is as good as none.
    """
    if deviation <= 0 or abs(distance) < 1e-4 * deviation:
        return None
    spread = math.hypot(deviation, distance)
    numerator = (
        float(stats.norm.ppf(confidence)) * spread + float(stats.norm.ppf(power)) * deviation
    )
    return math.ceil((numerator / distance) ** 2)


def _conclude(gate: EvalGate, verdict: GateVerdict) -> str:
    if gate.minimum is not None:
        bound = _number(gate.minimum)
        phrases = (
            f"it reaches the minimum of {bound}",
            f"it stays below the minimum of {bound}",
            f"the data can't decide whether it reaches the minimum of {bound}",
        )
    elif gate.maximum is not None:
        bound = _number(gate.maximum)
        phrases = (
            f"it keeps to the maximum of {bound}",
            f"it exceeds the maximum of {bound}",
            f"the data can't decide whether it keeps to the maximum of {bound}",
        )
    elif gate.max_regression is not None:
        bound = _number(gate.max_regression)
        phrases = (
            f"it is not worse by {bound} or more",
            f"it is worse by more than the {bound} that are allowed",
            f"the data can't decide whether it is worse by more than the {bound} that are allowed",
        )
    else:
        bound = _number(gate.minimum_effect or 0.0)
        phrases = (
            "it is an improvement",
            f"an improvement of {bound} is ruled out",
            f"the data neither show an improvement nor rule one of {bound} out",
        )
    return phrases[("Passed", "Failed", "Inconclusive").index(verdict)]


def _result(
    gate: EvalGate,
    verdict: GateVerdict,
    evidence: _Evidence | None,
    text: str,
    needed: int | None = None,
) -> EvalGateResult:
    if verdict == "Inconclusive" and gate.fail_on_insufficient:
        verdict, needed = "Failed", None
        text += "; this gate counts that as failed"
    bounds = evidence.bounds if evidence else None
    return EvalGateResult(
        name=gate.name,
        verdict=verdict,
        estimate=evidence.estimate if evidence else None,
        low=bounds.low if bounds else None,
        high=bounds.high if bounds else None,
        samples=evidence.n if evidence else 0,
        needed_samples=needed,
        message=text[0].upper() + text[1:_MESSAGE_LIMIT],
    )


def _number(value: float) -> str:
    return f"{value:.4g}"
