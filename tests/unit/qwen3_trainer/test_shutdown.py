"""SIGTERM in each phase."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from qwen3_trainer.failures import Interrupted
from qwen3_trainer.shutdown import Shutdown

WORKER = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def shutdown() -> Iterator[Shutdown]:
    """Installed for one test."""
    before = signal.getsignal(signal.SIGTERM)
    made = Shutdown()
    made.install()
    yield made
    signal.signal(signal.SIGTERM, before)


def _terminate_me() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_it_raises_once(shutdown: Shutdown) -> None:
    with pytest.raises(Interrupted):
        _terminate_me()
    _terminate_me()
    assert shutdown.requested


def test_no_library_swallows_it(shutdown: Shutdown) -> None:
    def greedy() -> None:
        try:
            _terminate_me()
        except Exception:  # noqa: BLE001  (what libraries do)
            return

    with pytest.raises(Interrupted):
        greedy()


def test_while_finishing_it_is_only_noted(shutdown: Shutdown) -> None:
    with shutdown.finishing():
        _terminate_me()
        with shutdown.finishing():
            _terminate_me()
        _terminate_me()
    assert shutdown.requested
    with pytest.raises(Interrupted):
        shutdown.check()
    shutdown.check()


@pytest.mark.parametrize("early", [False, True])
def test_while_training_the_worker_gets_it(shutdown: Shutdown, early: bool) -> None:
    """Also when it came just before the border."""
    with subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout is not None
        assert p.stdout.readline() == "ready\n"
        shutdown.requested = early
        try:
            with shutdown.forwarding(p.terminate):
                if not early:
                    _terminate_me()
                assert p.wait(120) == 7
        finally:
            p.kill()
