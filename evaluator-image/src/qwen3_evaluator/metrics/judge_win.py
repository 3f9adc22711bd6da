"""JudgeWin: how often the judges prefer the target's answer to a baseline's."""

from statistics import fmean

from qwen3_api.job.evaluate import EvalSample
from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics.registry import reader


@reader(Metric.JUDGE_WIN)
def read_wins(sample: EvalSample, baseline: str | None) -> float | None:
    """Mean of the judges' opinions about the pair; a sample of a baseline has none."""
    wins = [o.score for o in sample.opinions if baseline is not None and o.baseline == baseline]
    return fmean(wins) if wins else None
