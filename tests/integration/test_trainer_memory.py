"""A SIGKILL is out of memory only where the kernel counted it: with its real out-of-memory killer,
in a memory cgroup as a container has one. Needs root, like the local cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ACTIONS, ExitCode, PodFailureAction
from qwen3_api.v1alpha1.conditions import Reason
from support import killed_probe
from support.memory_cgroup import memory_cgroup

pytestmark = pytest.mark.integration
LIMIT = 256 << 20
"""Bytes: enough for the parent."""
TAKE = f"held = b'x' * {4 * LIMIT}\n"
SEND = """print('{"kind": "failed", "failure": %s}', file=out, flush=True)\n"""
BROKEN = SEND % '{"reason": "TrainerFailed", "message": "a child was killed", "step": 7}'


def _run(folder: Path, program: str) -> dict[str, Any]:
    with memory_cgroup(folder.name, LIMIT) as enter:
        done = subprocess.run(
            [sys.executable, killed_probe.__file__, str(folder), program],
            env={**os.environ, "PYTHONPATH": str(Path(killed_probe.__file__).parents[1])},
            preexec_fn=enter,
            stdout=subprocess.PIPE,
            check=True,
            timeout=120,
        )
    ended: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return ended


@pytest.mark.parametrize(
    ("program", "words"),
    [
        pytest.param(TAKE, "the kernel killed the verify process", id="the worker"),
        pytest.param(
            f"child = os.fork()\nif not child:\n    {TAKE}os.waitpid(child, 0)\n{BROKEN}",
            "(a child was killed)",
            id="a process of the worker",
        ),
    ],
)
def test_what_the_kernel_counted_is_out_of_memory(tmp_path: Path, program: str, words: str) -> None:
    ended = _run(tmp_path, program)
    assert (ended["reason"], ended["code"]) == (Reason.OUT_OF_MEMORY, ExitCode.OUT_OF_MEMORY)
    assert words in ended["message"]
    assert "the container ran out of memory" in ended["message"]


def test_a_kill_that_the_kernel_did_not_count_is_tried_again(tmp_path: Path) -> None:
    ended = _run(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert ended["reason"] == Reason.TRAINER_FAILED
    assert ACTIONS[ExitCode(ended["code"])] is PodFailureAction.COUNT
    assert "no out-of-memory kill" in ended["message"]
