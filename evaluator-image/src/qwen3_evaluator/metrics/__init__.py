"""The metrics, a module each: how its numbers come out of an answer or a sample.

What is true of a metric whoever asks (direction, unit, aggregation, per baseline, what it needs) is
declared in `qwen3_api.metrics`; a module here adds the code with `@scorer`, `@reader` or `stored`.
Modules register themselves: a file more is a metric more.
"""

import importlib
import pkgutil

from qwen3_evaluator.metrics.registry import (
    Scorer,
    needs_answer,
    needs_loss,
    needs_pattern,
    read_score,
    reader,
    scorer,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Scorer",
    "needs_answer",
    "needs_loss",
    "needs_pattern",
    "read_score",
    "reader",
    "scorer",
]
