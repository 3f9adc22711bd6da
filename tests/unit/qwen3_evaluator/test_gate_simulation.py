"""What the gates promise, by simulation: few false promotions, enough power, few false refusals.

Thousands of evaluations are drawn from known truths and decided as real ones are. Each bound of the
assertions is the promise and three standard errors of the simulation.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from qwen3_api.job.evaluate import EvalGate, EvalSample
from qwen3_evaluator.gate import compare, decide_gate, plan_questions
from qwen3_evaluator.scores import Scores
from qwen3_evaluator.statistics import Floats, Loss, LossDifference, MeanDifference, Quantity
from support.evaluations import build_gate, build_job, build_sample

RUNS = 4000
SLOW_RUNS = 200
"""With the bootstrap."""


def slack(share: float, runs: int) -> float:
    """Three standard errors of a simulated share."""
    return 3 * math.sqrt(share * (1 - share) / runs)


class World:
    """Decides tables of paired right and wrong answers by the whole way from samples to verdict."""

    def __init__(self, gate: EvalGate, n: int, gates: int = 1) -> None:
        self._job = build_job(gates=[gate] * gates)
        self._n = n
        self._answers = {
            (model, right): [
                build_sample(model, line, scores={"ExactMatch": right}) for line in range(n)
            ]
            for model in ("target", "base")
            for right in (0.0, 1.0)
        }

    def shares(self, better: float, worse: float, seed: int) -> dict[str, float]:
        """Shares of the verdicts.

        better, worse: on which share of all questions only the target, or the baseline, is right.
        """
        rng = np.random.default_rng(seed)
        p = [better, worse, (1 - better - worse) / 2, (1 - better - worse) / 2]
        tables, times = np.unique(
            rng.multinomial(self._n, p, size=RUNS)[:, :2], axis=0, return_counts=True
        )
        verdicts: Counter[str] = Counter()
        for (b, c), count in zip(tables, times, strict=True):
            scores = Scores.from_samples(self._samples(int(b), int(c)))
            verdicts[decide_gate(self._job.gates[0], self._job, scores).verdict] += int(count)
        return {name: verdicts[name] / RUNS for name in ("Passed", "Failed", "Inconclusive")}

    def _samples(self, better: int, worse: int) -> Iterator[EvalSample]:
        for line in range(self._n):
            both = float(line % 2)
            target = 1.0 if line < better else 0.0 if line < better + worse else both
            base = 0.0 if line < better else 1.0 if line < better + worse else both
            yield self._answers["target", target][line]
            yield self._answers["base", base][line]


@pytest.mark.parametrize(("n", "discordance"), [(40, 0.3), (100, 0.06), (200, 0.2)])
def test_equals_are_rarely_promoted(n: int, discordance: float) -> None:
    world = World(build_gate(baseline="base", minimum_effect=0.1), n)
    shares = world.shares(discordance / 2, discordance / 2, seed=1)
    assert shares["Passed"] <= 0.05 + slack(0.05, RUNS)


def test_the_stated_effect_is_found_with_the_planned_number_of_questions() -> None:
    better, worse = 0.2, 0.1
    effect = better - worse
    n = plan_questions(effect, math.sqrt(better + worse - effect**2), 0.95)
    assert n is not None
    world = World(build_gate(baseline="base", minimum_effect=effect), n)
    shares = world.shares(better, worse, seed=2)
    assert shares["Passed"] >= 0.80 - slack(0.8, RUNS)
    # Power is no gift: with half of the questions it isn't there.
    half = World(build_gate(baseline="base", minimum_effect=effect), n // 2)
    assert half.shares(better, worse, seed=2)["Passed"] < 0.65
    # A candidate with the effect is refused as rarely as an equal one is promoted.
    assert shares["Failed"] <= 0.05 + slack(0.05, RUNS)


def test_a_regression_at_the_limit_rarely_passes_and_an_equal_does() -> None:
    gate = build_gate(baseline="base", max_regression=0.05)
    n = plan_questions(0.05, math.sqrt(0.16), 0.95)
    assert n is not None
    world = World(gate, n)
    assert world.shares(0.08, 0.13, seed=3)["Passed"] <= 0.05 + slack(0.05, RUNS)
    assert world.shares(0.08, 0.08, seed=3)["Passed"] >= 0.80 - slack(0.8, RUNS)


def test_a_family_of_good_gates_is_rarely_refused() -> None:
    """Five gates, each just good enough: any of them refuses at most every hundredth time."""
    world = World(build_gate(baseline="base", max_regression=0.05), 150, gates=5)
    failed = world.shares(0.1, 0.15, seed=4)["Failed"]
    assert failed <= 0.01 + slack(0.01, RUNS)
    assert 1 - (1 - failed) ** 5 <= 0.05 + 5 * slack(0.01, RUNS)
    # So it takes the correction: without, each would by itself.
    alone = World(build_gate(baseline="base", max_regression=0.05), 150)
    assert alone.shares(0.1, 0.15, seed=4)["Failed"] > 0.03


def passed(gate: EvalGate, quantities: Iterable[tuple[Quantity, int]]) -> float:
    """Share of passes of improvements, each with its sign."""
    verdicts: Counter[str] = Counter()
    for quantity, sign in quantities:
        found = quantity.interval(2 * gate.confidence - 1)
        assert found is not None
        bounds = found if sign == 1 else type(found)(-found.high, -found.low)
        verdicts[compare(gate, bounds, bounds)] += 1
    return verdicts["Passed"] / verdicts.total()


def graded(rng: np.random.Generator, n: int, effect: float) -> tuple[Floats, Floats]:
    """F1-like scores of two models: many the same, the others anywhere."""
    base = rng.beta(2, 1, n)
    differ = rng.uniform(size=n) < 0.4
    target = np.where(differ, rng.beta(2, 1, n), base)
    gain = differ & (rng.uniform(size=n) < effect / 0.4)
    # A gain turns a worse answer into the best one: on average 1/3 better.
    return np.where(gain, 1.0, target), base


def test_graded_scores_of_equals_are_rarely_promoted() -> None:
    rng = np.random.default_rng(5)
    gate = build_gate(baseline="base", minimum_effect=0.05)
    runs = (MeanDifference(*graded(rng, 50, 0.0)) for _ in range(SLOW_RUNS))
    assert passed(gate, ((q, 1) for q in runs)) <= 0.05 + slack(0.05, SLOW_RUNS)


def test_the_effect_in_graded_scores_is_found() -> None:
    rng = np.random.default_rng(6)
    large = MeanDifference(*graded(rng, 400_000, 0.3))
    effect = large.estimate
    n = plan_questions(effect, large.deviation, 0.95)
    assert n is not None
    assert 20 <= n < 200
    gate = build_gate(baseline="base", minimum_effect=effect)
    runs = (MeanDifference(*graded(rng, n, 0.3)) for _ in range(SLOW_RUNS))
    assert passed(gate, ((q, 1) for q in runs)) >= 0.80 - slack(0.8, SLOW_RUNS)


def test_losses_of_equals_are_rarely_promoted() -> None:
    rng = np.random.default_rng(7)
    gate = build_gate(metric="AssistantLoss", baseline="base", minimum_effect=0.05)

    def draw() -> LossDifference:
        tokens = rng.integers(3, 60, 40).astype(np.float64)
        hardness = rng.gamma(4, 0.3, 40)
        return LossDifference(
            *(Loss(tokens * hardness * rng.uniform(0.8, 1.2, 40), tokens) for _ in range(2))
        )

    runs = (draw() for _ in range(SLOW_RUNS))
    assert passed(gate, ((q, -1) for q in runs)) <= 0.05 + slack(0.05, SLOW_RUNS)
