"""Named places where a test can have the process die, as etcd's gofail does it.

A crash between two writes can't be timed from outside: the window is a millisecond wide. So the
reconcile names its windows, `failpoint("after-job-created")`, and a test starts the operator with
QWEN3_FAILPOINT=after-job-created and QWEN3_FAILPOINT_DIR=<an empty folder>. The first time the
process gets there it kills itself with SIGKILL, so that no clean-up code runs, just as in a lost
node. A marker file in the folder makes it once only: the restarted process gets through.

Without the variable, a call costs one comparison and does nothing.
"""

import os
import signal
from pathlib import Path

_ARMED = os.environ.get("QWEN3_FAILPOINT")


def failpoint(name: str) -> None:
    """Die here, the first time, if this failpoint is armed."""
    if name == _ARMED:
        _die_once(name, Path(os.environ["QWEN3_FAILPOINT_DIR"]))


def _die_once(name: str, folder: Path) -> None:
    try:
        # The exclusive creation is the test-and-set, also between two replicas.
        os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
