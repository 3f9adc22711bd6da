"""The pure parts of the preflight: hashes, the sample, lengths, thresholds, the model's shape."""

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from qwen3_api.job.exit_codes import ACTIONS, ExitCode, PodFailureAction
from qwen3_api.job.preflight import ModelShape, PreflightJob
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer import base_model
from qwen3_trainer.data.rows import Row
from qwen3_trainer.preflight.checks import (
    check_duplicates,
    check_leakage,
    check_lengths,
    check_window,
    warn_of_mixed_reasoning,
    warn_of_odd_roles,
)
from qwen3_trainer.preflight.cores import Cores
from qwen3_trainer.preflight.findings import Findings
from qwen3_trainer.preflight.fingerprints import Fingerprints, fingerprint
from qwen3_trainer.preflight.heaviest import MAX_ROWS as MAX_HEAVY_ROWS
from qwen3_trainer.preflight.heaviest import Heaviest, Heavy, weigh
from qwen3_trainer.preflight.lengths import MAX_BUCKETS, Lengths, bucket_bounds
from qwen3_trainer.preflight.run import name_failure
from qwen3_trainer.preflight.sample import Candidate, RowSample, sample_key
from qwen3_trainer.preflight.scan import Scan, Scanner
from qwen3_trainer.store import Buckets
from qwen3_trainer.window import read_window
from support.preflight_runs import preflight_job
from support.rows import to_row

ASK = {"role": "user", "content": "hi"}
SAY = {"role": "assistant", "content": "hello"}
QWEN3_8B = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "max_position_embeddings": 40960,
}


def _fingerprints(rows: list[dict[str, Any]]) -> Fingerprints:
    found = Fingerprints()
    found.extend(array("Q", map(fingerprint, rows)), array("Q", range(1, len(rows) + 1)))
    return found


def _row(text: str) -> Row:
    return to_row({"messages": [ASK, {"role": "assistant", "content": text}]})


# --- fingerprints ---------------------------------------------------------------------------------


def test_every_repetition_of_a_row_is_a_duplicate() -> None:
    assert _fingerprints([_row(t) for t in "abacaab"]).sealed().duplicates() == 4
    assert _fingerprints([_row(t) for t in "abc"]).sealed().duplicates() == 0
    assert _fingerprints([]).sealed().duplicates() == 0


def test_leaked_rows_are_told_with_their_lines() -> None:
    train = _fingerprints([_row(t) for t in "dabc"]).sealed()
    validation = _fingerprints([_row(t) for t in "xayzdc~"])
    assert validation.contained_in(train) == [2, 5, 6]
    assert validation.contained_in(_fingerprints([]).sealed()) == []


def test_the_same_dialogue_has_one_hash_in_any_form() -> None:
    messages = {"messages": [ASK, SAY]}
    expected = fingerprint(to_row(messages))
    assert fingerprint(to_row({"prompt": [ASK], "completion": [SAY]})) == expected
    assert fingerprint(to_row({"messages": [dict(reversed(ASK.items())), SAY]})) == expected
    others = [
        {"messages": [ASK, SAY, ASK, SAY]},
        {"messages": [{**ASK, "role": "system"}, SAY]},
        {"messages": [ASK, SAY], "tools": [{"name": "f"}]},
        {"prompt": [ASK], "chosen": [SAY], "rejected": [ASK]},
        {"prompt": [ASK], "chosen": [ASK], "rejected": [SAY]},
    ]
    assert len({fingerprint(to_row(row)) for row in [messages, *others]}) == 6


# --- sample ---------------------------------------------------------------------------------------


def _sampled(path: Path, rows: int, size: int = 1, **limits: int) -> list[int]:
    """The numbers of the rows that a sample keeps of `rows` rows of `size` bytes."""
    with RowSample(path / "sample", **limits) as sample:
        for i in range(1, rows + 1):
            sample.offer(Candidate(sample_key(i), i, str(i).zfill(size).encode()))
            assert len(sample) >= 1
        kept = [int(row) for _, row in sample.rows()]
        assert [number for number, _ in sample.rows()] == kept
        assert len(sample) == len(kept)
        return kept


def test_what_fits_is_kept_whole(tmp_path: Path) -> None:
    assert _sampled(tmp_path, 100, max_rows=100) == list(range(1, 101))


def test_a_larger_stream_is_thinned_evenly(tmp_path: Path) -> None:
    kept = _sampled(tmp_path, 20_000, max_rows=1_000)
    assert 400 < len(kept) <= 1_000
    assert kept == sorted(kept)
    quarters = [sum(q * 5_000 < i <= (q + 1) * 5_000 for i in kept) for q in range(4)]
    odd = sum(i % 2 for i in kept)
    assert min(quarters) > len(kept) * 0.2, "each part of the stream"
    assert 0.4 < odd / len(kept) < 0.6, "data that alternates between two kinds"


def test_large_rows_are_limited_by_their_bytes_but_one_is_kept(tmp_path: Path) -> None:
    assert 1 <= len(_sampled(tmp_path, 50, size=100, max_bytes=1_000)) <= 10
    assert len(_sampled(tmp_path, 50, size=100, max_bytes=10)) == 1


# --- blocks ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two() -> Iterator[Cores]:
    """Two processes beside this one."""
    with Cores(2) as cores:
        yield cores


def _data(tmp_path: Path, lines: list[str]) -> PreflightJob:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return preflight_job(**{"dataset.train": {"type": "File", "path": str(path), "source": "d"}})


def _scan(job: PreflightJob, tmp_path: Path, cores: Cores) -> tuple[Scan, list[tuple[int, bytes]]]:
    found = Scan()
    with RowSample(tmp_path / "sample", max_rows=40) as sample:
        Scanner(job, Buckets(), cores, tmp_path).scan(found, job.dataset.train, "train", sample)
        return found, list(sample.rows())


def _lines(count: int) -> list[str]:
    """Rows of either format of a prompt and a completion, blank lines among them."""
    rows = [
        json.dumps({"prompt": f"é{i % 90}", "completion": "x" * (i % 7 + 1)}) for i in range(count)
    ]
    return [line for row in rows for line in (row, "")]


def test_blocks_and_processes_find_what_one_reading_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: Cores
) -> None:
    job = _data(tmp_path, _lines(400))
    with Cores(1) as cores:
        whole, whole_sample = _scan(job, tmp_path, cores)
    monkeypatch.setattr("qwen3_trainer.preflight.scan.BLOCK", 500)
    found, sample = _scan(job, tmp_path, two)
    assert (found.rows, found.first, found.sha256) == (400, whole.first, whole.sha256)
    assert sample == whole_sample
    assert found.sha256 == hashlib.sha256((tmp_path / "rows.jsonl").read_bytes()).hexdigest()
    numbers = found.fingerprints.contained_in(whole.fingerprints.sealed())
    assert numbers == list(range(1, 800, 2)), "the lines, blank ones counted"
    assert found.fingerprints.sealed().duplicates() == 0


@pytest.mark.parametrize("broken", [1, 7, 350, 400])
def test_the_first_broken_line_is_told_whatever_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: Cores, broken: int
) -> None:
    lines = [line for line in _lines(400) if line]
    lines[broken - 1] = json.dumps({"prompt": "p"})
    lines[-1:] = ["{"] if broken < 400 else [lines[-1]]
    monkeypatch.setattr("qwen3_trainer.preflight.scan.BLOCK", 500)
    job = _data(tmp_path, lines)
    job = job.model_copy(
        update={"dataset": job.dataset.model_copy(update={"format": "PromptCompletion"})}
    )
    with pytest.raises(FailureError) as failed:
        _scan(job, tmp_path, two)
    assert failed.value.reason == Reason.DATASET_INVALID
    assert failed.value.message.startswith(f"line {broken}: completion: missing")


def test_bad_rows_after_the_first_are_counted_as_far_as_they_are_read(tmp_path: Path) -> None:
    good, bad = (json.dumps({"prompt": "p", "completion": c}) for c in ("c", ""))

    def told(lines: list[str]) -> str:
        with Cores(1) as cores, pytest.raises(FailureError) as failed:
            _scan(_data(tmp_path, lines), tmp_path, cores)
        return failed.value.message

    several = told([good, bad, good, good, bad, "", bad, good, ""])
    assert several.startswith(
        "line 2: completion: empty; 2 of the 5 rows read after it are bad too ("
    )
    assert told([good, bad, good]).startswith("line 2: completion: empty (")
    # Behind what is no JSON nothing is counted.
    assert "; 1 of the 2 rows" in told([bad, good, bad, "{", bad])
    assert told([good, "{", bad]).startswith("line 2: not JSON")


def test_the_first_rows_format_is_that_of_every_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: Cores
) -> None:
    lines = [json.dumps({"prompt": "p", "completion": "c"})] * 100
    # A line is a block: the odd one begins its own.
    monkeypatch.setattr("qwen3_trainer.preflight.scan.BLOCK", len(lines[0]) + 1)
    lines[60] = json.dumps({"instruction": "p", "output": "c"})
    with pytest.raises(FailureError, match="line 61: prompt: missing"):
        _scan(_data(tmp_path, lines), tmp_path, two)


def test_thinking_enabled_names_the_first_row_without_reasoning(tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": "p", "completion": f"<think>{t}</think>a"}) for t in ("r", "")]
    job = _data(tmp_path, lines)
    with Cores(1) as cores:
        assert _scan(job, tmp_path, cores)[0].reasoning_rows == 1
    strict = job.model_copy(
        update={"dataset": job.dataset.model_copy(update={"thinking": "Enabled"})}
    )
    with Cores(1) as cores, pytest.raises(FailureError, match=r"line 2: .*no reasoning") as failed:
        _scan(strict, tmp_path, cores)
    assert "dataset.chatTemplate.thinking" in failed.value.hint


@pytest.mark.parametrize(("policy", "stripped"), [("AsInData", 0), ("Disabled", 3)])
def test_reasoning_is_counted_as_it_stands_in_the_data(
    tmp_path: Path, policy: str, stripped: int
) -> None:
    thought = {**SAY, "reasoning_content": "hm"}
    chats = [[ASK, thought], [ASK, SAY], [ASK, thought, ASK, SAY]]
    lines = [json.dumps({"messages": chat}) for chat in chats]
    lines.append(json.dumps({"messages": [ASK, {**SAY, "content": "<think>so</think>hello"}]}))
    job = _data(tmp_path, lines)
    dataset = job.dataset.model_copy(update={"thinking": policy})
    with Cores(1) as cores:
        found = _scan(job.model_copy(update={"dataset": dataset}), tmp_path, cores)[0]
    assert (found.rows, found.reasoning_rows, found.stripped_rows) == (4, 2, stripped)


def test_mixed_rows_are_a_warning_where_the_policy_leaves_them() -> None:
    (told,) = warn_of_mixed_reasoning(preflight_job(), 40, 12)
    assert told.startswith("12 of 40 training rows have reasoning")
    assert "dataset.chatTemplate.thinking" in told
    assert warn_of_mixed_reasoning(preflight_job(), 40, 40) == []
    assert warn_of_mixed_reasoning(preflight_job(), 40, 0) == []
    disabled = preflight_job(**{"dataset.thinking": "Disabled"})
    assert warn_of_mixed_reasoning(disabled, 40, 12) == []
    findings = Findings(thinking="AsInData", warnings=[told])
    assert findings.to_document("abc", None).warnings == [told]


def test_unusual_orders_of_roles_are_counted_and_told(tmp_path: Path) -> None:
    chats = [[ASK, SAY], [ASK, SAY, ASK], [ASK, {"role": "system", "content": "s"}, SAY, ASK]]
    with Cores(1) as cores:
        job = _data(tmp_path, [json.dumps({"messages": chat}) for chat in chats])
        found = _scan(job, tmp_path, cores)[0]
    assert (found.late_system_rows, found.unanswered_rows) == (1, 2)
    late, unanswered = warn_of_odd_roles(3, 1, 2)
    assert late.startswith("1 of 3 training rows have a system message behind")
    assert unanswered.startswith("2 of 3 training rows don't end in an assistant's answer")
    assert warn_of_odd_roles(3, 0, 0) == []


def test_a_killed_process_is_an_error_and_no_hanging() -> None:
    with Cores(2) as cores, pytest.raises(BrokenProcessPool):
        list(cores.map(os._exit, [(9,)] * 3))


# --- lengths --------------------------------------------------------------------------------------


def _lengths(counts: list[int], limit: int, dropped: int = 0) -> Lengths:
    lengths = Lengths(limit)
    for i, count in enumerate(counts):
        lengths.add(count, count, learnable=i >= dropped)
    return lengths


def test_the_numbers_of_a_hundred_rows() -> None:
    lengths = _lengths(list(range(1, 101)), 90, dropped=3)
    told = lengths.histogram()
    assert (told.p50, told.p95, told.p99, told.maximum) == (50, 95, 99, 100)
    assert told.buckets == [(32, 32), (48, 16), (64, 16), (96, 32), (128, 4)]
    assert told.mean == pytest.approx((sum(range(1, 91)) + 10 * 90) / 100)
    assert lengths.truncated_percent == 10
    assert lengths.dropped_percent == 3
    assert lengths.epoch_tokens(100) == sum(range(1, 91)) + 10 * 90
    assert lengths.epoch_tokens(1_000) == 10 * (sum(range(1, 91)) + 10 * 90), "of a sample"


@pytest.mark.parametrize("maximum", [1, 32, 33, 48, 49, 64, 100, 2_048, 131_072, 10_000_000])
def test_buckets_reach_the_maximum_and_stay_few(maximum: int) -> None:
    bounds = bucket_bounds(maximum)
    assert bounds == sorted(set(bounds))
    assert bounds[0] == 32
    assert bounds[-1] >= maximum
    assert len(bounds) == 1 or bounds[-2] < maximum
    assert len(bounds) <= MAX_BUCKETS


# --- the longest row --------------------------------------------------------------------------


def test_digits_weigh_more_than_words() -> None:
    assert weigh(b"1234567890" * 8) > 2 * weigh(b"abcdefghij" * 8)
    assert weigh(b"") == 1


@given(
    weights=strategies.lists(strategies.integers(1, 50), min_size=1, max_size=60),
    cut=strategies.integers(0, 60),
    limits=strategies.tuples(strategies.integers(1, 8), strategies.integers(1, 300)),
)
def test_the_heaviest_rows_are_kept_however_the_data_is_cut(
    weights: list[int], cut: int, limits: tuple[int, int]
) -> None:
    rows = [Heavy(weight, -i, b"x" * weight) for i, weight in enumerate(weights, 1)]
    whole = Heaviest(max_rows=limits[0], max_bytes=limits[1])
    for row in rows:
        whole.offer(row)
    kept = list(whole.rows())
    assert 1 <= len(kept) <= limits[0]
    assert len(kept) == 1 or sum(len(row) for _, row in kept) <= limits[1]
    by_weight = sorted(rows, reverse=True)
    assert kept == [(-row.rank, row.row) for row in by_weight[: len(kept)]]
    rest = by_weight[len(kept) :]
    assert whole.left_out == max((row.weight for row in rest), default=0)

    merged = Heaviest(max_rows=limits[0], max_bytes=limits[1])
    for part in (rows[:cut], rows[cut:]):
        block = Heaviest(merged.floor, max_rows=limits[0], max_bytes=limits[1])
        for row in part:
            block.offer(row)
        merged.merge(block)
    assert list(merged.rows())[: len(kept)] == kept
    assert merged.left_out == whole.left_out


def test_a_long_row_outside_of_the_sample_is_kept_and_its_line_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: Cores
) -> None:
    lines = _lines(4_000)
    keys = {number: sample_key(number) for number in range(1, len(lines), 2)}
    unlikely = max(keys, key=lambda number: keys[number])
    lines[unlikely - 1] = json.dumps({"prompt": "p", "completion": "long " * 500})
    monkeypatch.setattr("qwen3_trainer.preflight.scan.BLOCK", 5_000)
    job = _data(tmp_path, lines)
    found = Scan()
    with RowSample(tmp_path / "sample", max_rows=40) as sample:
        Scanner(job, Buckets(), two, tmp_path).scan(found, job.dataset.train, "train", sample)
        assert not sample.is_whole
        assert unlikely not in [number for number, _ in sample.rows()]
    number, row = next(found.heaviest.rows())
    assert (number, row.count(b"long ")) == (unlikely, 500)
    assert len(list(found.heaviest.rows())) == MAX_HEAVY_ROWS
    assert 0 < found.heaviest.left_out < 100


@given(
    rows=strategies.lists(
        strategies.tuples(strategies.integers(1, 4_000), strategies.floats(0.8, 1.2)),
        min_size=2,
        max_size=80,
    ),
    sampled=strategies.integers(1, 20),
    kept=strategies.integers(1, 5),
)
def test_the_longest_told_is_that_of_a_row_or_above_all(
    rows: list[tuple[int, float]], sampled: int, kept: int
) -> None:
    """Rows of a weight and tokens for it that vary by half, of which some are sampled."""
    limit = 3_000
    measured = sorted(((weight, max(1, int(weight * rate))) for weight, rate in rows), reverse=True)
    heaviest, sample = _weighed(measured[:kept], limit), _weighed(measured[::sampled], limit)
    before = sample.histogram()
    sample.bound(heaviest, max((weight for weight, _ in measured[kept:]), default=0))
    told, longest = sample.histogram(), max(length for _, length in measured)
    # Rows vary by 1.2 / 0.8; one that is longer than the bound is at most by so much.
    assert min(told.maximum, limit) * 1.5 + 2 >= min(longest, limit)
    assert told.maximum >= max(length for _, length in measured[:kept])
    if told.maximum_is_bound:
        assert told.maximum <= limit
    else:
        assert told.maximum in {length for _, length in measured}
    numbers = {"maximum", "maximum_is_bound"}
    assert told.model_dump(exclude=numbers) == before.model_dump(exclude=numbers), "of the sample"


def _weighed(rows: list[tuple[int, int]], limit: int) -> Lengths:
    lengths = Lengths(limit)
    for weight, length in rows:
        lengths.add(length, weight, learnable=True)
    return lengths


def test_what_was_not_counted_is_bounded_by_the_worst_rate_of_heavy_rows() -> None:
    # Light rows of three tokens a weight say nothing of heavy ones.
    sample = _weighed([(10, 30), (400, 480), (300, 300)], 4_096)
    sample.bound(_weighed([(1_000, 900)], 4_096), left_out=800)
    assert (sample.longest, sample.longest_is_bound) == (960, True)
    assert (sample.histogram().p99, sample.counts) == (480, [30, 480, 300])

    sample.bound(_weighed([(1_000, 5_000)], 4_096), left_out=900)
    assert (sample.longest, sample.longest_is_bound) == (5_000, False), "longer ones are cut"

    short = _weighed([(400, 480)], 500)
    short.bound(_weighed([(450, 490)], 500), left_out=449)
    assert (short.longest, short.longest_is_bound) == (500, True)


# --- thresholds -----------------------------------------------------------------------------------


def test_truncation_over_the_limit_fails_with_its_numbers() -> None:
    job = preflight_job(**{"dataset.max_sequence_length": 100, "checks.max_truncated_percent": 20})
    check_lengths(job, _lengths([100] * 8 + [101] * 2, 100))
    with pytest.raises(FailureError) as failed:
        check_lengths(job, _lengths([100] * 7 + [150] * 2 + [400], 100))
    error = failed.value
    assert error.reason == Reason.DATASET_CHECK_FAILED
    assert "30.00 % of 10 rows" in error.message
    assert "longer than 100 tokens" in error.message
    assert "(20 % are allowed)" in error.message
    assert "dataset.maxSequenceLength" in error.hint
    assert "at most 400 tokens" in error.hint
    assert "dataset.checks.maxTruncatedPercent" in error.hint


@pytest.mark.parametrize(("dropped", "allowed"), [(1, 5), (10, 100)])
def test_dropped_rows_over_the_limit_fail_first_and_all_always(dropped: int, allowed: int) -> None:
    job = preflight_job(**{"checks.max_dropped_percent": allowed})
    with pytest.raises(FailureError) as failed:
        check_lengths(job, _lengths([900] * 10, 160, dropped))
    assert failed.value.reason == Reason.DATASET_CHECK_FAILED
    assert f"{dropped * 10}.00 % of 10 rows" in failed.value.message
    assert "nothing to learn" in failed.value.message
    assert "dataset.checks.maxDroppedPercent" in failed.value.hint


def test_duplicates_fail_where_a_limit_is_set() -> None:
    check_duplicates(preflight_job(), 10, 9)
    strict = preflight_job(**{"checks.max_duplicate_percent": 20})
    check_duplicates(strict, 10, 2)
    with pytest.raises(FailureError) as failed:
        check_duplicates(strict, 9, 2)
    assert failed.value.reason == Reason.DATASET_CHECK_FAILED
    assert failed.value.message.startswith("22.22 % of 9 training rows repeat another one (20 %")
    assert "dataset.checks.maxDuplicatePercent" in failed.value.hint
    none = preflight_job(**{"checks.max_duplicate_percent": 0})
    check_duplicates(none, 9, 0)
    with pytest.raises(FailureError):
        check_duplicates(none, 1_000_000, 1)


def test_leakage_fails_unless_it_may() -> None:
    check_leakage(preflight_job(), 9, [])
    check_leakage(preflight_job(**{"checks.fail_on_leakage": False}), 9, [1, 2])
    with pytest.raises(FailureError) as failed:
        check_leakage(preflight_job(), 9, list(range(3, 10)))
    assert failed.value.reason == Reason.DATASET_LEAKAGE
    assert "7 of 9 validation rows" in failed.value.message
    assert "line 3, 4, 5, 6, 7, …" in failed.value.message
    assert "dataset.checks.failOnLeakage" in failed.value.hint


# --- the document ---------------------------------------------------------------------------------


def test_a_preflight_that_found_nothing_yet_still_makes_a_document() -> None:
    failure = FailureError(Reason.STORAGE_DENIED, "m", "h")
    document = Findings().to_document("abc", failure.failure)
    assert document.failure == failure.failure
    assert (document.rows, document.lengths, document.shape) == (0, None, None)


@pytest.mark.parametrize(
    "reason",
    [Reason.DATASET_LEAKAGE, Reason.DATASET_CHECK_FAILED, Reason.START_ADAPTER_NOT_FOUND],
)
def test_what_a_user_must_mend_is_not_tried_again(reason: Reason) -> None:
    assert ACTIONS[FailureError(reason, "m").exit_code] is PodFailureAction.FAIL_JOB


@pytest.mark.parametrize(
    ("struck", "reason", "hint"),
    [
        (True, Reason.OUT_OF_MEMORY, "Ask the platform team to raise preflight.memory."),
        (False, Reason.TRAINER_FAILED, "The log of the preflight's pod has the traceback."),
        (None, Reason.TRAINER_FAILED, "The log of the preflight's pod has the traceback."),
    ],
)
def test_a_lost_process_is_out_of_memory_by_the_kernel_s_count_only(
    struck: bool | None, reason: Reason, hint: str
) -> None:
    named = name_failure(BrokenProcessPool("terminated abruptly"), struck)
    assert (named.reason, named.hint) == (reason, hint)


# --- the base model -------------------------------------------------------------------------------


def _hub(folder: Path, config: object, names: set[str]) -> base_model.Description:
    (folder / "config.json").write_text(json.dumps(config))
    source = {"type": "HuggingFace", "repo": "Qwen/Qwen3-8B"}
    job = preflight_job(**{"base_model.source": source})
    return base_model.describe(
        job.base_model, Buckets(), folder, lambda *_: (folder, frozenset(names))
    )


COMPLETE = {"config.json", "tokenizer.json", "model.safetensors"}


def test_the_shape_is_read_from_the_config(tmp_path: Path) -> None:
    found = _hub(tmp_path, QWEN3_8B, COMPLETE)
    assert found.commit == tmp_path.name
    assert found.shape.model_dump() == {k: v for k, v in QWEN3_8B.items() if k != "model_type"}
    short = {k: v for k, v in QWEN3_8B.items() if k not in ("head_dim", "tie_word_embeddings")}
    assert base_model.read_shape("m", short) == found.shape, "defaults of transformers' Qwen3Config"
    short.pop("max_position_embeddings")
    assert base_model.read_shape("m", short).max_position_embeddings == 32768


def test_rows_may_not_be_longer_than_the_base_s_window(tmp_path: Path) -> None:
    shape = _hub(tmp_path, QWEN3_8B, COMPLETE).shape
    check_window(preflight_job(**{"dataset.max_sequence_length": 40960}), shape)
    over = preflight_job(**{"dataset.max_sequence_length": 40961})
    with pytest.raises(FailureError) as caught:
        check_window(over, shape)
    assert caught.value.exit_code == ExitCode.USER_ERROR
    assert "dataset.maxSequenceLength is 40961" in caught.value.message
    assert "40960 positions" in caught.value.message
    assert caught.value.hint == "Set dataset.maxSequenceLength to 40960 or less."
    check_window(over, shape.model_copy(update={"max_position_embeddings": None}))


def test_a_shape_of_an_earlier_release_is_read() -> None:
    old = {k: v for k, v in QWEN3_8B.items() if k not in ("model_type", "max_position_embeddings")}
    assert ModelShape.model_validate(old).max_position_embeddings is None


def test_the_worker_reads_the_window_by_itself(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN3_8B))
    assert read_window(tmp_path) == 40960


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "is no JSON object"),
        (None, "is no JSON object"),
        ({"model_type": "qwen3", "hidden_size": 1}, "lacks intermediate_size, num_attention"),
        ({**QWEN3_8B, "hidden_size": "wide"}, "hidden_size is no number"),
    ],
)
def test_a_config_that_is_none_is_refused(tmp_path: Path, config: object, words: str) -> None:
    with pytest.raises(FailureError) as failed:
        _hub(tmp_path, config, COMPLETE)
    assert failed.value.reason == Reason.BASE_MODEL_NOT_FOUND
    assert words in failed.value.message
    assert failed.value.hint


MOE = {
    **QWEN3_8B,
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_experts": 128,
}
AWQ = {"quant_method": "awq", "bits": 4}


@pytest.mark.parametrize(
    ("config", "card", "names", "words"),
    [
        (MOE, "", COMPLETE, "is Qwen3MoeForCausalLM (model_type qwen3_moe): only dense Qwen3"),
        ({**QWEN3_8B, "model_type": "llama"}, "", COMPLETE, "(model_type llama)"),
        ({"model_type": "qwen3_vl", "text_config": QWEN3_8B}, "", COMPLETE, "qwen3_vl"),
        ({**QWEN3_8B, "quantization_config": AWQ}, "", COMPLETE, "already quantized"),
        (QWEN3_8B, "", COMPLETE | {"modules.json"}, "embeddings"),
        (QWEN3_8B, "---\npipeline_tag: text-ranking\n---\n", COMPLETE, "text-ranking"),
    ],
    ids=["moe", "llama", "vision", "awq", "embedding", "reranker"],
)
def test_what_is_out_of_scope_is_refused_before_a_gpu(
    tmp_path: Path, config: object, card: str, names: set[str], words: str
) -> None:
    (tmp_path / "README.md").write_text(card)
    with pytest.raises(FailureError) as failed:
        _hub(tmp_path, config, names)
    assert failed.value.reason == Reason.BASE_MODEL_UNSUPPORTED
    assert ACTIONS[failed.value.exit_code] is PodFailureAction.FAIL_JOB
    assert words in failed.value.message
    assert failed.value.hint


@pytest.mark.parametrize("card", [b"---\ndate: 2026-13-45\n---\n", b"---\n\xff\n---\n"])
def test_a_card_that_can_t_be_read_refuses_nothing(tmp_path: Path, card: bytes) -> None:
    (tmp_path / "README.md").write_bytes(card)
    assert _hub(tmp_path, QWEN3_8B, COMPLETE).shape.hidden_size == QWEN3_8B["hidden_size"]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("model.safetensors", "has no *.safetensors"),
        ("tokenizer.json", "has no tokenizer.json"),
    ],
)
def test_missing_files_of_the_base_are_named(tmp_path: Path, missing: str, words: str) -> None:
    with pytest.raises(FailureError, match=words.replace("*", r"\*")) as failed:
        _hub(tmp_path, QWEN3_8B, COMPLETE - {missing})
    assert failed.value.reason == Reason.BASE_MODEL_NOT_FOUND


def test_every_file_of_the_index_must_be_there(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    names = {"config.json", "tokenizer.json", "model-1-of-2.safetensors"}
    with pytest.raises(FailureError, match=r"lacks 1 of 2 files .* model-2-of-2.safetensors"):
        _hub(tmp_path, QWEN3_8B, names)
    assert _hub(tmp_path, QWEN3_8B, names | {"model-2-of-2.safetensors"}).shape.head_dim == 128
