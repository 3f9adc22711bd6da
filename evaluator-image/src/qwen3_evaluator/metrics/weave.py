"""The scorers of Weave: `qwen3_evaluator.weave_scorers` has stored what their process returned."""

from qwen3_api.metrics import OF_WEAVE
from qwen3_evaluator.metrics.registry import stored

stored(__name__, *OF_WEAVE)
