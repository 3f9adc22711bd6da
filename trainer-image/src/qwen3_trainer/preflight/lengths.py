"""Token lengths to the numbers of the report. Pure."""

import math
from dataclasses import dataclass, field

import numpy as np

from qwen3_api.job.preflight import TokenHistogram

MAX_BUCKETS = 32
_FIRST_BOUND = 32


@dataclass
class Lengths:
    """Token lengths of rows before cutting, and how many had nothing to learn left after it."""

    max_length: int
    """Where rows are cut, in tokens."""
    counts: list[int] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    """Of the same rows, by `heaviest.weigh`."""
    dropped: int = 0
    longest: int = 0
    """Tokens of the longest row, perhaps one beside those counted here."""
    longest_is_bound: bool = False
    """No row is known to be that long, and none is known to be longer."""

    def add(self, length: int, weight: int, *, learnable: bool) -> None:
        """Notes a row; `learnable`: something with loss is within `max_length`."""
        self.counts.append(length)
        self.weights.append(weight)
        self.dropped += not learnable
        self.longest = max(self.longest, length)

    def extend(self, others: "Lengths") -> None:
        """Notes other rows."""
        self.counts += others.counts
        self.weights += others.weights
        self.dropped += others.dropped
        self.longest = max(self.longest, others.longest)

    def bound(self, heaviest: "Lengths", left_out: int) -> None:
        """Makes `longest` that of a data set of which these rows are a sample. Numbers but the
        longest stay those of the sample.

        heaviest: of the rows of the greatest weights. left_out: the greatest weight of the others.
        They have at most as many tokens for their weight as any row that was counted and is at
        least half as heavy; among light ones the same few tokens more would weigh too much. What
        is cut anyway needs no bound.
        """
        self.longest = max(self.longest, heaviest.longest)
        rates = [
            length / weight
            for part in (self, heaviest)
            for length, weight in zip(part.counts, part.weights, strict=True)
            if 2 * weight >= left_out
        ]
        limit = min(self.max_length, math.ceil(left_out * max(rates, default=0.0)))
        self.longest_is_bound = limit > self.longest
        self.longest = max(self.longest, limit)

    @property
    def truncated_percent(self) -> float:
        """Of the rows that were counted."""
        return _percent(sum(n > self.max_length for n in self.counts), len(self.counts))

    @property
    def dropped_percent(self) -> float:
        """Of the rows that were counted."""
        return _percent(self.dropped, len(self.counts))

    def histogram(self) -> TokenHistogram:
        """The lengths as the report has them. At least one row is needed."""
        lengths = np.asarray(self.counts)
        p50, p95, p99 = np.percentile(lengths, (50, 95, 99), method="inverted_cdf")
        bounds = bucket_bounds(int(lengths.max()))
        ends = np.searchsorted(np.sort(lengths), bounds, side="right")
        return TokenHistogram(
            counted_rows=len(lengths),
            mean=float(np.minimum(lengths, self.max_length).mean()),
            p50=int(p50),
            p95=int(p95),
            p99=int(p99),
            maximum=self.longest,
            maximum_is_bound=self.longest_is_bound,
            buckets=[
                (bound, int(rows))
                for bound, rows in zip(bounds, np.diff(ends, prepend=0), strict=True)
            ],
        )

    def epoch_tokens(self, rows: int) -> int:
        """Tokens of `rows` rows after cutting, by the mean of those that were counted."""
        total = sum(min(n, self.max_length) for n in self.counts)
        return round(total * rows / len(self.counts))


def bucket_bounds(maximum: int) -> list[int]:
    """Upper bounds of the buckets: 32, 48, 64, 96, 128, … as far as the maximum needs."""
    bounds, power = [_FIRST_BOUND], _FIRST_BOUND
    while bounds[-1] < maximum:
        half = power + power // 2
        bounds.append(half)
        if half < maximum:
            power *= 2
            bounds.append(power)
    if len(bounds) > MAX_BUCKETS:
        bounds[MAX_BUCKETS - 1 :] = [maximum]
    return bounds


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
