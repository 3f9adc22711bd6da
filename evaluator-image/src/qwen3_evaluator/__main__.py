"""`python -m qwen3_evaluator [job.json]`: run the order, end with an exit code of the contract."""

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalJob
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.pod.failure import FailureError, Retry, end_with
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.logs import setup_logs
from qwen3_evaluator.run import run_evaluation

log = logging.getLogger("qwen3_evaluator")  # __name__ is __main__ here


def main(arguments: list[str], termination_log: Path = Path(layout.TERMINATION_LOG)) -> ExitCode:
    """Run the order in the file that the first argument names, or in the mounted one."""
    setup_logs()
    try:
        job = load_job(Path(arguments[0] if arguments else layout.JOB_FILE))
        return asyncio.run(_run_until_told_to_stop(job))
    except FailureError as error:
        return end_with(error, termination_log)
    except Exception as error:  # the last resort: say it where a person looks
        log.exception("unexpected error")
        text = f"{type(error).__name__}: {error}"
        named = FailureError(Reason.EVALUATOR_FAILED, text, retry=Retry.BACKOFF)
        return end_with(named, termination_log)


def load_job(path: Path) -> EvalJob:
    """Parse the order. Raises FailureError with BadConfig."""
    try:
        return EvalJob.model_validate_json(path.read_bytes())
    except OSError as error:
        raise FailureError(
            Reason.BAD_CONFIG, f"the order can't be read: {error}", hint=_BAD_CONFIG
        ) from error
    except ValidationError as error:
        found = json.dumps(error.errors(include_url=False, include_input=False)[:3], default=str)
        raise FailureError(Reason.BAD_CONFIG, f"{path}: {found}", hint=_BAD_CONFIG) from error


_BAD_CONFIG = "Operator and evaluator image must be of the same release."


async def _run_until_told_to_stop(job: EvalJob) -> ExitCode:
    work = asyncio.create_task(run_evaluation(job))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        log.info("received SIGTERM: the answers so far are in the bucket")
        return ExitCode.INTERRUPTED
    return ExitCode.SUCCEEDED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
