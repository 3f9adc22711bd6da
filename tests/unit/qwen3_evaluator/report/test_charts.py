"""Axes, bars and numbers of the report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_evaluator.report.charts import (
    build_axis,
    build_bars,
    build_whisker,
    count_bins,
    format_number,
    format_signed,
    quantile,
)

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 1.0], ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        ([-0.1, 0.258], ["−0.1", "0.0", "0.1", "0.2", "0.3"]),
        ([0.0, 2300.0], ["0", "1,000", "2,000", "3,000"]),
        ([0.7, 0.7], ["0.60", "0.65", "0.70", "0.75", "0.80"]),
        ([0.0], ["−0.50", "−0.25", "0.00", "0.25", "0.50"]),
        ([0.0, 9.0], ["0.0", "2.5", "5.0", "7.5", "10.0"]),
        ([1.0, 1.003], ["1.000", "1.001", "1.002", "1.003"]),
    ],
)
def test_ticks_are_round_numbers_around_the_values(values: list[float], labels: list[str]) -> None:
    assert [tick.label for tick in build_axis(values).ticks] == labels


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_axis_holds_all_values_and_its_ticks_say_where_they_are(values: list[float]) -> None:
    axis = build_axis(values)
    tolerance = 1e-6 * (axis.high - axis.low)
    assert axis.low <= min(values) + tolerance
    assert axis.high >= max(values) - tolerance
    assert 2 <= len(axis.ticks) <= 7
    assert (axis.ticks[0].at, axis.ticks[-1].at) == (0, 100)
    assert len({tick.label for tick in axis.ticks}) == len(axis.ticks)


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=50))
def test_every_value_is_in_a_bin(values: list[float]) -> None:
    assert sum(count_bins(values, build_axis([0.0, *values]), 20)) == len(values)


def test_bins_have_their_left_edge_and_the_last_one_both() -> None:
    assert count_bins([0.0, 0.5, 0.49, 1.0], build_axis([0.0, 1.0]), 2) == [2, 2]


def test_bars_are_shares_of_the_highest_and_empty_bins_have_none() -> None:
    bars = build_bars([4, 0, 1, 5], highest=0.5, total=10)
    assert [(b.at, b.width, b.height, b.count) for b in bars] == [
        (0, 25, 80, 4),
        (50, 25, 20, 1),
        (75, 25, 100, 5),
    ]


def test_whisker_in_per_cent_and_open_where_unknown() -> None:
    whisker = build_whisker(build_axis([0.0, 1.0]), 0.5, None, 0.75)
    assert (whisker.at, whisker.low, whisker.high) == (50, None, 75)


def test_quantiles_interpolate() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], q) for q in (0, 0.5, 0.9, 1)] == pytest.approx(
        [1, 2.5, 3.7, 4]
    )


@pytest.mark.parametrize(
    ("value", "plain", "signed"),
    [
        (0.28712, "0.287", "+0.287"),
        (-0.05, "−0.050", "−0.050"),
        (-0.0001, "0.000", "0.000"),
        (0.0001, "0.000", "0.000"),
        (12345.6, "12,345.600", "+12,345.600"),
    ],
)
def test_numbers(value: float, plain: str, signed: str) -> None:
    assert (format_number(value), format_signed(value)) == (plain, signed)
