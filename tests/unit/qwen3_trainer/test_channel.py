"""The worker's way to the parent, from one process and through torchrun's."""

import os
import subprocess
import sys

import pytest

from qwen3_trainer.worker.messages import MESSAGE

SPEAK = """
import sys
from qwen3_api.job.base import Failure
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import Alive, Failed
channel = Channel(int(sys.argv[1]))
channel.send(Alive(step=3))
channel.send(Failed(failure=Failure(reason="OutOfMemory", message="m")))
"""
# As torchrun does: its processes get no descriptor of its own.
LAUNCH = """
import os, subprocess, sys
for rank in ("0", "1"):
    environ = {**os.environ, "RANK": rank}
    subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[1]], env=environ, check=True)
"""


@pytest.mark.parametrize(
    ("program", "kinds"),
    [
        (SPEAK, ["alive", "failed"]),
        # The second process is only heard when it fails.
        (LAUNCH, ["alive", "failed", "failed"]),
    ],
)
def test_messages_reach_the_parent(program: str, kinds: list[str]) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as messages:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(write_end), SPEAK], pass_fds=[write_end]
        )
        os.close(write_end)
        lines = messages.read().splitlines()
        assert process.wait(60) == 0
    assert [MESSAGE.validate_json(line).kind for line in lines] == kinds
