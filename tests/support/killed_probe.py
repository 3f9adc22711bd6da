"""The parent of a worker whose program is given:

    python killed_probe.py FOLDER PROGRAM

Prints reason, message and exit code as JSON.
"""

import json
import os
import sys
from pathlib import Path

from qwen3_api.pod.failure import FailureError
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.worker.messages import VerifyPlan
from qwen3_trainer.workers import run_worker
from support.train_jobs import train_job

PRELUDE = "import os, signal, sys\nout = os.fdopen(int(sys.argv[3]), 'w')\n"


def main(folder: Path, program: str) -> None:
    """Runs it in the worker's place: a package of its name that is found first."""
    package = folder / "fake" / "qwen3_trainer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "worker.py").write_text(PRELUDE + program)
    try:
        run_worker(
            "verify",
            VerifyPlan(job=train_job(), base="/base", adapter="/adapter", prompt=[]),
            folder=folder,
            environment={**os.environ, "PYTHONPATH": str(folder / "fake")},
            shutdown=Shutdown(),
            on_message=lambda _: None,
        )
    except FailureError as error:
        told = {"reason": error.reason, "message": error.message, "code": error.exit_code}
        print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
