"""The figures of the checkpoint benchmark: pairs, their ratio and its interval."""

import json
import random

import pytest

from benchmarks.checkpoints.figures import (
    Window,
    draw_arms,
    interval,
    pair_up,
    read,
    slowdown,
    table,
)


def windows(factor: float, pairs: int = 20, noise: float = 0.0, seed: int = 1) -> list[Window]:
    """Windows on a machine that gets slower all the while; the steps beside an upload, the first
    five of 50, take longer by `factor`."""
    dice = random.Random(seed)  # noqa: S311
    made = []
    for number, uploads in enumerate(draw_arms(pairs, seed)):
        steps = [
            (1 + 0.01 * number) * (factor if uploads and i < 5 else 1.0) * dice.gauss(1, noise)
            for i in range(50)
        ]
        upload = 0.95 * sum(steps[:5]) if uploads else 0.0
        made.append(Window(uploads, 0.02, steps, upload, 4_000_000 * uploads))
    return made


def test_each_pair_has_one_of_both_in_an_order_of_chance() -> None:
    arms = draw_arms(50, seed=1)
    pairs = list(zip(arms[::2], arms[1::2], strict=True))
    assert len(pairs) == 50
    assert set(pairs) == {(True, False), (False, True)}
    assert draw_arms(50, seed=1) == arms != draw_arms(50, seed=2)


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_machine_that_gets_slower_hides_nothing(factor: float) -> None:
    """Over the run the steps get 40 % slower; five of 50 that take half as long again are 5 %."""
    assert slowdown(pair_up(windows(factor))) == pytest.approx(10 * (factor - 1), abs=0.5)


def test_steps_that_no_upload_can_touch_do_not_count() -> None:
    beside = Window(True, 0.0, [1.2, 1.3, 1.0, 1.0, 9.0], upload_seconds=2.0)
    alone = Window(False, 0.0, [1.0, 1.0, 1.0, 1.0, 1.0])

    assert beside.touched == 3
    assert slowdown([(beside, alone)]) == pytest.approx(100 * 0.5 / 5)


def test_the_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    held = 0
    for seed in range(20):
        low, high = interval(pair_up(windows(1.2, noise=0.1, seed=seed)), seed)
        assert low < high
        held += low <= 2.0 <= high
    assert held >= 16  # fewer has a probability of 0.3 % (binomial, 0.95)


@pytest.mark.parametrize(
    "pair",
    [
        [Window(True, 0.0, [1.0]), Window(True, 0.0, [1.0])],
        [Window(True, 0.0, [1.0]), Window(False, 0.0, [1.0, 1.0])],
        [Window(True, 0.0, [1.0], upload_seconds=1.1), Window(False, 0.0, [1.0])],
    ],
    ids=["of one kind", "of different lengths", "an upload that goes on into the next"],
)
def test_what_can_t_be_compared_is_refused(pair: list[Window]) -> None:
    with pytest.raises(ValueError, match="window"):
        pair_up(pair)


def test_the_table_has_both_kinds_and_the_goal() -> None:
    text = table(windows(1.1))
    assert "| with upload | 20 | 1,000 |" in text
    assert "| without | 20 | 1,000 |" in text
    assert "goal: 2 %" in text
    assert "4.0 MB and takes 6.25 s" in text
    assert "if the training stood still" in text
    assert "20 ms while it is written to the disk" in text


def test_windows_survive_their_file() -> None:
    made = windows(1.0, pairs=1)
    assert read("".join(json.dumps(w.to_json()) + "\n" for w in made)) == made
