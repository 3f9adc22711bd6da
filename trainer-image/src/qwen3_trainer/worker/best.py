"""Where the weights of the lowest validation loss lie. No torch."""

import json
import logging
import os
from pathlib import Path

from qwen3_trainer.worker.messages import TrainPlan

log = logging.getLogger(__name__)

STATE = "trainer_state.json"
WEIGHTS = "adapter_model.safetensors"


def checkpoint_folder(plan: TrainPlan, step: int) -> Path | None:
    """The folder of a checkpoint of this attempt or of those before it; None if it is nowhere."""
    name = f"checkpoint-{step}"
    earlier = (Path(f) for f in (plan.resume_from, plan.best_checkpoint) if f is not None)
    for folder in (Path(plan.output) / name, *earlier):
        if folder.name == name and (folder / WEIGHTS).is_file():
            return folder
    return None


def forget_lost_best(plan: TrainPlan, checkpoint: Path) -> None:
    """Lets a run look for a new best where the old one never reached the bucket."""
    path = checkpoint / STATE
    state = json.loads(path.read_text(encoding="utf-8"))
    best = state.get("best_global_step")
    if best is None or checkpoint_folder(plan, best) is not None:
        return
    log.warning("the weights of step %d, the best so far, are lost: looking for a new best", best)
    state.update(best_global_step=None, best_metric=None, best_model_checkpoint=None)
    # Several processes may do the same at once.
    written = path.with_name(f"{STATE}.{os.getpid()}")
    written.write_text(json.dumps(state), encoding="utf-8")
    written.replace(path)
