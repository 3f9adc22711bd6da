"""Logs three losses through the trainer's W&B tracking. Runs in the ML environment:

    python tracking_probe.py JOB.json FOLDER [kill]

It has two seconds of patience with a server. After the first loss it prints `begun` and waits for a
line on stdin. With `kill` it then ends wandb's service process. The messages for the parent go to
FOLDER/messages.
"""

import logging
import os
import signal
import sys
from pathlib import Path

from transformers import TrainerControl, TrainerState, TrainingArguments

from qwen3_api.job.train import TrainJob
from qwen3_trainer.environment import prepare_process, training_environment
from qwen3_trainer.worker import tracking
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.stop import StopFlag


def main(job_file: Path, folder: Path, kill: bool) -> None:
    """Logs."""
    logging.basicConfig(level=logging.INFO)
    job = TrainJob.model_validate_json(job_file.read_bytes())
    prepare_process(folder)
    os.environ.update(training_environment(os.environ, job))
    tracking.INIT_SECONDS = tracking.FINISH_SECONDS = 2.0
    messages = os.open(folder / "messages", os.O_WRONLY | os.O_CREAT)
    arguments = TrainingArguments(output_dir=str(folder / "output"), report_to="none")
    with tracking.tracked(job, Channel(messages), StopFlag()) as callback:
        if callback is None:
            print("untracked", flush=True)
            return
        for step in (1, 2, 3):
            state = TrainerState(global_step=step)
            callback.on_log(arguments, state, TrainerControl(), logs={"loss": 1 / step})
            if step == 1:
                print("begun", flush=True)
                sys.stdin.readline()
                if kill:
                    _kill_children()
    print("ended", flush=True)


def _kill_children() -> None:
    pid = os.getpid()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
        os.waitpid(int(child), 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "kill" in sys.argv[3:])
