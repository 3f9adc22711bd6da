"""The run at W&B: an extra for the reader, never a reason to end training.

`environment.training_environment` has the run's id, project and folders as WANDB_* variables.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import WandbCallback

from qwen3_api.job.train import TrainJob
from qwen3_trainer.progress import Pace
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.memory import gpu_peak_mib
from qwen3_trainer.worker.messages import Tracked
from qwen3_trainer.worker.stop import StopFlag

log = logging.getLogger(__name__)

INIT_SECONDS = 30.0
"""How long the start of training waits for a silent server."""
FINISH_SECONDS = 60.0
"""How long its end waits for what the server has not taken yet."""
INTERRUPTED_FINISH_SECONDS = 10.0
"""The same within the grace period of a pod."""


@contextmanager
def tracked(job: TrainJob, channel: Channel, stop: StopFlag) -> Iterator[TrainerCallback | None]:
    """The callback that logs to the run; None without one. Ends the run with the block."""
    run = _start(job)
    if run is None:
        yield None
        return
    if run.url:
        channel.send(Tracked(url=run.url))
    exit_code = 1
    try:
        yield Forgiving(PacedWandbCallback())
        exit_code = 0
    finally:
        _finish(run, exit_code, INTERRUPTED_FINISH_SECONDS if stop.requested else FINISH_SECONDS)


class Forgiving(TrainerCallback):  # type: ignore[misc]  # transformers is Any here
    """Passes on what WandbCallback logs, until that fails: wandb's service process may die."""

    def __init__(self, callback: TrainerCallback) -> None:
        self._callback = callback
        self._lost = False

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Names the run's configuration."""
        self._pass_on("on_train_begin", *args, **kwargs)

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Losses, learning rate, gradient norm."""
        self._pass_on("on_log", *args, **kwargs)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Nothing more is logged."""
        self._pass_on("on_train_end", *args, **kwargs)

    def _pass_on(self, event: str, *args: Any, **kwargs: Any) -> None:
        if self._lost:
            return
        try:
            getattr(self._callback, event)(*args, **kwargs)
        except Exception:
            self._lost = True
            log.warning("W&B is lost, training continues without it", exc_info=True)


class PacedWandbCallback(WandbCallback):  # type: ignore[misc]  # transformers is Any here
    """Logs of a step what progress.json tells beside the loss."""

    def __init__(self) -> None:
        super().__init__()
        self._pace = Pace()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """With tokens_per_second of the last minute, eta_seconds, gpu_memory_mib at its peak."""
        if logs and "loss" in logs:
            self._pace.observe(
                time.monotonic(), state.global_step, int(state.num_input_tokens_seen)
            )
            told = {
                "tokens_per_second": self._pace.tokens_per_second,
                "eta_seconds": self._pace.eta_seconds(state.max_steps),
                "gpu_memory_mib": gpu_peak_mib(),
            }
            # Not into `logs` itself: the trainer keeps that in its checkpoints.
            logs = logs | {name: value for name, value in told.items() if value is not None}
        super().on_log(args, state, control, logs=logs, **kwargs)


def _start(job: TrainJob) -> Any:
    # Of several processes (torchrun) the first one reports.
    if job.wandb is None or os.environ.get("RANK", "0") != "0":
        return None
    import wandb  # noqa: PLC0415  (half a second that others need not pay)

    Path(os.environ["WANDB_DIR"]).mkdir(parents=True, exist_ok=True)
    try:
        run = wandb.init(config=run_config(job), settings=wandb.Settings(init_timeout=INIT_SECONDS))
    except Exception:
        # Whatever it is: wandb's own errors, a refused key, no room for its files, its service
        # process that doesn't start.
        log.warning("training continues without W&B", exc_info=True)
        return None
    log.info("W&B run %s%s", run.id, f" at {run.url}" if run.url else ", offline")
    return run


def run_config(job: TrainJob) -> dict[str, Any]:
    """What the run is filtered by at W&B, beside the arguments that the callback adds."""
    return {
        "finetune": f"{job.namespace}/{job.name}",
        "revision": job.revision,
        "method": job.method,
        "base_model": job.base_model.name,
        "quantized": job.adapter.quantized,
        "rank": job.adapter.rank,
    }


def _finish(run: Any, exit_code: int, seconds: float) -> None:
    """Ends the run. wandb would go on trying to reach a silent server for hours."""

    def finish() -> None:
        try:
            run.finish(exit_code=exit_code)
        except Exception:
            log.warning("the W&B run was not finished", exc_info=True)

    thread = threading.Thread(target=finish, name="wandb-finish", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.warning("the W&B run was not finished within %.0f s: its end may be missing", seconds)
        # wandb's own exit handler would wait too. The last one registered runs first; what this
        # process has to say it has said by then, through the channel.
        atexit.register(os._exit, 0)
