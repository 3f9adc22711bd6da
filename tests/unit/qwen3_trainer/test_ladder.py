"""The out-of-memory ladder: what comes next, that it keeps the batch, and that it ends."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_api.job.report import Sizing
from qwen3_trainer import ladder
from support.train_jobs import train_job


def _sizing(micro: int, accumulation: int, checkpointing: int = 0, quantized: int = 0) -> Sizing:
    return Sizing(
        micro_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        gradient_checkpointing=bool(checkpointing),
        quantized=bool(quantized),
    )


@pytest.mark.parametrize(
    ("sizing", "allow", "expected", "change"),
    [
        ((8, 2), False, (4, 4), "micro-batch 8 → 4, accumulation 2 → 4"),
        ((8, 2, 1), False, (4, 4, 1), "micro-batch 8 → 4, accumulation 2 → 4"),
        # 5 // 2 = 2 doesn't divide 15, 1 does
        ((5, 3), False, (1, 15), "micro-batch 5 → 1, accumulation 3 → 15"),
        ((6, 1), False, (3, 2), "micro-batch 6 → 3, accumulation 1 → 2"),
        ((3, 4), False, (1, 12), "micro-batch 3 → 1, accumulation 4 → 12"),
        # 7 // 2 = 3 divides 7 * 3
        ((7, 3), False, (3, 7), "micro-batch 7 → 3, accumulation 3 → 7"),
        ((1, 16), False, (1, 16, 1), "gradient checkpointing on"),
        ((1, 16), True, (1, 16, 1), "gradient checkpointing on"),
        ((1, 16, 1), True, (1, 16, 1, 1), "base weights in 4 bits"),
        ((1, 16, 0, 1), True, (1, 16, 1, 1), "gradient checkpointing on"),
        ((1, 16, 1), False, None, ""),
        ((1, 16, 1, 1), True, None, ""),
    ],
)
def test_the_next_rung(
    sizing: tuple[int, ...], allow: bool, expected: tuple[int, ...] | None, change: str
) -> None:
    rung = ladder.next_rung(_sizing(*sizing), allow_quantization=allow)
    if expected is None:
        assert rung is None
    else:
        assert rung == ladder.Rung(_sizing(*expected), change)


def _size(sizing: Sizing) -> tuple[int, bool, bool]:
    return (
        sizing.micro_batch_size,
        not sizing.gradient_checkpointing,
        not sizing.quantized,
    )


@given(
    st.builds(_sizing, st.integers(1, 512), st.integers(1, 256), st.booleans(), st.booleans()),
    st.booleans(),
)
def test_every_rung_is_smaller_and_keeps_the_effective_batch(sizing: Sizing, allow: bool) -> None:
    effective = sizing.micro_batch_size * sizing.gradient_accumulation_steps
    found = [r.sizing for r in ladder.rungs(sizing, allow_quantization=allow)]
    assert len(found) <= 9 + 2  # log2(512) halvings; both switches
    for above, below in itertools.pairwise([sizing, *found]):
        assert below.micro_batch_size * below.gradient_accumulation_steps == effective
        assert _size(below) < _size(above)
        if not allow:
            assert below.quantized == sizing.quantized
    last = (found or [sizing])[-1]
    assert (last.micro_batch_size, last.gradient_checkpointing) == (1, True)


def test_a_job_gets_another_sizing_and_nothing_else() -> None:
    job = train_job()
    below = _sizing(1, 4, 1, 1)
    changed = ladder.with_sizing(job, below)
    assert ladder.sizing_of(changed) == below
    assert ladder.with_sizing(changed, ladder.sizing_of(job)) == job


@pytest.mark.parametrize(
    ("reached", "guards", "expected"),
    [
        ([], {}, (8, 2)),
        ([(8, 2)], {}, (8, 2)),
        ([(2, 8), (4, 4)], {}, (2, 8)),
        ([(1, 16, 1), (2, 8)], {}, (1, 16, 1)),
        # not on this ladder: another effective batch, a step that isn't allowed
        ([(4, 8)], {}, (8, 2)),
        ([(1, 16, 1, 1)], {}, (8, 2)),
        ([(1, 16, 1, 1)], {"allow_quantization": True}, (1, 16, 1, 1)),
        ([(2, 8)], {"adapt_to_memory": False}, (8, 2)),
    ],
)
def test_a_later_attempt_begins_on_the_lowest_rung_reached(
    reached: list[tuple[int, ...]], guards: dict[str, Any], expected: tuple[int, ...]
) -> None:
    job = ladder.with_sizing(train_job(guards=guards), _sizing(8, 2))
    assert ladder.lowest(job, [_sizing(*s) for s in reached]) == _sizing(*expected)


def test_numbers_read_well() -> None:
    assert str(ladder.MemoryUse(79_770, 81_510)) == "77.9 of the card's 79.6 GiB"
    assert ladder.describe(_sizing(4, 4, 1)) == (
        "micro-batch 4, accumulation 4, gradient checkpointing on, 16-bit weights"
    )
    without = _sizing(4, 4, 1).model_copy(update={"padding_free": True})
    assert ladder.describe(without).endswith(", 16-bit weights, no padding")
