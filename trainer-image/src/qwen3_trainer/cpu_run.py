"""From the job file to the exit code of the pods without a GPU: preflight and export."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.export import ExportJob
from qwen3_api.job.preflight import PreflightJob
from qwen3_api.pod.failure import FailureError, end_with
from qwen3_api.pod.termination import write_termination
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.environment import Paths
from qwen3_trainer.failures import Interrupted
from qwen3_trainer.logs import configure
from qwen3_trainer.order import read_order
from qwen3_trainer.shutdown import Shutdown

log = logging.getLogger(__name__)

OrderT = TypeVar("OrderT", PreflightJob, ExportJob)


def run_order(
    arguments: list[str],
    environ: Mapping[str, str] | None,
    kind: type[OrderT],
    command: str,
    run: Callable[[OrderT, str, Paths, Shutdown, Mapping[str, str]], None],
) -> int:
    """Runs what the job file orders. Returns the exit code; a failure is the termination message.

    run: gets the order, the pod's uid, its paths, its shutdown and its environment; raises
    FailureError and Interrupted.
    """
    environ = os.environ if environ is None else environ
    paths = Paths.from_environment(environ)
    configure({})
    shutdown = Shutdown()
    try:
        shutdown.install()
        path = Path(arguments[0] if arguments else layout.JOB_FILE)
        job, pod_uid = read_order(path, kind, environ)
        identity = {"namespace": job.namespace, "name": job.name, "revision": job.revision}
        configure(identity | {command: pod_uid})
        run(job, pod_uid, paths, shutdown, environ)
    except FailureError as error:
        return int(end_with(error, paths.termination_log))
    except Interrupted:
        log.info("interrupted")
        told = FailureError(Reason.INTERRUPTED, "received SIGTERM")
        write_termination(paths.termination_log, told.failure)
        return int(told.exit_code)
    return int(ExitCode.SUCCEEDED)
