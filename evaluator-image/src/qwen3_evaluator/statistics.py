"""Statistics over questions: estimates, intervals, p-values. Pure.

The unit is always the question: several answers to one are averaged before they come here, since
they are no independent evidence (Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640,
section 3). A level is that of a two-sided interval, whose ends are one-sided bounds at
(1 + level) / 2.

Which interval:
  values of 0 and 1          Wilson's score interval
  paired values of 0 and 1   Tango's score interval
  else                       BCa bootstrap over questions; over LARGE questions, the normal
                             approximation, which is then as good and doesn't take hours
  all the same               what the number of questions alone allows
"""

import itertools
import math
import warnings
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

Floats = NDArray[np.float64]

MIN_QUESTIONS = 20
"""Fewer scores (other than 0 and 1) don't tell the shape of their distribution: no interval."""
LARGE = 2000
"""From so many questions on the bootstrap's jackknife (n² values) would take too long."""
RESAMPLES = 9999
SEED = 20240311
"""Of the bootstrap, so that a report can be computed again."""
_NO_CHANGE = 1e-9
"""Differences up to this are rounding."""
_MANY_DIFFERENCES = 100
_BATCH = 2_000_000
"""Values of resamples in memory at once: 16 MB."""


class Interval(NamedTuple):
    """A two-sided confidence interval; its ends are one-sided bounds."""

    low: float
    high: float


def wilson_interval(successes: int, n: int, level: float) -> Interval:
    """Interval of a proportion.

    Wilson 1927, J. Am. Stat. Assoc. 22:209; recommended by Brown, Cai, DasGupta 2001, Stat. Sci.
    16:101. It is never empty, not even at 0 or n successes.
    """
    z = _quantile(level)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(low, high)


def tango_interval(better: int, worse: int, n: int, level: float) -> Interval:
    """Interval of the difference of two proportions of the same n questions.

    better: questions on which the first is 1 and the second 0; worse: the other way round.

    Tango 1998, Stat. Med. 17:891: all differences d that the score statistic
    (b - c - n d) / sqrt(n (2 q + d (1 - d))) doesn't reject, where q is the most likely share of
    worse questions given d. It has a width even when no question differs, unlike the bootstrap.
    """
    z = _quantile(level)

    def score(d: float) -> float:
        linear = -better - worse + (2 * n - better + worse) * d
        root = math.sqrt(max(linear * linear + 8 * n * worse * d * (1 - d), 0.0))
        q = (root - linear) / (4 * n)
        variance = n * (2 * q + d * (1 - d))
        return (better - worse - n * d) / math.sqrt(max(variance, 1e-300))

    estimate = (better - worse) / n
    if z == 0:
        return Interval(estimate, estimate)
    edge = 1 - 1e-12
    low = -1.0 if estimate <= -edge else brentq(lambda d: score(d) - z, -edge, estimate)
    high = 1.0 if estimate >= edge else brentq(lambda d: score(d) + z, estimate, edge)
    return Interval(float(low), float(high))


def mcnemar_p_value(better: int, worse: int) -> float:
    """Two-sided p-value of no difference, exact.

    McNemar 1947, Psychometrika 12:153, conditional on the questions that differ: of those each
    side wins half, so it is a sign test.
    """
    if better + worse == 0:
        return 1.0
    return float(stats.binomtest(better, better + worse, 0.5).pvalue)


def _quantile(level: float) -> float:
    """z of a two-sided interval; 1.96 for 0.95, 0 for 0."""
    return float(stats.norm.ppf((1 + level) / 2))


class Quantity(ABC):
    """Something that was estimated from n questions."""

    n: int
    bounds: tuple[float, float] | None
    """Between which a single question can lie; None: anywhere."""

    @abstractmethod
    def at(self, questions: NDArray[np.intp]) -> Floats:
        """The estimate from these questions.

        questions: (…, n) indices, with repeats. Returns (…).
        """

    @cached_property
    def estimate(self) -> float:
        """The estimate from all questions."""
        return float(self.at(np.arange(self.n)))

    @property
    @abstractmethod
    def influence(self) -> Floats:
        """(n,): what each question adds; their standard deviation over √n is the standard error.

        For a ratio of sums they are linearised (delta method).
        """

    @property
    def deviation(self) -> float:
        """Standard deviation of a question's contribution; 0 for fewer than two questions."""
        return float(np.std(self.influence, ddof=1)) if self.n > 1 else 0.0

    def interval(self, level: float) -> Interval | None:
        """The interval of the estimate; None when so few questions can't tell one."""
        if self.n < MIN_QUESTIONS:
            return None
        if np.ptp(self.influence) < 1e-12:
            return self._constant_interval(level)
        if self.n > LARGE:
            half = _quantile(level) * self.deviation / math.sqrt(self.n)
            return Interval(self.estimate - half, self.estimate + half)
        return self._bootstrap_interval(level)

    def _constant_interval(self, level: float) -> Interval | None:
        """All questions are the same, and the others may differ.

        If a share p of all questions were different, n of them would miss it with probability
        (1 - p)^n, so p is at most 1 - α^(1/n) (Clopper-Pearson at 0 of n; "rule of three": Hanley,
        Lippman-Hand 1983, JAMA 249:1743). The mean is farthest off if those lie at a bound.
        """
        if self.bounds is None:
            return None
        unseen = 1 - ((1 - level) / 2) ** (1 / self.n)
        rest = self.estimate * (1 - unseen)
        return Interval(rest + unseen * self.bounds[0], rest + unseen * self.bounds[1])

    @cached_property
    def _resampled(self) -> Any:
        return self._resample(0.95)

    def _resample(self, level: float, earlier: Any = None) -> Any:
        def statistic(questions: Floats, axis: int) -> Floats:
            return self.at(questions.astype(np.intp))  # scipy resamples along the last axis

        with warnings.catch_warnings():
            # Told by NaN ends; see _bootstrap_interval.
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            return stats.bootstrap(
                (np.arange(self.n),),
                statistic,
                n_resamples=RESAMPLES if earlier is None else 0,
                bootstrap_result=earlier,
                batch=max(1, _BATCH // self.n),
                vectorized=True,
                confidence_level=level,
                method="BCa",
                rng=np.random.default_rng(SEED),
            )

    def _bootstrap_interval(self, level: float) -> Interval:
        """Efron 1987, J. Am. Stat. Assoc. 82:171: bias-corrected and accelerated, by scipy."""
        found = self._resample(level, self._resampled).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            return Interval(float(found.low), float(found.high))
        # The correction has no value when no resample lies on one side of the estimate.
        tail = (1 - level) / 2
        low, high = np.quantile(self._resampled.bootstrap_distribution, [tail, 1 - tail])
        return Interval(float(low), float(high))


class Mean(Quantity):
    """Mean of scores between 0 and 1."""

    bounds = (0.0, 1.0)

    def __init__(self, scores: Floats) -> None:
        """scores: (n,)."""
        self.n = len(scores)
        self._scores = scores

    def at(self, questions: NDArray[np.intp]) -> Floats:
        """The mean over these questions."""
        means: Floats = self._scores[questions].mean(axis=-1)
        return means

    @property
    def influence(self) -> Floats:
        """The scores."""
        return self._scores

    def interval(self, level: float) -> Interval | None:
        """Wilson's for scores of 0 and 1."""
        if _is_binary(self._scores):
            return wilson_interval(int(self._scores.sum()), self.n, level)
        return super().interval(level)


class Loss(Quantity):
    """Nats per token: the sum of losses over the sum of tokens."""

    bounds = None

    def __init__(self, losses: Floats, tokens: Floats) -> None:
        """losses: (n,), nats of each expected answer; tokens: (n,), how many it has."""
        self.n = len(losses)
        self._losses = losses
        self._tokens = tokens

    def at(self, questions: NDArray[np.intp]) -> Floats:
        """The ratio of the sums over these questions."""
        ratios: Floats = self._losses[questions].sum(-1) / self._tokens[questions].sum(-1)
        return ratios

    @cached_property
    def per_question(self) -> Floats:
        """(n,): nats per token of each question."""
        ratios: Floats = self._losses / self._tokens
        return ratios

    @cached_property
    def influence(self) -> Floats:
        """Linearised around the ratio (Cochran 1977, "Sampling Techniques", section 6.4)."""
        apart: Floats = self._losses - self.estimate * self._tokens
        linear: Floats = self.estimate + apart / self._tokens.mean()
        return linear


class Difference(Quantity):
    """The target's value minus the baseline's, on the same questions."""

    better: int
    """Questions on which the target scored better."""
    worse: int

    def interval(self, level: float) -> Interval | None:
        """An end is not beyond 0 unless a sign-flip test agrees.

        With a handful of questions that differ, all in one direction, the bootstrap would be sure
        of a difference that equal models show every few times.
        """
        found = super().interval(level)
        if found is None or found.low <= 0 <= found.high:
            return found
        if self._sign_flip_p_value <= (1 - level) / 2:
            return found
        return Interval(min(found.low, 0.0), max(found.high, 0.0))

    @cached_property
    def _sign_flip_p_value(self) -> float:
        """One-sided p-value of the direction seen, if each difference could have either sign.

        Fisher 1935, "The Design of Experiments", section 21; exact up to 2^12 sign patterns, else
        from RESAMPLES of them. With many differences the central limit theorem has done the work.
        """
        sizes = np.abs(self.influence[np.abs(self.influence) > _NO_CHANGE])
        if len(sizes) > _MANY_DIFFERENCES:
            return 0.0
        seen = abs(float(self.influence.sum())) - _NO_CHANGE
        if len(sizes) <= 12:
            flips = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sizes))))
            return float(np.mean(flips @ sizes >= seen))
        flips = np.random.default_rng(SEED).choice((-1.0, 1.0), (RESAMPLES, len(sizes)))
        return float((np.count_nonzero(flips @ sizes >= seen) + 1) / (RESAMPLES + 1))

    def p_value(self) -> float | None:
        """Two-sided p-value of a true value of 0; None when so few questions can't tell.

        Bootstrap of the centred estimate (Efron, Tibshirani 1993, "An Introduction to the
        Bootstrap", section 16.4), but no smaller than the sign-flip test's.
        """
        if self.n < MIN_QUESTIONS:
            return None
        if np.ptp(self.influence) < 1e-12:
            return min(2 * self._sign_flip_p_value, 1.0)
        if self.n > LARGE:
            z = self.estimate / (self.deviation / math.sqrt(self.n))
            return max(float(2 * stats.norm.sf(abs(z))), 2 * self._sign_flip_p_value)
        centred = np.abs(self._resampled.bootstrap_distribution - self.estimate)
        # 1e-12: sums in another order differ by rounding.
        farther = np.count_nonzero(centred >= abs(self.estimate) - 1e-12)
        found = float((farther + 1) / (RESAMPLES + 1))
        return min(max(found, 2 * self._sign_flip_p_value), 1.0)


class MeanDifference(Difference):
    """Mean of the target's scores minus the baseline's, on the same questions."""

    bounds = (-1.0, 1.0)

    def __init__(self, target: Floats, baseline: Floats) -> None:
        """target, baseline: (n,), the same question at the same place."""
        self.n = len(target)
        self._differences = target - baseline
        self._binary = _is_binary(target) and _is_binary(baseline)
        self.better = int(np.count_nonzero(self._differences > _NO_CHANGE))
        self.worse = int(np.count_nonzero(self._differences < -_NO_CHANGE))

    def at(self, questions: NDArray[np.intp]) -> Floats:
        """The mean difference over these questions."""
        means: Floats = self._differences[questions].mean(axis=-1)
        return means

    @property
    def influence(self) -> Floats:
        """The differences."""
        return self._differences

    def interval(self, level: float) -> Interval | None:
        """Tango's for scores of 0 and 1."""
        if self._binary:
            return tango_interval(self.better, self.worse, self.n, level)
        return super().interval(level)

    def p_value(self) -> float | None:
        """McNemar's for scores of 0 and 1."""
        if self._binary:
            return mcnemar_p_value(self.better, self.worse)
        return super().p_value()


class LossDifference(Difference):
    """The target's nats per token minus the baseline's, on the same questions."""

    bounds = None

    def __init__(self, target: Loss, baseline: Loss) -> None:
        """Both of the same questions in the same order."""
        self.n = target.n
        self._target = target
        self._baseline = baseline
        differences = target.per_question - baseline.per_question
        self.better = int(np.count_nonzero(differences < -_NO_CHANGE))
        self.worse = int(np.count_nonzero(differences > _NO_CHANGE))

    def at(self, questions: NDArray[np.intp]) -> Floats:
        """The difference of the ratios over these questions."""
        return self._target.at(questions) - self._baseline.at(questions)

    @cached_property
    def influence(self) -> Floats:
        """Difference of the two linearised ratios."""
        return self._target.influence - self._baseline.influence


def _is_binary(scores: Floats) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())
