"""The judges' pass: what is asked, what is kept, what is too much."""

import pytest

from qwen3_api.job.evaluate import EvalSuite, JudgeOpinion, JudgeUsage
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.judging import check_judges, plan_judgements, sum_usage, with_opinions
from qwen3_evaluator.questions import Question, QuestionSet
from qwen3_evaluator.report import SampleKey, plan_units
from support.evaluations import build_job, build_sample

SETS = {"one": QuestionSet([Question(1, "q", "a"), Question(3, "r", "b")], "0" * 64)}
JUDGE = {
    "endpoints": [{"name": "j", "base_url": "http://j/v1", "model": "j"}],
    "rubric": None,
    "swap_positions": True,
    "max_requests": 20,
}
JOB = build_job(
    "JudgeScore", "JudgeWin", baselines=("base", "old"), gates=[], judge=JUDGE, samples=2
)


def opinion(baseline: str | None, score: float) -> JudgeOpinion:
    return JudgeOpinion(judge="j", baseline=baseline, score=score, reason="r")


def test_each_answer_is_judged_and_the_targets_with_each_baselines() -> None:
    found = [(j.key[1:], j.baseline) for j in plan_judgements(JOB, plan_units(JOB, SETS))]
    assert found[:5] == [
        (("target", 1, 0), None),
        (("target", 1, 0), "base"),
        (("target", 1, 0), "old"),
        (("base", 1, 0), None),
        (("old", 1, 0), None),
    ]
    assert len(found) == 2 * 2 * 5
    pairs = [j for j in plan_judgements(JOB, plan_units(JOB, SETS)) if j.baseline]
    assert pairs[-1].other == SampleKey("one", "old", 3, 1)


def test_a_suite_without_those_metrics_is_not_judged() -> None:
    job = build_job("ExactMatch", gates=[])
    assert plan_judgements(job, plan_units(job, SETS)) == []
    check_judges(job, SETS)


def test_a_judgement_is_done_when_its_opinions_are_there() -> None:
    alone, pair, _ = plan_judgements(JOB, plan_units(JOB, SETS))[:3]
    samples = {alone.key: build_sample("target", 1)}
    assert not alone.is_done({})
    assert not alone.is_done(samples)
    samples[alone.key] = with_opinions(samples[alone.key], [opinion("base", 1)])
    assert pair.is_done(samples)
    assert not alone.is_done(samples)


def test_opinions_add_up_and_those_of_the_answer_are_its_score() -> None:
    sample = build_sample("target", 1, scores={"ExactMatch": 1})
    sample = with_opinions(sample, [opinion("base", 0)])
    assert sample.scores == {"ExactMatch": 1}
    sample = with_opinions(sample, [opinion(None, 0.5), opinion(None, 1)])
    assert sample.scores == {"ExactMatch": 1, "JudgeScore": 0.75}
    assert [o.baseline for o in sample.opinions] == ["base", None, None]


def test_more_requests_than_allowed_are_a_user_error() -> None:
    # 2 questions, 2 samples: 3 answers by themselves, 2 pairs in 2 orders.
    with pytest.raises(FailureError, match=r"suite one may take 28 requests .* is 20") as caught:
        check_judges(JOB, SETS)
    assert caught.value.failure.reason == "InvalidSpec"
    assert caught.value.exit_code == 42
    raised = EvalSuite.model_validate(
        JOB.suites[0].model_dump() | {"judge": JUDGE | {"max_requests": 28}}
    )
    check_judges(JOB.model_copy(update={"suites": [raised]}), SETS)


def test_costs_add_up() -> None:
    usage = sum_usage([JudgeUsage(requests=2, unreadable=1), JudgeUsage(requests=3)])
    assert usage == JudgeUsage(requests=5, unreadable=1)
    assert sum_usage([]) == JudgeUsage()
