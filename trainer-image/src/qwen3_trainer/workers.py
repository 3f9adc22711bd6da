"""The parent's side of a worker: start it, read its messages, watch it, make sense of its end.

One process, or torchrun with a process per GPU, in a process group of its own: whatever a worker
started ends with it.
"""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from qwen3_api.job.base import Document
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import (
    GpuMemoryError,
    Interrupted,
    killed_for_memory,
    killed_without_proof,
)
from qwen3_trainer.ladder import MemoryUse
from qwen3_trainer.oom_kills import count_oom_kills, has_struck
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.worker.messages import (
    MESSAGE,
    Done,
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
EXIT_SECONDS = 60
"""How long a process may take to end after its last message."""
FAILED_SECONDS = 5
"""The same after a failure: the others of several processes wait for the one that failed."""
Result = Done | Downloaded | Trained | Verified
"""The last word of a worker that did its work: it is on the disk by then."""
_CHUNK = 1 << 16


class Watch(Protocol):
    """Looks at a running worker every now and then."""

    def look(self, stop: Callable[[], None], warn: Callable[[str], None]) -> float:
        """Calls `stop` to have the worker save and end, `warn` to have something logged. Returns
        seconds until the next look. Raises to have the worker killed."""


@dataclass
class _Running:
    stop: Callable[[], None]
    """Tells it to save and end."""


def run_worker(
    command: str,
    plan: Document,
    *,
    folder: Path,
    environment: Mapping[str, str],
    shutdown: Shutdown,
    on_message: OnMessage,
    watch: Watch | None = None,
    processes: int = 1,
) -> Message:
    """Runs `python -m qwen3_trainer.worker <command>` to its end. Returns its last message.

    Raises FailureError for what failed in it or what the watch found, and Interrupted when it
    received SIGTERM.
    """
    plan_file = folder / f"{command}.json"
    plan_file.write_bytes(plan.to_json())
    kills = count_oom_kills()
    read_end, write_end = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, read_end)
        # No SIGTERM between the start of the process and the promise to end it.
        with shutdown.finishing():
            try:
                process = _start(command, plan_file, write_end, folder, environment, processes)
            finally:
                os.close(write_end)
            stack.callback(_end, process)
        shutdown.check()
        assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
        output = threading.Thread(target=_log_lines, args=(process.stdout,), daemon=True)
        output.start()
        worker = _Running(process.terminate)
        last: Message | None = None
        for line in _lines(
            read_end, lambda: watch.look(worker.stop, log.warning) if watch else None
        ):
            last = MESSAGE.validate_json(line)
            if isinstance(last, Started):
                worker.stop = _stopper(process, last.pid, stack)
                stack.enter_context(shutdown.forwarding(worker.stop))
            on_message(last)
            if isinstance(last, Failed | Stopped | Result):
                # Of several processes the first to fail knows why. And what a library does on its
                # way out can't undo a result.
                break
        status = _exit_status(process, FAILED_SECONDS if isinstance(last, Failed) else EXIT_SECONDS)
        output.join(KILL_SECONDS)
    return _outcome(command, status, last, has_struck(kills, count_oom_kills()))


def _start(
    command: str,
    plan_file: Path,
    descriptor: int,
    folder: Path,
    environment: Mapping[str, str],
    processes: int,
) -> "subprocess.Popen[str]":
    launcher = _torchrun(processes, folder) if processes > 1 else ["-m"]
    return subprocess.Popen(
        [
            *(sys.executable, *launcher, "qwen3_trainer.worker"),
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
        start_new_session=True,
    )


def _torchrun(processes: int, folder: Path) -> list[str]:
    """torchrun on this machine alone. As its --standalone, but by address: a container need not
    resolve the name localhost, and one that can't waits for a minute and fails."""
    return [
        *("-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={processes}"),
        *("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--rdzv-conf=is_host=true"),
        *("--local-addr=127.0.0.1", f"--log-dir={folder / 'torchrun'}", "-m"),
    ]


def _lines(descriptor: int, look: Callable[[], float | None]) -> Iterator[bytes]:
    """Lines from a pipe until its last writer is gone; looks around before each wait."""
    buffer = b""
    while True:
        ready, _, _ = select.select([descriptor], [], [], look())
        if not ready:
            continue
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from lines


def _stopper(
    process: "subprocess.Popen[str]", pid: int | None, stack: ExitStack
) -> Callable[[], None]:
    """How the worker receives SIGTERM: the process itself, or the one of torchrun's that obeys.

    torchrun would kill its processes 30 s after a SIGTERM of its own, whatever they are saving.
    """
    if pid is None or pid == process.pid:
        return process.terminate
    descriptor = os.pidfd_open(pid)
    stack.callback(os.close, descriptor)

    def stop() -> None:
        with suppress(ProcessLookupError):  # it has ended, and its end is being read
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)

    return stop


def _exit_status(process: "subprocess.Popen[str]", seconds: float) -> int:
    """Of a process that has said its last word. One that hangs is ended; its word counts."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        log.warning("the worker is killed: it has not ended %.0f s after its last message", seconds)
        _end(process)
        return 0


def _outcome(command: str, status: int, last: Message | None, struck: bool | None) -> Message:
    """`struck`: the kernel ended a process of this container for memory meanwhile, None where that
    is unknown."""
    end = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
    if isinstance(last, Stopped):
        raise Interrupted(last.step)
    if isinstance(last, Result):
        if status != 0:
            log.warning("the %s process ended with %s after its result", command, end)
        return last
    named = _failed(last) if isinstance(last, Failed) else None
    if named is not None and named.reason is not Reason.TRAINER_FAILED:
        raise named
    if struck:
        # Also of a process that only noticed that another one had ended: a rank, a data loader.
        raise killed_for_memory(command, named)
    if named is not None:
        raise named
    if status == -signal.SIGKILL:
        raise killed_without_proof(command, counted=struck is not None)
    raise FailureError(
        Reason.TRAINER_FAILED,
        f"the {command} process ended with {end}",
        "The log of the pod has its last lines.",
    )


def _failed(last: Failed) -> FailureError:
    if last.failure.reason != Reason.OUT_OF_MEMORY:
        return FailureError.from_failure(last.failure)
    use = None
    if last.gpu_peak_mib is not None and last.gpu_total_mib is not None:
        use = MemoryUse(last.gpu_peak_mib, last.gpu_total_mib)
    return GpuMemoryError(last.failure, use)


def _end(process: "subprocess.Popen[str]") -> None:
    """Kills what is left of the worker: the process and, after it, its group."""
    with suppress(ProcessLookupError):  # the whole group has ended
        os.killpg(process.pid, signal.SIGKILL)
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
