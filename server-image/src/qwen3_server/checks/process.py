"""The check of one adapter's content, in a process that may die.

`python -m qwen3_server.checks.process FOLDER BASE_MODEL MAX_RANK` reads a PoolAdapter from standard
input and writes a Verdict to standard output. Without one it ended on the adapter's files: nothing
of them is read before the limits hold.
"""

import resource
import sys
import time
from pathlib import Path

# safetensors imports it with the first tensor: its memory is this program's, not the adapter's.
import numpy as np  # noqa: F401

from qwen3_api.job.base import Failure
from qwen3_api.serving.pool import PoolAdapter
from qwen3_server.checks.verify import Verdict, check_content
from qwen3_server.errors import AdapterError

MEMORY_BYTES = 256 * 1024**2
"""More than before the check. The worst header of MAX_HEADER_BYTES takes half of it (measured), and
the agent's container has 1 GiB for both processes."""
CPU_SECONDS = 10
"""More than before the check, which takes milliseconds."""


def limit_process() -> None:
    """Let this process end when it wants much more than it has now."""
    # Not RLIMIT_AS: safetensors maps the whole file, which costs no memory.
    statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
    _limit(resource.RLIMIT_DATA, int(statm[5]) * resource.getpagesize() + MEMORY_BYTES)
    _limit(resource.RLIMIT_CPU, int(time.process_time()) + CPU_SECONDS)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main(arguments: list[str]) -> None:
    """Check and say what came out."""
    folder, base_model, max_rank = arguments
    adapter = PoolAdapter.model_validate_json(sys.stdin.buffer.read())
    limit_process()
    failure = None
    try:
        check_content(Path(folder), adapter, base_model=base_model, max_rank=int(max_rank))
    except AdapterError as error:
        failure = Failure(reason=str(error.reason), message=error.message)
    sys.stdout.buffer.write(Verdict(failure=failure).to_json())


if __name__ == "__main__":
    main(sys.argv[1:])
