"""Statistics: against published figures and scipy, where they degenerate, and their coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from qwen3_evaluator.statistics import (
    LARGE,
    MIN_QUESTIONS,
    Floats,
    Loss,
    LossDifference,
    Mean,
    MeanDifference,
    Quantity,
    mcnemar_p_value,
    tango_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("successes", "n"), [(81, 263), (0, 20), (20, 20), (1, 1), (0, 1)])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_wilson_is_that_of_scipy(successes: int, n: int, level: float) -> None:
    right = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    found = wilson_interval(successes, n, level)
    assert found == pytest.approx((right.low, right.high), abs=1e-12)


@pytest.mark.parametrize(
    ("better", "worse", "n", "level", "low", "high"),
    [
        # Fagerland, Lydersen, Laake 2014, Stat. Med. 33:2850: airway hyper-responsiveness
        # before and after stem cell transplantation.
        (1, 7, 21, 0.95, -0.517, -0.026),
        (7, 1, 21, 0.95, 0.026, 0.517),
        # R, PropCIs::scoreci.mp(25, 28, 618, 0.9), whose difference is (c - b) / n.
        (28, 25, 618, 0.90, -0.0148, 0.0247),
    ],
)
def test_tango_is_what_was_published(
    better: int, worse: int, n: int, level: float, low: float, high: float
) -> None:
    digits = 10.0 ** -len(str(low).split(".")[1])
    assert tango_interval(better, worse, n, level) == pytest.approx((low, high), abs=digits / 2)


@pytest.mark.parametrize("n", [5, 50, 1000])
def test_tango_without_a_difference_has_the_width_of_the_sample(n: int) -> None:
    # In closed form: n d / (1 - d) = z² where nothing differs.
    z = stats.norm.ppf(0.975)
    edge = z * z / (n + z * z)
    assert tango_interval(0, 0, n, 0.95) == pytest.approx((-edge, edge))


def test_tango_where_all_differ_is_a_proportion() -> None:
    share = wilson_interval(17, 20, 0.95)
    assert tango_interval(17, 3, 20, 0.95) == pytest.approx((2 * share.low - 1, 2 * share.high - 1))
    low = 2 * wilson_interval(20, 20, 0.95).low - 1
    assert tango_interval(20, 0, 20, 0.95) == pytest.approx((low, 1))
    assert tango_interval(0, 20, 20, 0.95) == pytest.approx((-1, -low))


def test_at_no_confidence_the_interval_is_the_estimate() -> None:
    assert tango_interval(5, 3, 40, 0) == pytest.approx((0.05, 0.05))
    assert wilson_interval(5, 40, 0) == pytest.approx((0.125, 0.125))


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    # statsmodels 0.15, mcnemar(exact=True).
    [(16, 8, 0.15158963203430176), (1, 7, 0.0703125), (0, 0, 1.0), (4, 4, 1.0)],
)
def test_mcnemar_is_that_of_statsmodels(better: int, worse: int, p: float) -> None:
    assert mcnemar_p_value(better, worse) == pytest.approx(p)


RNG = np.random.default_rng(5)
UNIFORM: Floats = RNG.uniform(size=60)
OTHERS: Floats = np.clip(UNIFORM + RNG.normal(0.05, 0.1, size=60), 0, 1)
TOKENS: Floats = RNG.integers(1, 40, 60).astype(np.float64)
LOSSES: Floats = TOKENS * RNG.gamma(2, 0.5, 60)
LESS: Floats = LOSSES * RNG.uniform(0.6, 1.1, 60)


def test_the_interval_of_a_mean_is_scipys_bca() -> None:
    right = stats.bootstrap(
        (UNIFORM,), np.mean, confidence_level=0.9, rng=np.random.default_rng(99)
    ).confidence_interval
    assert Mean(UNIFORM).interval(0.9) == pytest.approx((right.low, right.high), abs=0.004)
    assert Mean(UNIFORM).interval(0.9) == Mean(UNIFORM.copy()).interval(0.9)


def test_the_interval_of_a_loss_is_that_of_a_ratio_of_sums() -> None:
    def ratio(losses: Floats, tokens: Floats, axis: int) -> Floats:
        return np.asarray(losses.sum(axis=axis) / tokens.sum(axis=axis))

    right = stats.bootstrap(
        (LOSSES, TOKENS), ratio, paired=True, confidence_level=0.9, rng=np.random.default_rng(99)
    ).confidence_interval
    loss = Loss(LOSSES, TOKENS)
    assert loss.estimate == pytest.approx(LOSSES.sum() / TOKENS.sum())
    assert loss.interval(0.9) == pytest.approx((right.low, right.high), abs=0.01)
    # Not the mean of the ratios.
    assert abs(loss.estimate - np.mean(LOSSES / TOKENS)) > 0.01


def test_the_difference_of_losses_is_paired() -> None:
    target, baseline = Loss(LESS, TOKENS), Loss(LOSSES, TOKENS)
    found = LossDifference(target, baseline)
    assert found.estimate == pytest.approx((LESS.sum() - LOSSES.sum()) / TOKENS.sum())
    interval = found.interval(0.95)
    assert interval is not None
    assert interval.high < 0
    # As wide as the spread within pairs, not as that between questions.
    wide = target.interval(0.95)
    assert wide is not None
    assert interval.high - interval.low < (wide.high - wide.low) / 2
    assert found.better + found.worse == 60
    assert found.better == np.count_nonzero(LESS < LOSSES)
    p = found.p_value()
    assert p is not None
    assert p < 0.01


def test_scores_of_0_and_1_have_score_intervals() -> None:
    ones = np.array([1.0] * 9 + [0.0] * 3)
    others = np.array([1.0] * 4 + [0.0] * 5 + [1.0] * 3)
    assert Mean(ones).interval(0.9) == wilson_interval(9, 12, 0.9)
    found = MeanDifference(ones, others)
    assert (found.better, found.worse) == (5, 3)
    assert found.interval(0.9) == tango_interval(5, 3, 12, 0.9)
    assert found.p_value() == mcnemar_p_value(5, 3)


def test_so_few_questions_tell_no_interval() -> None:
    few = UNIFORM[: MIN_QUESTIONS - 1]
    assert Mean(few).interval(0.95) is None
    assert MeanDifference(few, few / 2).interval(0.95) is None
    assert MeanDifference(few, few / 2).p_value() is None
    assert Mean(UNIFORM[:MIN_QUESTIONS]).interval(0.95) is not None


def test_where_all_are_the_same_the_number_of_questions_tells_the_interval() -> None:
    # At most 1 - 0.025^(1/40) = 8.8 % of other questions have gone unseen.
    unseen = 1 - 0.025 ** (1 / 40)
    half = np.full(40, 0.5)
    assert Mean(half).interval(0.95) == pytest.approx((0.5 - unseen / 2, 0.5 + unseen / 2))
    same = MeanDifference(half, half)
    assert same.interval(0.95) == pytest.approx((-unseen, unseen))
    assert same.p_value() == 1
    assert MeanDifference(half + 0.1, half).p_value() == pytest.approx(2 / 10_000, rel=1.1)
    # A loss has no worst value that would bound it.
    assert Loss(np.full(40, 2.0), np.full(40, 4.0)).interval(0.95) is None


def test_large_samples_have_the_intervals_of_smaller_ones() -> None:
    rng = np.random.default_rng(3)
    scores = rng.uniform(size=LARGE + 1)
    large, small = Mean(scores).interval(0.95), Mean(scores[:-1]).interval(0.95)
    assert large == pytest.approx(small, abs=0.001)
    tokens = rng.integers(1, 40, LARGE + 1).astype(np.float64)
    losses = tokens * rng.gamma(2, 0.5, LARGE + 1)
    less = losses * rng.uniform(0.9, 1.09, LARGE + 1)
    pairs = [
        LossDifference(Loss(less[:n], tokens[:n]), Loss(losses[:n], tokens[:n]))
        for n in (LARGE, LARGE + 1)
    ]
    assert pairs[0].interval(0.95) == pytest.approx(pairs[1].interval(0.95), abs=0.001)
    assert pairs[0].p_value() == pytest.approx(pairs[1].p_value(), abs=0.002)


def test_a_handful_of_differences_is_no_proof() -> None:
    """Three that differ by chance go one way every fourth time; the bootstrap alone is sure."""
    target = np.full(100, 0.5)
    target[:3] = 0.8
    found = MeanDifference(target, np.full(100, 0.5))
    bootstrap = Quantity.interval(found, 0.9)
    assert bootstrap is not None
    assert bootstrap.low > 0
    assert found.interval(0.9) == (0, bootstrap.high)
    assert found.p_value() == pytest.approx(0.25)
    target[:6] = 0.8
    shown = MeanDifference(target, np.full(100, 0.5)).interval(0.9)
    assert shown is not None
    assert shown.low > 0


@pytest.mark.parametrize("n", [5, 20, 100])
@pytest.mark.parametrize(("p_better", "p_worse"), [(0.1, 0.1), (0.3, 0.1), (0.02, 0.02)])
def test_tango_covers_the_truth(n: int, p_better: float, p_worse: float) -> None:
    """Two-sided 90 %: each bound is wrong at most 5 % of the time, more or less."""
    rng = np.random.default_rng(11)
    tables, times = np.unique(
        rng.multinomial(n, [p_better, p_worse, 1 - p_better - p_worse], size=4000)[:, :2],
        axis=0,
        return_counts=True,
    )
    truth = p_better - p_worse
    intervals = [tango_interval(int(b), int(c), n, 0.9) for b, c in tables]
    covered = sum(int(t) for i, t in zip(intervals, times, strict=True) if i.low <= truth <= i.high)
    assert covered / 4000 > 0.87
    assert all(math.isfinite(i.low) and i.low <= i.high for i in intervals)
