"""JudgeScore: the judges' mean about an answer by itself."""

from statistics import fmean

from qwen3_api.job.evaluate import EvalSample
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics.registry import stored

stored(__name__, Metric.JUDGE_SCORE)


def with_judge_score(sample: EvalSample) -> EvalSample:
    """The sample with the mean of its opinions about the answer by itself, if it has any."""
    alone = [o.score for o in sample.opinions if o.baseline is None]
    if not alone:
        return sample
    return sample.model_copy(update={"scores": {**sample.scores, Metric.JUDGE_SCORE: fmean(alone)}})
