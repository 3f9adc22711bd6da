"""The parent's side of a worker process: start it, read its messages, make sense of its end."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from qwen3_api.job.base import Document
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import Interrupted, TrainerError, container_killed
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.worker.messages import (
    MESSAGE,
    Downloaded,
    Failed,
    Message,
    Started,
    Stopped,
    Trained,
    Verified,
)

log = logging.getLogger(__name__)
worker_log = logging.getLogger("worker")

OnMessage = Callable[[Message], None]
KILL_SECONDS = 10
"""How long a process that was killed may take to vanish."""


def run_worker(
    command: str,
    plan: Document,
    *,
    job: TrainJob,
    folder: Path,
    environment: Mapping[str, str],
    shutdown: Shutdown,
    on_message: OnMessage,
) -> Message:
    """Runs `python -m qwen3_trainer.worker <command>` to its end. Returns its last message.

    Raises TrainerError for what failed in it, and Interrupted when it was told to stop.
    """
    plan_file = folder / f"{command}.json"
    plan_file.write_bytes(plan.to_json())
    read_end, write_end = os.pipe()
    with ExitStack() as stack:
        messages = stack.enter_context(os.fdopen(read_end, encoding="utf-8"))
        # No SIGTERM between the start of the process and the promise to end it.
        with shutdown.finishing():
            try:
                process = _start(command, plan_file, write_end, folder, environment)
            finally:
                os.close(write_end)
            stack.callback(_end, process)
        shutdown.check()
        assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
        output = threading.Thread(target=_log_lines, args=(process.stdout,), daemon=True)
        output.start()
        last: Message | None = None
        for line in messages:
            last = MESSAGE.validate_json(line)
            if isinstance(last, Started):
                stack.enter_context(shutdown.forwarding(process))
            on_message(last)
        status = process.wait()
        output.join(KILL_SECONDS)
    return _outcome(command, status, last, job)


def _start(
    command: str, plan_file: Path, descriptor: int, folder: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "qwen3_trainer.worker"),
            *(command, str(plan_file), str(descriptor)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(environment),
        cwd=folder,
        pass_fds=[descriptor],
    )


def _outcome(command: str, status: int, last: Message | None, job: TrainJob) -> Message:
    if isinstance(last, Failed):
        raise TrainerError.from_failure(last.failure)
    if isinstance(last, Stopped):
        raise Interrupted(last.step)
    if status == -signal.SIGKILL:
        # Nobody here kills a worker that is still listened to: it was the kernel.
        raise container_killed()
    if status != 0 or not isinstance(last, Downloaded | Trained | Verified):
        end = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
        raise TrainerError(
            Reason.TRAINER_FAILED,
            f"the {command} process ended with {end}",
            "The log of the pod has its last lines.",
        )
    return last


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait(KILL_SECONDS)


def _log_lines(stream: IO[str]) -> None:
    """Passes the worker's output on, one record a line; its own records keep their level."""
    with stream:
        for line in stream:
            text = line.rstrip()
            if text:
                level, message = parse_line(text)
                worker_log.log(level, "%s", message)


def parse_line(text: str) -> tuple[int, str]:
    """Level and message of a line: of a record of the worker's logger, or of anything printed."""
    try:
        record = json.loads(text)
        return int(record["level"]), str(record["message"])
    except (ValueError, KeyError, TypeError):
        return logging.INFO, text
