"""What the log of transformers' Trainer tells, which a checkpoint carries on. Pure."""

import math
from typing import Any

from qwen3_api.job.train import JobEarlyStopping

LogHistory = list[dict[str, Any]]


def losses(log_history: LogHistory) -> tuple[float, float]:
    """Final and mean training loss; NaN where the log has none.

    transformers' own mean divides the loss since the resume by all steps.
    """
    entries = [e for e in log_history if "loss" in e]
    total, previous = 0.0, 0
    for entry in entries:
        total += entry["loss"] * (entry["step"] - previous)
        previous = entry["step"]
    if not previous:
        return math.nan, math.nan
    return float(entries[-1]["loss"]), total / previous


def eval_loss_at(log_history: LogHistory, step: int) -> float | None:
    """The validation loss measured at a step."""
    for entry in reversed(log_history):
        if "eval_loss" in entry and entry["step"] == step:
            return float(entry["eval_loss"])
    return None


def stopped_improving(log_history: LogHistory, rule: JobEarlyStopping) -> bool:
    """Whether the last `patience` evaluations all failed to beat the lowest validation loss before
    them by more than `min_delta`: the rule of transformers' EarlyStoppingCallback.

    That one counts in memory, and restoring its count from a checkpoint also restores the order to
    stop that an interrupted attempt left there.
    """
    lowest: float | None = None
    failures = 0
    for entry in log_history:
        if "eval_loss" not in entry:
            continue
        loss = float(entry["eval_loss"])
        improved = lowest is None or lowest - loss > rule.min_delta
        failures = 0 if improved else failures + 1
        lowest = loss if lowest is None else min(lowest, loss)
    return failures >= rule.patience
