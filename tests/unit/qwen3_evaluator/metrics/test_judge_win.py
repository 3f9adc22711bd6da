"""JudgeWin: what a sample's opinions say of a pair."""

from qwen3_api.job.evaluate import JudgeOpinion
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics import read_score
from support.evaluations import build_sample


def test_the_value_is_the_mean_of_the_judges_about_that_baseline() -> None:
    said = [("base", 1.0), ("base", 0.5), ("old", 0.0), (None, 0.25)]
    opinions = [JudgeOpinion(judge="j", baseline=b, score=s, reason="r") for b, s in said]
    sample = build_sample("target", 1).model_copy(update={"opinions": opinions})
    found = {b: read_score(sample, Metric.JUDGE_WIN, b) for b in ("base", "old", "none", None)}
    assert found == {"base": 0.75, "old": 0.0, "none": None, None: None}
