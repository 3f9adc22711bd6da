"""JudgeScore: the mean of the opinions about an answer by itself."""

from qwen3_api.job.evaluate import JudgeOpinion
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics import read_score
from qwen3_evaluator.metrics.judge_score import with_judge_score
from support.evaluations import build_sample


def test_opinions_about_pairs_dont_count() -> None:
    said = [(None, 1.0), (None, 0.5), ("base", 0.0)]
    opinions = [JudgeOpinion(judge="j", baseline=b, score=s, reason="r") for b, s in said]
    sample = build_sample("target", 1).model_copy(update={"opinions": opinions})
    assert read_score(with_judge_score(sample), Metric.JUDGE_SCORE, None) == 0.75


def test_a_sample_about_which_nothing_was_said_has_no_score() -> None:
    sample = build_sample("target", 1)
    assert with_judge_score(sample) == sample
    assert read_score(sample, Metric.JUDGE_SCORE, None) is None
