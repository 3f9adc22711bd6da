"""Sizes for cards: tables, and what holds for every plan."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_api.job.preflight import TokenHistogram
from qwen3_api.v1alpha1.training import ALL_LINEAR
from qwen3_sizing.plan import (
    CARDS,
    MARGIN,
    Card,
    DoesNotFit,
    SizingPlan,
    SizingRequest,
    estimate_run,
    plan_sizing,
    predict,
)
from qwen3_sizing.throughput import Pass, micro_batch_seconds, padded_length, passes_of_step
from support.qwen3_shapes import SHAPES

H100 = CARDS["NVIDIA-H100-80GB-HBM3"]
A100_40 = CARDS["NVIDIA-A100-SXM4-40GB"]
L4 = CARDS["NVIDIA-L4"]


def request(size: str = "8B", **changes: Any) -> SizingRequest:
    """Qwen3-8B, r16, 1,000 full rows of 2,048 tokens, 16 rows a step."""
    values: dict[str, Any] = {
        "shape": SHAPES[size],
        "rank": 16,
        "target_modules": ALL_LINEAR,
        "quantized": False,
        "method": "SFT",
        "max_sequence_length": 2048,
        "lengths": None,
        "rows": 1000,
        "tokens": 2_048_000,
        "effective_batch_size": 16,
        "gpus": 1,
        "micro_batch_size": None,
        "gradient_checkpointing": None,
        "epochs": 1,
        "max_steps": None,
    }
    return SizingRequest(**{**values, **changes})


def histogram(*buckets: tuple[int, int], mean: float = 300.0) -> TokenHistogram:
    """Of rows in (bound, count) buckets."""
    count = sum(c for _, c in buckets)
    top = buckets[-1][0]
    return TokenHistogram(
        counted_rows=count,
        mean=mean,
        p50=top,
        p95=top,
        p99=top,
        maximum=top,
        buckets=list(buckets),
    )


def planned(wanted: SizingRequest, card: Card | None) -> SizingPlan:
    """The plan, which must be one."""
    plan = plan_sizing(wanted, card)
    assert isinstance(plan, SizingPlan), plan
    return plan


@pytest.mark.parametrize(
    ("wanted", "card", "micro", "accumulation", "checkpointing", "quantized"),
    [
        # Without checkpointing wherever it is faster; no larger than keeps the card busy.
        (request(), H100, 4, 4, False, False),
        (request(effective_batch_size=6), H100, 3, 2, False, False),
        (request(quantized=True), H100, 4, 4, False, True),
        (request("0.6B"), H100, 16, 1, False, False),
        (request(), A100_40, 1, 16, False, False),
        (request(), L4, 1, 16, True, False),
        (request(quantized=True), L4, 1, 16, False, True),
        # 16 bits as long as they fit, if neither was asked for.
        (request(quantized=None), L4, 1, 16, True, False),
        (request("32B", quantized=None), H100, 2, 8, True, False),
        (request("32B", quantized=None), A100_40, 1, 16, True, True),
        # A step that fits without checkpointing but leaves the card idle is slower than one with.
        (request(max_sequence_length=512), CARDS["NVIDIA-L40S"], 4, 4, False, False),
        # Two sequences a row.
        (request(method="DPO"), H100, 1, 16, False, False),
        # What was asked for is kept.
        (request(micro_batch_size=2), H100, 2, 8, False, False),
        (request(micro_batch_size=16), H100, 16, 1, True, False),
        (request(gradient_checkpointing=True), H100, 4, 4, True, False),
        (request(micro_batch_size=1, gradient_checkpointing=True), H100, 1, 16, True, False),
        # GPUs share the batch.
        (request(gpus=2), H100, 4, 2, False, False),
        (request(gpus=8), H100, 2, 1, False, False),
    ],
)
def test_plans(
    wanted: SizingRequest,
    card: Card,
    micro: int,
    accumulation: int,
    checkpointing: bool,
    quantized: bool,
) -> None:
    plan = planned(wanted, card)

    assert (
        plan.micro_batch_size,
        plan.gradient_accumulation_steps,
        plan.gradient_checkpointing,
        plan.quantized,
    ) == (micro, accumulation, checkpointing, quantized)


def test_the_longest_row_of_this_data_set_counts() -> None:
    short = request(max_sequence_length=32_768, lengths=histogram((256, 900), (1024, 100)))

    assert not planned(short, H100).gradient_checkpointing
    assert planned(request(max_sequence_length=32_768), H100).gradient_checkpointing


def test_the_message_says_why_in_one_line() -> None:
    assert planned(request(), H100).message == (
        "Micro-batch 4 x 4 accumulation steps, gradient checkpointing off, 16 bits: needs 51.2 GiB "
        "of NVIDIA-H100-80GB-HBM3's 79.6 GiB at 2,048 tokens a row"
    )
    assert planned(request(), L4).message == (
        "Micro-batch 1 x 16 accumulation steps, gradient checkpointing on, 16 bits: needs 17.7 GiB "
        "of NVIDIA-L4's 22.5 GiB at 2,048 tokens a row; without checkpointing one of 1 needs "
        "26.0 GiB"
    )


def test_on_a_cpu_two_rows_at_once_and_checkpointing() -> None:
    plan = planned(request(gpus=0), None)
    odd = planned(request(gpus=0, effective_batch_size=15), None)

    assert (plan.micro_batch_size, plan.gradient_accumulation_steps) == (2, 8)
    assert plan.gradient_checkpointing
    assert (odd.micro_batch_size, odd.gradient_accumulation_steps) == (1, 15)
    assert estimate_run(request(gpus=0), plan, None).seconds is None


@pytest.mark.parametrize(
    ("wanted", "card", "message", "hint"),
    [
        (
            request("32B"),
            A100_40,
            "Micro-batch 1 of 2,048 tokens a row in 16 bits, gradient checkpointing on, needs "
            "65.2 GiB; NVIDIA-A100-SXM4-40GB has 40.0 GiB, 36.0 GiB of it for use",
            "Set adapter.type to QLoRA (22.1 GiB); or use a GPU with 73 GiB or more.",
        ),
        (
            request(micro_batch_size=16, gradient_checkpointing=False),
            H100,
            "Micro-batch 16 of 2,048 tokens a row in 16 bits, gradient checkpointing off, needs "
            "152.4 GiB; NVIDIA-H100-80GB-HBM3 has 79.6 GiB, 71.7 GiB of it for use",
            "Leave out hyperparameters.microBatchSize (26.0 GiB); or leave out "
            "hyperparameters.gradientCheckpointing (22.5 GiB); or lower "
            "dataset.maxSequenceLength to 512; or use a GPU with 170 GiB or more.",
        ),
        (
            request(micro_batch_size=16, gradient_checkpointing=False),
            L4,
            "Micro-batch 16 of 2,048 tokens a row in 16 bits, gradient checkpointing off, needs "
            "152.4 GiB; NVIDIA-L4 has 22.5 GiB, 20.2 GiB of it for use",
            "Leave out hyperparameters.microBatchSize and leave out "
            "hyperparameters.gradientCheckpointing (17.7 GiB); or leave out "
            "hyperparameters.microBatchSize and set adapter.type to QLoRA (16.5 GiB); or leave out "
            "hyperparameters.gradientCheckpointing and set adapter.type to QLoRA (13.0 GiB); or "
            "use a GPU with 170 GiB or more.",
        ),
        (
            request(effective_batch_size=15, gpus=2),
            H100,
            "An effective batch of 15 rows can't be split into 2 GPUs",
            "Set an effective batch of 16 rows.",
        ),
        (
            request(micro_batch_size=5),
            H100,
            "An effective batch of 16 rows can't be split into micro-batch 5 x 1 GPU",
            "Set an effective batch of 15 rows, or leave out hyperparameters.microBatchSize.",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_numbers(
    wanted: SizingRequest, card: Card, message: str, hint: str
) -> None:
    assert plan_sizing(wanted, card) == DoesNotFit(message, hint)


requests = st.builds(
    lambda size, cut, longest, per_gpu, **values: request(
        size,
        max_sequence_length=cut,
        lengths=None if longest is None else histogram((longest, 100), mean=longest / 2),
        effective_batch_size=per_gpu * max(values["gpus"], 1),
        **values,
    ),
    size=st.sampled_from(sorted(SHAPES)),
    cut=st.integers(128, 32_768),
    longest=st.none() | st.integers(16, 65_536),
    per_gpu=st.integers(1, 256),
    gpus=st.integers(0, 8),
    rank=st.integers(1, 256),
    target_modules=st.lists(st.sampled_from(ALL_LINEAR), min_size=1, unique=True).map(tuple),
    quantized=st.sampled_from([None, False, True]),
    method=st.sampled_from(["SFT", "DPO"]),
    micro_batch_size=st.none() | st.integers(1, 32),
    gradient_checkpointing=st.sampled_from([None, False, True]),
)


@given(requests, st.none() | st.sampled_from(sorted(CARDS)))
def test_every_plan_keeps_the_effective_batch_and_fits_the_card(
    wanted: SizingRequest, name: str | None
) -> None:
    card = CARDS[name] if name else None
    plan = plan_sizing(wanted, card)

    if isinstance(plan, DoesNotFit):
        assert plan.message
        assert plan.hint
        return
    batch = plan.micro_batch_size * plan.gradient_accumulation_steps * max(wanted.gpus, 1)
    assert batch == wanted.effective_batch_size
    assert wanted.micro_batch_size in (None, plan.micro_batch_size)
    assert wanted.gradient_checkpointing in (None, plan.gradient_checkpointing)
    assert wanted.quantized in (None, plan.quantized)
    if card is not None:
        on_card = predict(wanted, plan).on_card
        assert on_card <= card.memory_mib * (1 << 20) * (1 - MARGIN)


@given(requests, st.sampled_from(sorted(CARDS)))
def test_what_fits_a_card_fits_a_larger_one(wanted: SizingRequest, name: str) -> None:
    card = CARDS[name]
    larger = replace(card, memory_mib=card.memory_mib * 2)

    if isinstance(plan_sizing(wanted, card), SizingPlan):
        assert isinstance(plan_sizing(wanted, larger), SizingPlan)


@pytest.mark.parametrize(
    ("rows", "length", "checkpointing", "tokens_per_second"),
    [
        # Qwen3-8B on one H100, 2026-11.
        (2, 2048, False, 11_776),
        (3, 2048, False, 13_972),
        (6, 2048, False, 13_909),
        (2, 2048, True, 8_546),
        (8, 2048, True, 10_148),
        (4, 4096, True, 9_683),
    ],
)
def test_speed_as_measured_on_an_h100(
    rows: int, length: int, checkpointing: bool, tokens_per_second: int
) -> None:
    seconds = micro_batch_seconds(
        SHAPES["8B"], "SFT", H100, rows=rows, length=length, checkpointing=checkpointing
    )

    assert rows * length / seconds == pytest.approx(tokens_per_second, rel=0.10)


@pytest.mark.parametrize(
    ("size", "rows", "length", "tokens_per_second"),
    [
        # gpu/bench.sh --defaults, 2026-11-27, 16 and 4 bits.
        ("0.6B", 16, 2048, (90_295, 80_059)),
        ("1.7B", 8, 2048, (47_033, 47_739)),
        ("1.7B", 16, 1024, (49_618, 47_080)),
        ("4B", 4, 2048, (22_315, 22_124)),
        ("4B", 16, 1024, (24_115, 23_669)),
        ("8B", 8, 1024, (15_159, 14_593)),
    ],
)
def test_speed_of_smaller_models_as_measured_on_an_h100(
    size: str, rows: int, length: int, tokens_per_second: tuple[int, int]
) -> None:
    """What is not a matrix product takes a larger part of them."""
    seconds = micro_batch_seconds(
        SHAPES[size], "SFT", H100, rows=rows, length=length, checkpointing=False
    )

    for measured in tokens_per_second:
        assert rows * length / seconds == pytest.approx(measured, rel=0.08)


def test_a_card_of_unknown_bandwidth_is_taken_to_be_balanced_as_an_h100() -> None:
    unknown = replace(H100, bandwidth_gbs=0.0)

    known, guessed = (
        micro_batch_seconds(SHAPES["8B"], "SFT", card, rows=4, length=2048, checkpointing=False)
        for card in (H100, unknown)
    )

    assert guessed == pytest.approx(known, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "steps", "tokens"),
    [
        ({}, 63, 2_048_000),
        ({"epochs": 3}, 189, 6_144_000),
        ({"epochs": None, "max_steps": 10}, 10, 327_680),
        ({"epochs": None, "max_steps": None}, 63, 2_048_000),
    ],
)
def test_steps_and_tokens(changes: dict[str, Any], steps: int, tokens: int) -> None:
    wanted = request(**changes)

    estimate = estimate_run(wanted, planned(wanted, H100), H100)

    assert (estimate.steps, estimate.tokens) == (steps, tokens)


@pytest.mark.parametrize(
    ("changes", "forward"),
    [
        pytest.param({}, 0, id="no validation rows"),
        pytest.param({"validation_rows": 200}, 0, id="never evaluated"),
        pytest.param({"validation_rows": 200, "evaluate_steps": 64}, 0, id="after the end"),
        pytest.param({"validation_rows": 200, "evaluate_steps": 20}, 3 * 200, id="three times"),
    ],
)
@pytest.mark.parametrize("method", ["SFT", "DPO"])
def test_evaluations_are_in_the_time(method: str, changes: dict[str, Any], forward: int) -> None:
    """63 steps of 1,000 rows; a forward pass is half of what a training row takes, with DPO's
    reference model two thirds."""
    plain = request(method=method, lengths=None)
    wanted = request(method=method, lengths=None, **changes)
    plan = planned(plain, H100)
    training = estimate_run(plain, plan, H100).seconds
    told = estimate_run(wanted, plan, H100).seconds
    assert training is not None
    assert told is not None
    row = micro_batch_seconds(
        wanted.shape, wanted.method, H100, rows=plan.micro_batch_size, length=2048,
        checkpointing=False,
    ) / plan.micro_batch_size  # fmt: skip
    part = 1 / 2 if method == "SFT" else 2 / 3
    assert told - training == pytest.approx(forward * row * part, rel=0.05, abs=1)


def test_the_time_is_told_for_known_cards_only() -> None:
    wanted = request()
    unknown = Card("some-gpu", 80_000, 0.0)

    known = estimate_run(wanted, planned(wanted, H100), H100)
    estimate = estimate_run(wanted, planned(wanted, unknown), unknown)

    # 2,048,000 tokens at 14,000 a second, and the start.
    assert known.seconds == pytest.approx(147 + 150, rel=0.05)
    assert estimate.seconds is None


def test_rows_are_padded_to_the_longest_of_their_batch() -> None:
    lengths = histogram((100, 90), (1000, 10), mean=150.0)

    assert padded_length(lengths, 1000, 1) == pytest.approx(150)
    # Half of the batches of 7 have none of the long tenth: 0.9 ** 7 = 0.48.
    longest_of_seven = 100 * 0.4783 + 1000 * 0.5217
    assert padded_length(lengths, 1000, 7) == pytest.approx(150 * longest_of_seven / 190, rel=1e-3)
    assert padded_length(None, 2048, 4) == 2048


def test_rows_of_a_step_go_through_one_gpu_in_full_passes() -> None:
    lengths = histogram((500, 50), (1000, 50), mean=750.0)

    def passes(found: TokenHistogram | None, rows: int) -> Pass:
        return passes_of_step(found, 1000, rows=rows, micro_batch_size=4, gpus=1, padding_free=True)

    # 4 x 1,000 tokens a pass, so at most 5.33 rows of 750 tokens: three, and often four.
    one = passes(lengths, 16)
    assert (one.count, one.length) == (pytest.approx(3.5), 750)
    assert one.count * one.rows == pytest.approx(16)
    assert passes(lengths, 2) == Pass(1, 2, 750)
    assert passes(None, 16) == Pass(4, 4, 1000)


def test_several_gpus_keep_micro_batches() -> None:
    lengths = histogram((500, 50), (1000, 50), mean=750.0)

    free, padded = (
        passes_of_step(lengths, 1000, rows=8, micro_batch_size=4, gpus=2, padding_free=flag)
        for flag in (True, False)
    )

    assert free == Pass(2, 4, 750)
    assert (padded.count, padded.rows) == (2, 4)
    assert padded.length == pytest.approx(500 / 16 + 1000 * 15 / 16)


@pytest.mark.parametrize(
    ("size", "changes", "free"),
    [
        ("8B", {}, True),
        ("8B", {"lengths": None}, False),
        ("8B", {"lengths": histogram((2000, 10), (2048, 990), mean=2040.0)}, False),
        ("0.6B", {}, True),
        ("8B", {"method": "DPO"}, False),
    ],
)
def test_padding_is_left_out_where_that_is_faster(
    size: str, changes: dict[str, Any], free: bool
) -> None:
    uneven = histogram((256, 300), (512, 300), (1024, 300), (2048, 100), mean=600.0)
    plan = planned(request(size, **({"lengths": uneven} | changes)), H100)

    assert plan.padding_free is free
    assert ("no padding" in plan.message) is free


def test_without_a_gpu_rows_are_padded() -> None:
    assert not planned(request(gpus=0, lengths=histogram((128, 9), (2048, 1))), None).padding_free


def test_the_time_on_rows_of_many_lengths_as_measured_on_an_h100() -> None:
    """16 rows of 256 to 2,048 tokens: 14,157 tokens a second, without padding."""
    bounds = range(384, 2049, 128)
    even = request(lengths=histogram(*((b, 10) for b in bounds), mean=1180.0))
    plan = planned(even, H100)
    assert plan.padding_free
    each = passes_of_step(
        even.lengths, 2048, rows=16, micro_batch_size=4, gpus=1, padding_free=True
    )
    seconds = each.count * micro_batch_seconds(
        SHAPES["8B"], "SFT", H100, rows=each.rows, length=each.length, checkpointing=False,
    )  # fmt: skip

    assert 16 * 1180 / seconds == pytest.approx(14_157, rel=0.1)
