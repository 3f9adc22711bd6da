"""Daemons are known by pid, start time and content, so that only ours are ever touched."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_local.down import is_dead, mounts_below
from qwen3_local.programs import (
    Daemon,
    ProgramError,
    read_record,
    run,
    start_ticks,
    stop_recorded,
    wait_until,
)

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon("sleeper", SLEEP, tmp_path)
    yield made
    stop_recorded(made.record_file)


def pid_of(daemon: Daemon) -> int:
    entry = read_record(daemon.record_file)
    assert entry is not None
    return entry.pid


def test_running_daemon_is_left_alone(daemon: Daemon) -> None:
    assert daemon.ensure_running()
    pid = pid_of(daemon)
    assert not daemon.ensure_running()
    assert pid_of(daemon) == pid


def test_changed_configuration_restarts(daemon: Daemon) -> None:
    daemon.ensure_running()
    pid = pid_of(daemon)
    changed = Daemon("sleeper", SLEEP, daemon.folder, configuration="other")
    assert changed.ensure_running()
    assert pid_of(changed) != pid
    assert start_ticks(pid) is None


def test_dead_daemon_is_started_again(daemon: Daemon) -> None:
    daemon.ensure_running()
    os.kill(pid_of(daemon), 9)
    wait_until(lambda: not daemon.is_running(), "end of the daemon", 10)
    assert daemon.ensure_running()


def test_reused_pid_is_not_ours(daemon: Daemon) -> None:
    """A record of an earlier boot may name a pid that somebody else has now."""
    daemon.ensure_running()
    entry = json.loads(daemon.record_file.read_text())
    foreign = entry | {"pid": os.getpid(), "started": 1}
    copy = daemon.record_file.with_name("foreign.json")
    copy.write_text(json.dumps(foreign))
    assert not stop_recorded(copy)
    assert not copy.exists()


def test_wait_ready_reports_the_log_of_a_daemon_that_died(tmp_path: Path) -> None:
    broken = Daemon("broken", (sys.executable, "-c", "raise SystemExit('no disk')"), tmp_path)
    broken.ensure_running()
    with pytest.raises(ProgramError, match="no disk"):
        broken.wait_ready(lambda: False, seconds=20)


def test_failing_program_shows_its_output() -> None:
    with pytest.raises(ProgramError, match="exited 3: why"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('why'); sys.exit(3)"])


def test_mounts_are_found_innermost_first() -> None:
    found = mounts_below(Path("/sys"))
    assert found == sorted(found, key=len, reverse=True)
    assert all(place.startswith("/sys/") for place in found)


def test_platform_is_dead_when_all_its_daemons_are(daemon: Daemon) -> None:
    state = daemon.folder
    assert not is_dead(state), "nothing was ever started"
    daemon.ensure_running()
    beside = Daemon("sleeper", SLEEP, state / "s3")
    beside.ensure_running()
    os.kill(pid_of(daemon), 9)
    wait_until(lambda: not daemon.is_running(), "end of the first", 10)
    assert not is_dead(state), "the other one lives"
    os.kill(pid_of(beside), 9)
    wait_until(lambda: is_dead(state), "end of the other", 10)
