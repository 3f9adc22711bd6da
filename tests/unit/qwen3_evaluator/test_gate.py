"""Gates: the verdict at each side of each bound, what is said, and what several gates change."""

from typing import Any

import numpy as np
import pytest

from qwen3_api.job.evaluate import EvalGateResult, EvalJob
from qwen3_evaluator.gate import compare, decide_gates, decide_report, plan_questions
from qwen3_evaluator.scores import Scores
from qwen3_evaluator.statistics import Floats, Interval, wilson_interval
from support.evaluations import build_gate, build_job, build_sample


@pytest.mark.parametrize(
    ("bound", "low", "high", "verdict"),
    [
        ({"minimum": 0.7}, 0.7, 0.9, "Passed"),
        ({"minimum": 0.7}, 0.6, 0.9, "Inconclusive"),
        ({"minimum": 0.7}, 0.5, 0.7, "Inconclusive"),
        ({"minimum": 0.7}, 0.5, 0.69, "Failed"),
        ({"maximum": 1.5}, 1.0, 1.5, "Passed"),
        ({"maximum": 1.5}, 1.0, 1.6, "Inconclusive"),
        ({"maximum": 1.5}, 1.5, 1.6, "Inconclusive"),
        ({"maximum": 1.5}, 1.51, 1.6, "Failed"),
        ({"max_regression": 0.02}, -0.01, 0.1, "Passed"),
        ({"max_regression": 0.02}, -0.02, 0.1, "Inconclusive"),
        ({"max_regression": 0.02}, -0.1, -0.02, "Inconclusive"),
        ({"max_regression": 0.02}, -0.1, -0.03, "Failed"),
        ({"minimum_effect": 0.05}, 0.01, 0.1, "Passed"),
        ({"minimum_effect": 0.05}, 0.01, 0.05, "Passed"),
        ({"minimum_effect": 0.05}, 0.0, 0.1, "Inconclusive"),
        ({"minimum_effect": 0.05}, 0.01, 0.04, "Failed"),
        ({"minimum_effect": 0.05}, -0.1, 0.04, "Failed"),
    ],
)
def test_the_bounds_decide(bound: dict[str, float], low: float, high: float, verdict: str) -> None:
    bounds = Interval(low, high)
    assert compare(build_gate(**bound), bounds, bounds) == verdict


def test_a_refusal_takes_the_wider_bounds() -> None:
    gate = build_gate(minimum=0.7)
    assert compare(gate, Interval(0.6, 0.69), Interval(0.55, 0.71)) == "Inconclusive"
    # The effect is ruled out at the gate's own confidence, so it doesn't pass either.
    gate = build_gate(minimum_effect=0.05)
    assert compare(gate, Interval(0.01, 0.04), Interval(0.0, 0.06)) == "Inconclusive"


def decide(job: EvalJob, **models: Floats) -> list[EvalGateResult]:
    """Gates of a job on scores of ExactMatch by question, by model."""
    samples = [
        build_sample(model, line, scores={"ExactMatch": float(score)})
        for model, scores in models.items()
        for line, score in enumerate(scores, 1)
    ]
    return decide_gates(job, Scores.from_samples(samples))


def right(successes: int, n: int) -> Floats:
    return np.array([1.0] * successes + [0.0] * (n - successes))


def test_a_minimum_is_held_against_the_lower_bound_of_the_value() -> None:
    gates = [build_gate(minimum=m, confidence=0.9) for m in (0.8, 0.88, 0.9)]
    low, high = wilson_interval(90, 100, 0.8)
    passed, held, never = decide(build_job(gates=gates), target=right(90, 100), base=right(1, 100))
    assert (passed.verdict, passed.estimate, passed.samples) == ("Passed", 0.9, 100)
    assert (passed.low, passed.high) == pytest.approx((low, high))
    assert passed.message == (
        "ExactMatch of the target on suite one is 0.9 from 100 questions (with 90 % confidence at "
        f"least {low:.4g}, and likewise at most {high:.4g}): it reaches the minimum of 0.8"
    )
    assert held.verdict == "Inconclusive"
    assert held.needed_samples is not None
    assert f"; about {held.needed_samples} questions could" in held.message
    # At the minimum itself no number of questions could.
    assert (never.verdict, never.needed_samples) == ("Inconclusive", None)


def test_a_single_refusal_needs_no_correction_and_one_of_many_does() -> None:
    gate = build_gate(minimum=0.8)
    (alone,) = decide(build_job(gates=[gate]), target=right(72, 100))
    assert alone.verdict == "Failed"
    assert "stays below the minimum of 0.8" in alone.message
    many = decide(build_job(gates=[gate] * 10), target=right(72, 100))
    assert {g.verdict for g in many} == {"Inconclusive"}
    assert "a refusal takes 99.5 % confidence" in many[0].message
    # The bounds that are told are at the gate's confidence all the same.
    assert (many[0].low, many[0].high) == (alone.low, alone.high)
    assert {g.verdict for g in decide(build_job(gates=[gate] * 10), target=right(60, 100))} == {
        "Failed"
    }


def test_a_comparison_is_paired() -> None:
    gates = [build_gate(baseline="base", minimum_effect=0.02)]
    base = np.tile([1.0, 0.0], 100)
    better = base.copy()
    better[1:20:2] = 1
    (paired,) = decide(build_job(gates=gates), target=better, base=base)
    assert paired.verdict == "Passed"
    assert paired.estimate == pytest.approx(0.05)
    assert "improvement over base in ExactMatch on suite one is 0.05" in paired.message
    (shuffled,) = decide(build_job(gates=gates), target=better, base=np.roll(base, 1))
    assert (shuffled.verdict, shuffled.estimate) == ("Inconclusive", pytest.approx(0.05))
    assert shuffled.needed_samples is not None
    assert shuffled.needed_samples > 200


def test_questions_that_one_side_has_no_score_of_are_left_out() -> None:
    gates = [build_gate(baseline="base", max_regression=0.5)]
    (found,) = decide(build_job(gates=gates), target=right(30, 30), base=right(20, 20))
    assert found.samples == 20


def decide_loss(gate: dict[str, Any], target: Floats, base: Floats) -> EvalGateResult:
    job = build_job("AssistantLoss", gates=[build_gate(metric="AssistantLoss", **gate)])
    samples = [
        build_sample(model, line, loss=float(loss), answer_tokens=10)
        for model, losses in (("target", target), ("base", base))
        for line, loss in enumerate(losses, 1)
    ]
    (found,) = decide_gates(job, Scores.from_samples(samples))
    return found


LOSSES: Floats = np.random.default_rng(4).gamma(4, 5, 80)


def test_less_loss_is_an_improvement() -> None:
    better = LOSSES - np.random.default_rng(5).uniform(1, 2, 80)
    gate = {"baseline": "base", "minimum_effect": 0.05}
    found = decide_loss(gate, better, LOSSES)
    assert found.verdict == "Passed"
    assert found.estimate == pytest.approx((LOSSES.sum() - better.sum()) / 800)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.estimate < found.high
    assert decide_loss(gate, LOSSES, better).verdict == "Failed"
    regression = {"baseline": "base", "max_regression": 0.01}
    assert decide_loss(regression, better, LOSSES).verdict == "Passed"
    assert decide_loss(regression, LOSSES, better).verdict == "Failed"


def test_a_maximum_is_held_against_the_upper_bound() -> None:
    assert decide_loss({"maximum": 3.0}, LOSSES, LOSSES).verdict == "Passed"
    held = decide_loss({"maximum": float(LOSSES.mean() / 10 + 0.05)}, LOSSES, LOSSES)
    assert held.verdict == "Inconclusive"
    assert held.needed_samples is not None
    assert decide_loss({"maximum": 1.0}, LOSSES, LOSSES).verdict == "Failed"


def test_losses_that_are_all_the_same_tell_nothing() -> None:
    same = np.full(40, 20.0)
    found = decide_loss({"maximum": 3.0}, same, same)
    assert (found.verdict, found.low, found.needed_samples) == ("Inconclusive", None, None)
    assert "all are the same" in found.message


def test_too_few_questions_are_inconclusive_and_say_how_many_are_needed() -> None:
    found = decide_loss({"maximum": 3.0}, LOSSES[:19], LOSSES[:19])
    assert (found.verdict, found.samples, found.needed_samples) == ("Inconclusive", 19, 20)
    assert found.estimate == pytest.approx(LOSSES[:19].sum() / 190)


@pytest.mark.parametrize("fail", [True, False])
def test_what_was_not_measured_is_inconclusive(fail: bool) -> None:
    gate = build_gate(suite="two", minimum=0.5, fail_on_insufficient=fail)
    (found,) = decide(build_job(gates=[gate]), target=right(30, 30))
    assert found.verdict == ("Failed" if fail else "Inconclusive")
    assert (found.estimate, found.low, found.high, found.samples) == (None, None, None, 0)
    assert "ExactMatch on suite two was not measured" in found.message
    assert ("counts that as failed" in found.message) is fail


def test_insufficient_data_can_count_as_failed() -> None:
    gate = build_gate(minimum=0.85, fail_on_insufficient=True)
    (found,) = decide(build_job(gates=[gate]), target=right(88, 100))
    assert (found.verdict, found.needed_samples) == ("Failed", None)
    assert found.message.endswith("questions could; this gate counts that as failed")


def wins(base: float, incumbent: float, n: int = 200) -> EvalGateResult:
    job = build_job(
        "JudgeWin",
        baselines=("base", "incumbent"),
        gates=[build_gate(metric="JudgeWin", minimum=0.5)],
    )
    samples = [
        build_sample(
            "target",
            line,
            opinions=[
                {"judge": "j", "baseline": name, "score": float(line <= share * n), "reason": ""}
                for name, share in (("base", base), ("incumbent", incumbent))
            ],
        )
        for line in range(1, n + 1)
    ]
    (found,) = decide_gates(job, Scores.from_samples(samples))
    return found


def test_of_several_baselines_the_worst_decides() -> None:
    assert wins(0.7, 0.8).verdict == "Passed"
    assert wins(0.7, 0.8).estimate == pytest.approx(0.7)
    assert "against base on suite one" in wins(0.7, 0.8).message
    assert wins(0.7, 0.5).verdict == "Inconclusive"
    assert wins(0.3, 0.7).verdict == "Failed"
    assert wins(0.7, 0.3).verdict == "Failed"
    assert "against incumbent" in wins(0.7, 0.3).message


def test_the_report_is_as_good_as_its_worst_gate() -> None:
    def result(verdict: str) -> EvalGateResult:
        return EvalGateResult.model_validate(
            {"name": "g", "verdict": verdict, "estimate": 0, "low": 0, "high": 0}
            | {"samples": 1, "message": "m"}
        )

    verdicts = {
        (): "Completed",
        ("Passed", "Passed"): "Passed",
        ("Passed", "Inconclusive"): "Inconclusive",
        ("Failed", "Inconclusive", "Passed"): "Failed",
    }
    for gates, verdict in verdicts.items():
        assert decide_report([result(g) for g in gates]) == verdict


def test_the_planned_number_is_connors() -> None:
    # Discordance 0.3, effect 0.1, one-sided 5 %, power 80 %: ((1.645·√0.3 + 0.842·√0.29) / 0.1)²,
    # which is 183.7.
    assert plan_questions(0.1, 0.29**0.5, 0.95) == 184
    assert plan_questions(-0.1, 0.29**0.5, 0.95) == 184
    assert plan_questions(0.0, 0.5, 0.95) is None
    assert plan_questions(0.1, 0.0, 0.95) is None


def test_models_that_answer_alike_need_the_questions_that_rule_an_effect_out() -> None:
    gate = build_gate(baseline="base", minimum_effect=0.05)
    (few,) = decide(build_job(gates=[gate]), target=right(20, 30), base=right(20, 30))
    assert (few.verdict, few.estimate) == ("Inconclusive", 0)
    assert few.needed_samples is not None
    n = few.needed_samples
    assert 30 < n < 1000
    (more,) = decide(build_job(gates=[gate]), target=right(20, n), base=right(20, n))
    assert more.verdict == "Failed"
