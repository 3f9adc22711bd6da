"""How the target was trained: what is read, what is shown."""

import json
from typing import Any

import pytest

from qwen3_evaluator.report.training import (
    MOST_POINTS,
    build_training,
    build_usage,
    format_duration,
    thin,
)
from qwen3_evaluator.training import TrainingRecord, curve, parse_log
from support.eval_reports import build_job, build_report, build_samples
from support.eval_reports import build_training as make_record


def state(*entries: Any) -> bytes:
    return json.dumps({"log_history": entries}).encode()


def test_curves_are_read_from_the_log_of_the_trainer() -> None:
    entries = parse_log(
        state(
            {"step": 2, "loss": 2.5, "epoch": 0.1},
            {"step": 4, "loss": 2.0},
            {"step": 4, "eval_loss": 2.25, "eval_runtime": 1.0},
            {"step": 4, "train_runtime": 9.0, "train_loss": 2.25},
        )
    )
    assert curve(entries, "loss") == [(2, 2.5), (4, 2.0)]
    assert curve(entries, "eval_loss") == [(4, 2.25)]


def test_a_resumed_run_has_each_step_once() -> None:
    entries = parse_log(state({"step": 4, "loss": 2.0}, {"step": 2, "loss": 1.0},
                              {"step": 4, "loss": 3.0}))  # fmt: skip
    assert curve(entries, "loss") == [(2, 1.0), (4, 3.0)]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"log_history": null}', b'{"log_history": [1, "a", null]}',
     state({"step": "4", "loss": 1.0}, {"step": 4, "loss": "1"}, {"loss": 1.0}),
     b'{"log_history": [{"step": 4, "loss": NaN}, {"step": 5, "loss": Infinity}]}',
     b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_log_gives_no_curve(content: bytes) -> None:
    assert curve(parse_log(content), "loss") == []


def test_facts_are_those_of_the_commit() -> None:
    view = build_training(build_job(), make_record())
    assert view is not None
    assert dict(view.facts) == {
        "training_steps": "400",
        "training_epochs": "3",
        "training_tokens": "4,812,033",
        "training_rows": "2,400",
        "training_loss": "0.842",
        "training_eval_loss": "1.012",
        "training_gpu": "92.3 min",
        "training_cost": "3.85 EUR",  # 5540 s of 2.50 an hour
    }
    assert view.best_at == 80.0


def test_without_a_price_nothing_costs() -> None:
    job = build_job()
    assert job.training is not None
    free = job.training.model_copy(update={"price_per_gpu_hour": None})
    view = build_training(job.model_copy(update={"training": free}), make_record())
    assert view is not None
    assert "training_cost" not in dict(view.facts)
    assert "training_gpu" in dict(view.facts)


def test_on_a_cpu_there_is_no_gpu_time() -> None:
    record = make_record()
    metrics = record.commit.metrics.model_copy(update={"gpu_seconds": 0.0})
    commit = record.commit.model_copy(update={"metrics": metrics})
    view = build_training(build_job(), TrainingRecord(commit, [], []))
    assert view is not None
    assert not {"training_gpu", "training_cost"} & dict(view.facts).keys()
    assert (view.steps, view.curves, view.best_at) == (None, (), None)


def test_points_lie_on_the_axes() -> None:
    record = TrainingRecord(make_record(best=None).commit, [(0, 2.0), (50, 1.0), (100, 1.5)], [])
    view = build_training(build_job(), record)
    assert view is not None
    (line,) = view.curves
    assert line.path == "M0 0L50 100L100 50"
    assert (line.last, line.lowest, line.mark) == ("1.500", "1.000", 0)
    assert len(line.dots) == 3


def test_one_point_and_equal_losses_are_drawn() -> None:
    record = TrainingRecord(make_record(1).commit, [(1, 2.0)], [(1, 2.0)])
    view = build_training(build_job(), record)
    assert view is not None
    assert [c.path for c in view.curves] == ["M100 50", "M100 50"]


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    long = [(step, float(step)) for step in range(10_001)]
    short = thin(long)
    assert len(short) == MOST_POINTS
    assert (short[0], short[-1]) == (long[0], long[-1])
    assert thin(long[:7]) == long[:7]


def test_no_record_no_section() -> None:
    assert build_training(build_job(), None) is None
    job = build_job().model_copy(update={"training": None})
    assert build_training(job, make_record()) is None


def test_tokens_of_models_and_judges() -> None:
    job = build_job()
    rows = build_usage(job, build_report(job, build_samples(job, 3)))
    assert [(r.model, r.prompt, r.completion) for r in rows] == [
        ("target", "41,233", "18,020"),
        ("base", "41,240", "17,109"),
        ("incumbent", "41,247", "16,198"),
        (None, "301,244", "18,730"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (119, "119 s"),
        (120, "2.0 min"),
        (7199, "120.0 min"),
        (36_000_000, "10,000.0 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
