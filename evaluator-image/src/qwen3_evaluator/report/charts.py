"""Geometry of the report's charts: axes, bars and marks in per cent of the width. Pure.

Positions are per cent, so that an SVG as wide as its column needs no viewBox and its texts keep
their size on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Tick:
    """A labelled place of an axis."""

    at: float
    """Per cent of the width."""
    label: str


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` (0 %) to `high` (100 %)."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Per cent of the width; what lies outside is put on the edge."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


@dataclass(frozen=True)
class Bar:
    """A bin of a histogram."""

    at: float
    """Left edge, per cent of the width."""
    width: float
    height: float
    """Per cent of the highest bar of the chart."""
    count: int


@dataclass(frozen=True)
class Whisker:
    """An estimate with its interval, in per cent of the width."""

    at: float
    low: float | None
    high: float | None


def build_axis(values: Sequence[float], *, intervals: int = 4) -> Axis:
    """An axis around the values whose ends and ticks are round numbers (steps 1, 2, 2.5, 5).

    values: at least one finite number. `intervals`: about how many steps it has.
    """
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(high)):
        margin = abs(high) / 10 or 0.5
        low, high = low - margin, high + margin
    step = _round_up((high - low) / intervals)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    low, high = first * step, last * step
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) + (_has_quarter(step))
    ticks = tuple(
        Tick(round(100 * (k - first) / (last - first), 2), format_number(k * step, decimals))
        for k in range(first, last + 1)
    )
    return Axis(low, high, ticks)


def build_whisker(axis: Axis, value: float, low: float | None, high: float | None) -> Whisker:
    """The marks of an estimate on the axis."""
    return Whisker(
        axis.at(value),
        None if low is None else axis.at(low),
        None if high is None else axis.at(high),
    )


def count_bins(values: Sequence[float], axis: Axis, bins: int) -> list[int]:
    """How many of the values lie in each of equal bins; the last one has its right edge too."""
    counts = [0] * bins
    width = (axis.high - axis.low) / bins
    for value in values:
        counts[min(max(int((value - axis.low) / width), 0), bins - 1)] += 1
    return counts


def build_bars(counts: Sequence[int], highest: float, total: int) -> list[Bar]:
    """Bars of the bins that hold something. `highest`: the share that fills the height."""
    width = 100 / len(counts)
    return [
        Bar(round(k * width, 2), round(width, 2), round(100 * n / total / highest, 1), n)
        for k, n in enumerate(counts)
        if n
    ]


def quantile(ordered: Sequence[float], share: float) -> float:
    """Quantile by linear interpolation (Hyndman & Fan 1996, type 7) of sorted values."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def format_number(value: float, decimals: int = 3) -> str:
    """With a real minus sign and a comma between thousands; no minus before zero."""
    text = f"{value:,.{decimals}f}"
    if not any(c in text for c in "123456789"):
        text = text.lstrip("-")
    return text.replace("-", "−")


def format_signed(value: float, decimals: int = 3) -> str:
    """As format_number, with a plus sign before what is above zero."""
    text = format_number(value, decimals)
    rises = value > 0 and any(c in text for c in "123456789")
    return f"+{text}" if rises else text


def _round_up(step: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(step))
    return next(s * power for s in _STEPS if s * power >= step * (1 - 1e-9))


def _has_quarter(step: float) -> int:
    """1 when the step is 2.5 times a power of ten below 10: it needs one more decimal."""
    digits = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
    return int(abs(digits - 2.5) < 1e-6 and step < 10)
