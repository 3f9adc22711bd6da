"""How the target was trained, read from its revision's folder for the report.

The numbers are those of COMMIT.json; the curves are the log of transformers' Trainer in the newest
checkpoint (`trainer_state.json`), which every attempt carries on. All of it lies where the tenant
may write, and none of it is needed: what can't be read is left out of the report, with a log line.
"""

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalJob, EvalTraining
from qwen3_api.job.report import Commit
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.store import Store

log = logging.getLogger(__name__)

TRAINER_STATE = "trainer_state.json"
_STEP = re.compile(rf"/{layout.CHECKPOINTS}/step-(\d+)/{TRAINER_STATE}$")

Curve = list[tuple[int, float]]
"""(optimiser step, loss in nats per token), by step."""


@dataclass(frozen=True)
class TrainingRecord:
    """What a revision's folder tells."""

    commit: Commit
    loss: Curve
    """Training loss: each the mean since the one before."""
    eval_loss: Curve
    """Validation loss."""


async def read_training(job: EvalJob, store: Store) -> TrainingRecord | None:
    """The training of the target; None when the order names none or it can't be read."""
    if job.training is None:
        return None
    try:
        return await _read(job.training, store)
    except FailureError as error:
        log.warning("the report is without the target's training: %s", error)
    except ValidationError as error:
        log.warning("the report is without the target's training: %d errors", error.error_count())
    return None


async def _read(training: EvalTraining, store: Store) -> TrainingRecord | None:
    content = await store.get(training.folder.join(layout.COMMIT))
    if content is None:
        log.warning("the report is without the target's training: it has no %s", layout.COMMIT)
        return None
    commit = Commit.model_validate_json(content)
    # The last step's, wherever it is: an attempt may have found all of the work done.
    states = {
        int(match[1]): location
        for location in await store.list_keys(
            training.folder, f"{layout.ATTEMPTS}/", recursive=True
        )
        if (match := _STEP.search(location.prefix)) is not None
    }
    state = await store.get(states[max(states)]) if states else None
    entries = parse_log(state or b"")
    return TrainingRecord(commit, curve(entries, "loss"), curve(entries, "eval_loss"))


def parse_log(state: bytes) -> list[Mapping[str, Any]]:
    """`log_history` of a trainer_state.json; empty when it is none."""
    try:
        history = json.loads(state or b"{}").get("log_history", [])
    except (ValueError, AttributeError, RecursionError) as error:
        log.warning("the report is without the curves of the training: %s", error)
        return []
    return [entry for entry in history if isinstance(entry, dict)] if history else []


def curve(entries: Iterable[Mapping[str, Any]], name: str) -> Curve:
    """The finite values of a field by step; of two at a step the later one."""
    found: dict[int, float] = {}
    for entry in entries:
        step, value = entry.get("step"), entry.get(name)
        if isinstance(step, int) and isinstance(value, int | float) and math.isfinite(value):
            found[step] = float(value)
    return sorted(found.items())
