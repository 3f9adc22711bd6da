"""The GPU benchmark's pure parts: what it orders, what it keeps, what it prints."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "gpu"))

from benchmarks.train.configurations import (
    COMPARED,
    DEFAULTS,
    EFFECTIVE_BATCH,
    MEASURED,
    Configuration,
    model_shape,
    planned,
    train_job,
)
from benchmarks.train.results import Failure, Machine, Phase, Results, Run, StepEnd, append, read
from benchmarks.train.rows import write_rows
from benchmarks.train.tables import (
    expected_seconds,
    fit_of_memory,
    fit_of_speed,
    memory_table,
    render,
    together,
)
from qwen3_api.v1alpha1.training import HyperparametersSpec
from qwen3_sizing import throughput
from qwen3_sizing.memory import GIB, MIB, estimate_memory
from qwen3_sizing.plan import CARDS, usable
from support.qwen3_shapes import SHAPES

H100 = CARDS["NVIDIA-H100-80GB-HBM3"]
MACHINE = Machine("2026-11-24", "NVIDIA H100 80GB HBM3", 81559, "580", "3.12", "abc", {"trl": "1"})


def run(
    configuration: Configuration,
    *,
    reserved: float = 0.0,
    step: float = 1.0,
    loss: float = 2.0,
    tokens: int = 100,
) -> Run:
    """A run whose first step takes ten times as long."""
    moments = [0.0, *(10 * step + n * step for n in range(configuration.steps - 1))]
    ends = [StepEnd(at, loss, n * tokens) for n, at in enumerate(moments, 1)]
    return Run.of(
        "product",
        configuration,
        loading=Phase(1.0, 1, 2, 0),
        training=Phase(2.0, int(reserved * 0.99), int(reserved), 600 * MIB),
        steps=ends,
        before=0,
    )


def test_the_measured_shapes_are_those_of_the_memory_model_s_tests() -> None:
    assert {size: model_shape(size) for size in ("0.6B", "1.7B", "4B", "8B")} == {
        size: SHAPES[size] for size in ("0.6B", "1.7B", "4B", "8B")
    }


def test_the_first_eight_configurations_cover_what_the_table_is_to_show() -> None:
    first = [planned(COMPARED[0], H100), *MEASURED[:7]]

    assert {c.base for c in first} == {"0.6B", "1.7B", "4B", "8B"}
    assert {c.quantized for c in first} == {False, True}
    assert {c.checkpointing for c in first} == {False, True}
    assert {c.tokens for c in first} == {1024, 2048}


@pytest.mark.parametrize("configuration", MEASURED, ids=lambda c: c.name)
def test_every_configuration_fits_an_h100(configuration: Configuration) -> None:
    needed = estimate_memory(configuration.setup(), configuration.step()).on_card

    assert needed < H100.memory_mib * MIB * 0.95


@pytest.mark.parametrize("compared", COMPARED, ids=lambda c: c.name)
def test_the_product_is_compared_at_the_same_rows(compared: Configuration) -> None:
    own = planned(compared, H100)

    assert not own.checkpointing
    assert (own.rows, own.lengths) == (compared.rows, compared.lengths)
    assert own.micro_batch_size * own.accumulation == 16
    assert train_job(own, Path("rows"), gpus=1).hyperparameters.gradient_accumulation_steps == (
        own.accumulation
    )


@pytest.mark.parametrize("method", ["SFT", "DPO"])
def test_rows_are_longer_than_the_configuration_takes(tmp_path: Path, method: str) -> None:
    configuration = Configuration("tiny", 2, 64, False, method=method)  # type: ignore[arg-type]

    lines = write_rows(configuration, tmp_path).read_text().splitlines()

    assert len(lines) == configuration.rows == 10
    assert all(len(line.split()) > configuration.tokens for line in lines)


def test_rows_of_many_lengths(tmp_path: Path) -> None:
    configuration = Configuration("tiny", 20, 600, False, shortest=120)

    lines = write_rows(configuration, tmp_path).read_text().splitlines()

    words = [len(json.loads(line)["messages"][-1]["content"].split()) for line in lines]
    assert len(set(words)) > 50
    assert 100 <= min(words) <= 150
    assert max(words) >= 450


def test_speed_on_rows_of_many_lengths_is_that_of_their_own_tokens() -> None:
    configuration = Configuration("0.6B", 8, 1024, checkpointing=False, steps=5, shortest=256)

    assert run(configuration, step=0.5, tokens=3000).tokens_per_second == 3000 / 0.5


def test_equal_rows_for_settings_that_differ_in_the_micro_batch(tmp_path: Path) -> None:
    contents = set()
    for name, configuration in (("a", COMPARED[0]), ("b", planned(COMPARED[0], H100))):
        folder = tmp_path / name
        folder.mkdir()
        contents.add(write_rows(replace(configuration, tokens=64), folder).read_bytes())

    assert len(contents) == 1


def test_lines_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    one, failed = run(MEASURED[0], reserved=GIB), Failure("product", MEASURED[1], "no memory")
    for line in (MACHINE, one, failed):
        append(path, line)

    assert read(path) == Results(MACHINE, [one], [failed])


def test_speed_is_that_of_the_steps_after_the_warm_up() -> None:
    configuration = Configuration("0.6B", 8, 1024, checkpointing=False, accumulation=2, steps=3)

    assert run(configuration, step=0.5).tokens_per_second == 2 * 8 * 1024 / 0.5
    assert run(replace(configuration, method="DPO"), step=0.5).tokens_per_second == (
        2 * 2 * 8 * 1024 / 0.5
    )


def test_the_memory_table_tells_the_error_of_each() -> None:
    c = MEASURED[0]
    measured = estimate_memory(c.setup(), c.step()).reserved / 1.2

    table = memory_table([run(c, reserved=measured)])

    assert "+20.0%" in table
    assert "0 of 1 reserved peaks within 10%" in table


def test_constants_are_found_again_in_peaks_made_of_them() -> None:
    runs = [
        run(c, reserved=1.03 * estimate_memory(c.setup(), c.step()).allocated + 700 * MIB)
        for c in MEASURED
    ]

    text = fit_of_memory(runs)

    found = re.search(r"SLACK ([\d.]+) .*RESERVE (\d+) MiB .*error then ([\d.]+)%", text)
    assert found is not None
    assert float(found[1]) == pytest.approx(0.03, abs=1e-3)
    assert float(found[2]) == pytest.approx(700, abs=2)
    assert found[3] == "0.0"


def test_speeds_made_of_other_constants_tell_them_and_the_model_s_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configurations = [c for c in DEFAULTS if c.base != "0.6B"]
    with monkeypatch.context() as changed:
        changed.setattr(throughput, "PRODUCTS", 0.6)
        changed.setattr(throughput, "TRAVERSALS", 20)
        changed.setattr(throughput, "LOGIT_TRAVERSALS", 9)
        runs = [
            run(
                c,
                step=c.accumulation * expected_seconds(c, H100),
                tokens=c.micro_batch_size * c.tokens,
            )
            for c in configurations
        ]

    text = fit_of_speed(runs, H100)

    assert "PRODUCTS 0.60 (in use 0.72), TRAVERSALS 20 (in use 17), LOGIT_TRAVERSALS 9" in text
    off = max(r.steady_step_seconds / expected_seconds(r.configuration, H100) - 1 for r in runs)
    assert f"The card is the limit of 12: largest error {off:.0%}." in text


def test_files_of_one_card_are_taken_together() -> None:
    parts = [
        Results(
            MACHINE, [run(c, reserved=1.02 * estimate_memory(c.setup(), c.step()).reserved)], []
        )
        for c in MEASURED[:3]
    ]

    text = together(parts)

    assert "3 of 3 reserved peaks within 10%; the largest error is 2.0%, the mean 2.0%." in text
    assert text.count("| product |") == 3


def test_everything_is_printed() -> None:
    usual, own = (
        [run(c, reserved=50 * GIB, step=step, loss=loss, tokens=tokens) for c in configurations]
        for configurations, step, loss, tokens in (
            (COMPARED, 6.0, 2.0, 600),
            ([planned(c, H100) for c in COMPARED], 2.0, 2.01, 700),
        )
    )
    usual = [replace(r, system="TRL + PEFT") for r in usual]
    failed = Failure("product", MEASURED[1], "no memory")

    text = render(Results(MACHINE, [*usual, *own], [failed]))

    assert "3.00 times as fast; after the same 96 rows the mean loss differs by 0.50%" in text
    assert "3.50 times as fast; after the same 224 rows the mean loss differs by 0.50%" in text
    assert "| product | 8B LoRA r16, no checkpointing, 4 x 2,048 x 4 | 16,384 |" in text
    assert (
        "| product | 8B LoRA r16, no checkpointing, 4 x 256–2,048 x 4, no padding | 350 |" in text
    )
    assert "no memory" in text
    assert "MFU" in text


def test_an_incomplete_comparison_is_told() -> None:
    assert "was not completed" in render(Results(MACHINE, [run(COMPARED[0], reserved=GIB)], []))


def test_the_defaults_are_what_a_spec_without_sizes_asks_for() -> None:
    assert HyperparametersSpec().effective_batch_size == EFFECTIVE_BATCH
    own = [planned(c, H100) for c in DEFAULTS]
    assert {(c.base, c.quantized, c.tokens) for c in own} == {
        (base, bits, tokens)
        for base in ("0.6B", "1.7B", "4B", "8B")
        for bits in (False, True)
        for tokens in (1024, 2048)
    }
    assert all(c.micro_batch_size * c.accumulation == EFFECTIVE_BATCH for c in own)
    assert all(estimate_memory(c.setup(), c.step()).on_card <= usable(H100) for c in own)


def test_what_the_planner_chose_is_printed_beside_what_it_took() -> None:
    own = planned(DEFAULTS[0], H100)
    needs = estimate_memory(own.setup(), own.step()).on_card
    took = run(own, reserved=needs / 1.1 - 600 * MIB)
    failed = Failure("product", planned(DEFAULTS[1], H100), "CUDA out of memory")
    text = render(Results(replace(MACHINE, defaults=True), [took], [failed]))
    assert f"| {own.name} | {needs / GIB:.1f} | {needs / 1.1 / GIB:.1f} | +10.0% |" in text
    assert "1 of the planner's own choices ran to their end, 1 did not" in text
    assert "CUDA out of memory" in text
    assert "TRL + PEFT" not in text
