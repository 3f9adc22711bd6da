"""Which rows of a step go through the model together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_trainer.worker.passes import even_passes, token_budget


@pytest.mark.parametrize(
    ("lengths", "budget", "passes"),
    [
        ([], 10, []),
        ([4, 6], 10, [[1, 0]]),
        # 21 tokens need three passes of 10; in the order of the rows the last would have 1.
        ([5, 5, 5, 5, 1], 10, [[0, 3], [1, 4], [2]]),
        # Two passes would do by the sum, but no two rows fit together.
        ([6, 6, 6], 10, [[0], [1], [2]]),
        # Longer than a pass may be: alone.
        ([3, 12, 4], 10, [[1], [2, 0]]),
    ],
)
def test_a_step_is_cut_into_few_passes_of_about_the_same_size(
    lengths: list[int], budget: int, passes: list[list[int]]
) -> None:
    assert even_passes(lengths, budget) == passes


@given(st.lists(st.integers(1, 100), max_size=40), st.integers(100, 400))
def test_every_row_is_in_one_pass_and_no_pass_is_too_large_or_a_small_rest(
    lengths: list[int], budget: int
) -> None:
    passes = even_passes(lengths, budget)

    assert sorted(i for one in passes for i in one) == list(range(len(lengths)))
    sizes = [sum(lengths[i] for i in one) for one in passes]
    assert all(size <= budget for size in sizes)
    if sizes:
        # The fullest got its last row when it was the emptiest.
        assert max(sizes) - min(sizes) <= max(lengths)


@pytest.mark.parametrize(
    ("longest", "planned", "budget"),
    [
        (512, None, 4 * 512),
        (512, 512, 4 * 512),
        (512, 2048, 4 * 2048),  # a bound, or no length was known: the memory is there
        (1024, 500, 4 * 504),  # rows are filled up to 8 tokens
    ],
)
def test_a_pass_is_as_large_as_was_planned(longest: int, planned: int | None, budget: int) -> None:
    assert token_budget(4, longest, planned, 8) == budget


def test_a_row_longer_than_planned_is_a_pass_of_its_own() -> None:
    lengths = [96, 1024, 104, 96]
    passes = even_passes(lengths, token_budget(4, max(lengths), 104, 8))
    assert passes == [[1], [2, 0, 3]]
