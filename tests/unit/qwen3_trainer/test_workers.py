"""What the parent makes of a worker's output and end, with real processes."""

import logging
import os
import signal
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import GpuMemoryError, Interrupted
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.worker.messages import Message, Verified, VerifyPlan
from qwen3_trainer.workers import Watch, parse_line, run_worker
from support.train_jobs import train_job

FAILED = '{"kind": "failed", "failure": {"reason": "LossNaN", "message": "m", "step": 3}}'


def _run(folder: Path, program: str, watch: Watch | None = None) -> tuple[Message, list[Message]]:
    """Runs a program in the worker's place: a package of its name that is found first."""
    package = folder / "fake" / "qwen3_trainer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    prelude = "import os, signal, sys, time\nout = os.fdopen(int(sys.argv[3]), 'w')\n"
    (package / "worker.py").write_text(prelude + textwrap.dedent(program))
    seen: list[Message] = []
    last = run_worker(
        "verify",
        VerifyPlan(job=train_job(), base="/base", adapter="/adapter", prompt=[]),
        folder=folder,
        environment={**os.environ, "PYTHONPATH": str(folder / "fake")},
        shutdown=Shutdown(),
        on_message=seen.append,
        watch=watch,
    )
    return last, seen


def test_messages_arrive_in_order_and_the_last_is_the_result(tmp_path: Path) -> None:
    last, seen = _run(
        tmp_path,
        """
        print('{"kind": "started", "step": 0, "total_steps": 2}', file=out)
        print('{"kind": "verified", "sample": "hi"}', file=out, flush=True)
        """,
    )
    assert last == Verified(sample="hi")
    assert [m.kind for m in seen] == ["started", "verified"]


def test_output_becomes_log_records(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _run(
            tmp_path,
            """
            print("a banner")
            print('{"level": 30, "message": "peft: careful"}', file=sys.stderr)
            print('{"kind": "verified", "sample": "hi"}', file=out, flush=True)
            """,
        )
    records = {(r.levelno, r.getMessage()) for r in caplog.records if r.name == "worker"}
    assert records == {(logging.INFO, "a banner"), (logging.WARNING, "peft: careful")}


@pytest.mark.parametrize(
    ("program", "reason", "words"),
    [
        (f"print('{FAILED}', file=out, flush=True); sys.exit(45)", Reason.LOSS_NAN, "m"),
        ("os.kill(os.getpid(), signal.SIGKILL)", Reason.TRAINER_FAILED, "killed (SIGKILL); the"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", Reason.TRAINER_FAILED, "signal SIGSEGV"),
        ("sys.exit(3)", Reason.TRAINER_FAILED, "exit code 3"),
        ("sys.exit(0)", Reason.TRAINER_FAILED, "exit code 0"),
    ],
)
def test_every_end_has_a_reason(tmp_path: Path, program: str, reason: Reason, words: str) -> None:
    with pytest.raises(FailureError) as caught:
        _run(tmp_path, program)
    assert caught.value.reason == reason
    assert words in caught.value.message


def test_a_stopped_worker_is_an_interrupted_run(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        _run(tmp_path, """print('{"kind": "stopped", "step": 7}', file=out, flush=True)""")
    assert caught.value.step == 7


def test_sigterm_kills_a_worker_that_loads(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    shutdown = Shutdown()
    shutdown.install()
    try:
        with pytest.raises(Interrupted):
            _run(
                tmp_path,
                """
                open('pid', 'w').write(str(os.getpid()))
                os.kill(os.getppid(), signal.SIGTERM)
                time.sleep(60)
                """,
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


@pytest.mark.parametrize("text", ["{}", "[1]", "3", '{"level": "x", "message": 1}', "{"])
def test_a_line_that_looks_like_a_record_is_text(text: str) -> None:
    assert parse_line(text) == (logging.INFO, text)


def test_gpu_memory_comes_with_its_numbers(tmp_path: Path) -> None:
    failed = (
        '{"kind": "failed", "failure": {"reason": "OutOfMemory", "message": "m"}, '
        '"gpu_peak_mib": 2048, "gpu_total_mib": 4096}'
    )
    with pytest.raises(GpuMemoryError) as caught:
        _run(tmp_path, f"print('{failed}', file=out, flush=True); sys.exit(44)")
    assert str(caught.value.use) == "2.0 of the card's 4.0 GiB"


@pytest.mark.parametrize(
    "end",
    [
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "sys.exit(1)",
        f"print('{FAILED}', file=out, flush=True); sys.exit(45)",
    ],
)
def test_no_way_out_of_a_worker_undoes_its_result(tmp_path: Path, end: str) -> None:
    """Libraries crash while they are unloaded, process groups while they are left."""
    verified = """print('{"kind": "verified", "sample": "hi"}', file=out, flush=True)"""
    last, _ = _run(tmp_path, f"{verified}\n{end}")
    assert last == Verified(sample="hi")


class ImpatientWatch:
    """Ends the worker at the second look, with its children."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self, stop: Callable[[], None], warn: Callable[[str], None]) -> float:
        """Waits for the worker's message, then loses patience."""
        self.looks += 1
        if self.looks > 1:
            raise FailureError(Reason.STALL_DETECTED, "nothing happened")
        return 20.0


def test_a_watch_that_raises_ends_the_worker_and_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(FailureError, match="nothing happened"):
        _run(
            tmp_path,
            """
            child = os.fork()
            if child == 0:
                signal.pause()
            open('pids', 'w').write(f"{os.getpid()} {child}")
            print('{"kind": "started", "step": 0, "total_steps": 2}', file=out, flush=True)
            signal.pause()
            """,
            ImpatientWatch(),
        )
    worker, child = (tmp_path / "pids").read_text().split()
    assert not Path(f"/proc/{worker}").exists()
    assert _is_gone(child)


def _is_gone(pid: str) -> bool:
    """Whether a process that is nobody's child here has ended, if only unread by its init."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if stat.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


class StoppingWatch:
    """Tells the worker to save and stop once it trains."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self, stop: Callable[[], None], warn: Callable[[str], None]) -> float:
        """Stops at the second look."""
        self.looks += 1
        assert self.looks < 10, "it has not stopped"
        if self.looks == 2:
            stop()
        return 3.0


@pytest.mark.parametrize("who", ["itself", "its child"])
def test_a_watch_can_have_the_worker_stop(tmp_path: Path, who: str) -> None:
    """Also one of several processes: torchrun itself must not get the signal."""
    with pytest.raises(Interrupted) as caught:
        _run(
            tmp_path,
            f"""
            child = os.fork() if {who == "its child"} else 0
            if child:
                os.waitpid(child, 0)
                sys.exit(0)
            def stopped(*_):
                os.write(out.fileno(), b'{{"kind": "stopped", "step": 4}}\\n')
                sys.exit(0)
            signal.signal(signal.SIGTERM, stopped)
            print('{{"kind": "started", "step": 0, "total_steps": 9, "pid": %d}}' % os.getpid(),
                  file=out, flush=True)
            signal.pause()
            """,
            StoppingWatch(),
        )
    assert caught.value.step == 4
