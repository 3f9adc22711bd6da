"""Accuracy: `qwen3_evaluator.benchmarks` has stored EvalScope's verdict."""

from qwen3_api.metrics import Metric
from qwen3_evaluator.metrics.registry import stored

stored(__name__, Metric.ACCURACY)
