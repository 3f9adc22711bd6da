"""Running programs: once to their end, or as daemons that outlive this process."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qwen3_local.locks import exclusive


class ProgramError(RuntimeError):
    """A program ended with a non-zero status; the message holds the end of its output."""


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    log: Path | None = None,
) -> str:
    """Run to the end and return stdout; `env` is added to this process's environment.

    With `log`, both outputs go to that file instead and the result is empty.
    Raises ProgramError on a non-zero exit.
    """
    arguments = [str(part) for part in command]
    merged = {**os.environ, **(env or {})}
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as sink:
            status = subprocess.run(
                arguments, cwd=cwd, env=merged, stdout=sink, stderr=sink, check=False
            ).returncode
        if status != 0:
            raise ProgramError(f"{arguments[0]} exited {status}, log {log}:\n{tail(log)}")
        return ""
    done = subprocess.run(
        arguments, cwd=cwd, env=merged, input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        shown, output = " ".join(arguments[:6]), (done.stderr or done.stdout)[-2000:]
        raise ProgramError(f"`{shown}` exited {done.returncode}: {output}")
    return done.stdout


def tail(path: Path, size: int = 2000) -> str:
    """The last `size` characters of a log, or nothing if there is no log."""
    return path.read_text(errors="replace")[-size:] if path.exists() else ""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Poll until `condition` holds. Raises TimeoutError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not so after {seconds:.0f} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""Daemons of this process by pid. They outlive it, so nobody waits for them; a Popen that is
collected while its process lives, or before it knows of its end, warns about just that."""


@dataclass(frozen=True)
class Daemon:
    """A program that keeps running after this process ends.

    Its record (`<folder>/run/<name>.json`) holds the pid and the kernel's start time of that
    pid, so that a reused pid is never taken for ours.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    configuration: str = ""
    """Content of the files it reads: another content means a restart."""
    environment: tuple[tuple[str, str], ...] = ()
    """Beside what it inherits."""

    @property
    def record_file(self) -> Path:
        return self.folder / "run" / f"{self.name}.json"

    @property
    def log_file(self) -> Path:
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def fingerprint(self) -> str:
        started_with = (self.command, self.configuration, self.environment)
        return hashlib.sha256(repr(started_with).encode()).hexdigest()

    def is_running(self) -> bool:
        """True if the very process is alive, with this command line and configuration."""
        entry = read_record(self.record_file)
        return entry is not None and entry.is_alive() and entry.fingerprint == self.fingerprint

    def ensure_running(self) -> bool:
        """Start it unless it runs as wanted; True if it was started now."""
        with exclusive(self.record_file.with_suffix(".lock")):
            if self.is_running():
                return False
            stop_recorded(self.record_file)
            self.start()
            return True

    def start(self) -> None:
        self.record_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as sink:
            child = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                env={**os.environ, **dict(self.environment)},
            )
        CHILDREN[child.pid] = child
        entry = Record(child.pid, start_ticks(child.pid), self.fingerprint)
        self.record_file.write_text(json.dumps(asdict(entry)))

    def wait_ready(self, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until `ready`; raises ProgramError with the log's end if the daemon died."""

        def check() -> bool:
            if not self.is_running():
                raise ProgramError(f"{self.name} died, log {self.log_file}:\n{tail(self.log_file)}")
            return ready()

        wait_until(check, f"{self.name} ready (log {self.log_file})", seconds)


@dataclass(frozen=True)
class Record:
    """What was noted when a daemon was started."""

    pid: int
    started: int | None
    fingerprint: str

    def is_alive(self) -> bool:
        """Whether the very process runs. One of ours that ended is collected."""
        alive = self.started is not None and start_ticks(self.pid) == self.started
        if not alive:
            reap(self.pid)
        return alive


def read_record(path: Path) -> Record | None:
    """The record of a daemon, or None if it was never started or its start was cut short."""
    try:
        return Record(**json.loads(path.read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def start_ticks(pid: int) -> int | None:
    """Kernel start time of a process in clock ticks since boot; None if gone or a zombie."""
    try:
        # The command name in field 2 may hold spaces and brackets: count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def stop_recorded(path: Path, grace_seconds: float = 10.0) -> bool:
    """Stop the daemon of a record and forget it; True if one was running.

    SIGTERM to its session first, SIGKILL after `grace_seconds`.
    """
    entry = read_record(path)
    alive = entry is not None and entry.is_alive()
    if entry is not None and alive:
        deadline = time.monotonic() + grace_seconds
        send(entry.pid, signal.SIGTERM)
        while entry.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if entry.is_alive():
            send(entry.pid, signal.SIGKILL)
            wait_until(lambda: not entry.is_alive(), f"end of {entry.pid}", 10)
    path.unlink(missing_ok=True)
    return alive


def send(pid: int, number: signal.Signals) -> None:
    """Signal the process group of `pid` (each daemon leads its own)."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        # It ended between the look and the signal, which is what was wanted.
        return


def reap(pid: int) -> None:
    """Collect a child that ended, so that it does not linger as a zombie; never blocks.

    What isn't a child was started by an earlier process: init collects it.
    """
    child = CHILDREN.get(pid)
    if child is not None and child.poll() is not None:
        del CHILDREN[pid]
