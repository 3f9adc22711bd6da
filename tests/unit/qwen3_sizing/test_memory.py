"""The memory model against parameter counts and measured peaks."""

import pytest

from qwen3_api.v1alpha1.training import ALL_LINEAR
from qwen3_sizing.memory import (
    GIB,
    Step,
    TrainingSetup,
    base_parameters,
    estimate_memory,
    lora_parameters,
    loss_rows,
    weight_bytes,
)
from support.qwen3_shapes import SHAPES


@pytest.mark.parametrize(
    ("size", "parameters", "lora"),
    [
        # 0.6B and 8B as torch counts them (docs/reference/gpu-check.md), the rest from the widths.
        ("0.6B", 596_049_920, 10_092_544),
        ("1.7B", 1_720_574_976, 17_432_576),
        ("4B", 4_022_468_096, 33_030_144),
        ("8B", 8_190_735_360, 43_646_976),
        ("14B", 14_768_307_200, 64_225_280),
        ("32B", 32_762_123_264, 134_217_728),
    ],
)
def test_parameters_of_base_and_adapter(size: str, parameters: int, lora: int) -> None:
    assert base_parameters(SHAPES[size]) == parameters
    assert lora_parameters(SHAPES[size], 16, ALL_LINEAR) == lora


def test_an_adapter_on_two_projections_has_only_theirs() -> None:
    shape = SHAPES["8B"]

    assert lora_parameters(shape, 8, ("q_proj", "v_proj")) == 36 * 8 * (4096 + 4096 + 4096 + 1024)


@pytest.mark.parametrize(("size", "gib"), [("8B", 5.7), ("14B", 9.2), ("32B", 17.9)])
def test_weights_in_four_bits_with_embeddings_in_sixteen(size: str, gib: float) -> None:
    assert weight_bytes(SHAPES[size], quantized=True) / GIB == pytest.approx(gib, rel=0.02)


MEASURED = [
    # r16, one H100: shape, micro-batch, tokens, checkpointing, 4 bits, GiB. With TRL 1.12 and
    # Unsloth 2026.10.7:
    ("8B", 2, 2048, False, False, 33.1),
    ("8B", 3, 2048, False, False, 41.7),
    ("8B", 2, 2048, True, False, 16.6),
    ("8B", 8, 2048, True, False, 18.5),
    ("8B", 4, 4096, True, False, 18.5),
    ("8B", 2, 2048, True, True, 7.1),
    # With the versions of the image:
    ("8B", 6, 2048, False, False, 66.7),
    ("8B", 4, 2048, False, True, 40.4),
    # docs/reference/performance.md:
    ("8B", 4, 2048, False, False, 50.47),
    ("0.6B", 8, 2048, False, False, 20.55),
    ("1.7B", 8, 1024, True, True, 2.72),
    ("4B", 4, 2048, True, False, 9.72),
    ("4B", 4, 1024, False, True, 17.35),
    # The model was fitted to rows above and not touched for these:
    ("0.6B", 16, 1024, True, False, 2.62),
    ("1.7B", 4, 2048, False, False, 17.78),
    ("8B", 4, 1024, False, True, 23.89),
    ("0.6B", 8, 1024, False, True, 10.59),
    ("8B", 8, 1024, True, False, 18.12),
    ("8B", 2, 2048, False, False, 33.20),
    ("8B", 6, 2048, False, False, 67.71),
    # Nor for those that the planner chose by itself (gpu/bench.sh --defaults):
    ("8B", 8, 1024, False, False, 50.82),
    ("8B", 4, 2048, False, True, 41.22),
    ("8B", 8, 1024, False, True, 41.55),
    ("0.6B", 16, 2048, False, False, 39.88),
    ("0.6B", 16, 1024, False, False, 20.83),
    ("0.6B", 16, 2048, False, True, 38.76),
    ("0.6B", 16, 1024, False, True, 20.21),
    ("1.7B", 8, 2048, False, False, 32.15),
    ("1.7B", 16, 1024, False, False, 32.41),
    ("1.7B", 8, 2048, False, True, 29.76),
    ("1.7B", 16, 1024, False, True, 29.95),
    ("4B", 4, 2048, False, False, 36.17),
    ("4B", 16, 1024, False, False, 65.25),
    ("4B", 4, 2048, False, True, 31.48),
    ("4B", 16, 1024, False, True, 60.42),
]


@pytest.mark.parametrize(("size", "rows", "tokens", "checkpointing", "quantized", "gib"), MEASURED)
def test_peaks_measured_on_an_h100(
    size: str, rows: int, tokens: int, checkpointing: bool, quantized: bool, gib: float
) -> None:
    setup = TrainingSetup(SHAPES[size], 16, ALL_LINEAR, quantized, "SFT")

    estimate = estimate_memory(setup, Step(rows, tokens, checkpointing))

    assert estimate.reserved / GIB == pytest.approx(gib, rel=0.08)


@pytest.mark.parametrize(
    ("setup", "step", "gib"),
    [
        (TrainingSetup(SHAPES["4B"], 64, ALL_LINEAR, False, "SFT"), Step(4, 2048, False), 37.39),
        (TrainingSetup(SHAPES["1.7B"], 16, ALL_LINEAR, False, "DPO"), Step(4, 1024, False), 18.06),
    ],
)
def test_peaks_of_another_rank_and_method(setup: TrainingSetup, step: Step, gib: float) -> None:
    assert estimate_memory(setup, step).reserved / GIB == pytest.approx(gib, rel=0.08)


@pytest.mark.parametrize(
    ("size", "tokens", "rows"),
    [
        ("8B", 100, 100),  # no more rows than tokens
        ("8B", 2048, 512),
        ("8B", 6 * 2048, 512),
        ("8B", 16 * 4096, 1024),  # 65,536 * 4,096 / 151,936 = 1,766
        ("14B", 64 * 4096, 3533),  # 8,833, bounded by 2 GiB of logits
    ],
)
def test_rows_of_logits_at_once(size: str, tokens: int, rows: int) -> None:
    assert loss_rows(SHAPES[size], tokens) == rows


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_row_of_dpo_takes_what_two_of_sft_do_and_a_reference(checkpointing: bool) -> None:
    shape = SHAPES["1.7B"]
    sft, dpo = (TrainingSetup(shape, 16, ALL_LINEAR, False, method) for method in ("SFT", "DPO"))

    two = estimate_memory(sft, Step(2, 1024, checkpointing))
    one = estimate_memory(dpo, Step(1, 1024, checkpointing))

    assert one.activations == two.activations
    assert one.adapter - two.adapter == 4 * lora_parameters(shape, 16, ALL_LINEAR)


def test_several_gpus_hold_the_gradients_twice() -> None:
    shape, step = SHAPES["0.6B"], Step(1, 512, False)
    one, two = (TrainingSetup(shape, 8, ALL_LINEAR, False, "SFT", gpus) for gpus in (1, 2))

    more = estimate_memory(two, step).allocated - estimate_memory(one, step).allocated

    assert more == 4 * lora_parameters(shape, 8, ALL_LINEAR)


def test_what_is_on_the_card_is_more_than_pytorch_reserves_and_that_more_than_it_uses() -> None:
    setup = TrainingSetup(SHAPES["4B"], 16, ALL_LINEAR, False, "SFT")

    estimate = estimate_memory(setup, Step(1, 1024, False))

    assert estimate.allocated < estimate.reserved < estimate.on_card
