"""From samples to results and comparisons."""

from typing import Any

import pytest

from qwen3_api.job.evaluate import EvalJob, EvalSample
from qwen3_evaluator.scores import Scores, build_comparisons, build_results
from qwen3_evaluator.statistics import tango_interval, wilson_interval
from support.evaluations import build_job, build_sample


def results(job: EvalJob, samples: list[EvalSample]) -> list[tuple[Any, ...]]:
    return [
        (r.metric, r.model, r.baseline, r.value, r.samples)
        for r in build_results(job, Scores.from_samples(samples))
    ]


def test_results_follow_the_job_and_weigh_losses_by_tokens() -> None:
    job = build_job("ExactMatch", "AssistantLoss", gates=[])
    samples = [
        build_sample("target", 1, scores={"ExactMatch": 1}, loss=2.0, answer_tokens=1),
        build_sample("target", 2, scores={"ExactMatch": 0}, loss=2.0, answer_tokens=7),
        build_sample("base", 1, scores={"ExactMatch": 0}, loss=9.0, answer_tokens=3),
        build_sample("base", 2, scores={"ExactMatch": 0}, loss=0.0, answer_tokens=6),
    ]
    assert results(job, samples) == [
        ("ExactMatch", "target", None, 0.5, 2),
        ("AssistantLoss", "target", None, 0.5, 2),
        ("ExactMatch", "base", None, 0.0, 2),
        ("AssistantLoss", "base", None, 1.0, 2),
    ]


def test_a_questions_score_is_the_mean_over_its_samples() -> None:
    job = build_job("ExactMatch", "AssistantLoss", gates=[], samples=3)
    rights = {1: (1, 1, 1), 2: (1, 0, 0)}
    samples = [
        build_sample(
            "target",
            line,
            sample=k,
            scores={"ExactMatch": right},
            loss=4.0 if k == 0 else None,
            answer_tokens=2 if k == 0 else None,
        )
        for line, answers in rights.items()
        for k, right in enumerate(answers)
    ]
    assert results(job, samples) == [
        ("ExactMatch", "target", None, pytest.approx(2 / 3), 2),
        ("AssistantLoss", "target", None, 2.0, 2),
    ]


def opinion(baseline: str | None, score: float, judge: str = "j") -> dict[str, Any]:
    return {"judge": judge, "baseline": baseline, "score": score, "reason": "r"}


def test_wins_are_counted_against_each_baseline_over_judges_and_samples() -> None:
    job = build_job("JudgeScore", "JudgeWin", baselines=("base", "old"), gates=[])
    samples = [
        build_sample(
            "target",
            1,
            scores={"JudgeScore": 0.75},
            opinions=[
                opinion(None, 0.75),
                opinion("base", 1),
                opinion("base", 0.5, "k"),
                opinion("old", 0),
            ],
        ),
        build_sample(
            "target", 1, sample=1, scores={"JudgeScore": 0.25}, opinions=[opinion("base", 0)]
        ),
        build_sample("base", 1, scores={"JudgeScore": 1}),
    ]
    assert results(job, samples) == [
        ("JudgeScore", "target", None, 0.5, 1),
        ("JudgeWin", "target", "base", 0.375, 1),
        ("JudgeWin", "target", "old", 0.0, 1),
        ("JudgeScore", "base", None, 1.0, 1),
    ]
    comparisons = build_comparisons(job, Scores.from_samples(samples))
    assert [(c.metric, c.baseline, c.delta) for c in comparisons] == [("JudgeScore", "base", -0.5)]


def test_intervals_are_of_95_percent_and_pairs_of_the_same_questions() -> None:
    job = build_job(gates=[])
    rights = {"target": [1] * 8 + [0] * 2, "base": [1] * 5 + [0] * 4}
    samples = [
        build_sample(model, line, scores={"ExactMatch": right})
        for model, answers in rights.items()
        for line, right in enumerate(answers)
    ]
    scores = Scores.from_samples(samples)
    target, _ = build_results(job, scores)
    assert (target.low, target.high) == wilson_interval(8, 10, 0.95)
    (found,) = build_comparisons(job, scores)
    assert found.delta == pytest.approx(3 / 9)
    assert (found.low, found.high) == tango_interval(3, 0, 9, 0.95)
    assert (found.better, found.worse, found.samples) == (3, 0, 9)
    assert found.p_value == pytest.approx(0.25)


def test_less_loss_is_better_and_its_delta_negative() -> None:
    job = build_job("AssistantLoss", gates=[])
    samples = [
        build_sample(model, line, loss=loss * line, answer_tokens=line)
        for model, loss in (("target", 1.0), ("base", 1.5))
        for line in range(1, 31)
    ]
    (found,) = build_comparisons(job, Scores.from_samples(samples))
    assert found.delta == pytest.approx(-0.5)
    assert (found.better, found.worse, found.samples) == (30, 0, 30)
