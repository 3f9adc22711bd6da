"""Bringing the results to W&B and Weave, after the report is committed.

Nothing here changes the verdict or the exit code. Each tracker has a process of its own, which is
killed when its time is over, and what became of it is told in tracking.json. An attempt that finds
the report but no tracking.json does it again; W&B then goes on with the same run, Weave gets the
evaluations of a killed attempt twice.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.evaluate import (
    ENV_WEAVE_API_KEY,
    EvalJob,
    EvalReport,
    EvalSample,
    TrackedModel,
    TrackingReport,
)
from qwen3_api.pod.failure import FailureError
from qwen3_api.pod.text import cut
from qwen3_evaluator.recorder import JSON, now
from qwen3_evaluator.report import parse_samples, render_samples
from qwen3_evaluator.store import Store
from qwen3_evaluator.trackers.environment import KEY, wandb_environment, weave_environment
from qwen3_evaluator.trackers.messages import MESSAGE, Logged, Lost, Message, Run, Sent

log = logging.getLogger(__name__)

SECONDS = 180.0
"""For each tracker, with everything. To a server nearby, Weave takes 3,500 answers in 18 s."""
MESSAGE_LIMIT = 512
OFFLINE_RUNS = "wandb/offline-run-*"
"""Below WANDB_DIR."""


@dataclass
class _Outcome:
    """What a tracker's process told."""

    name: str
    url: str | None = None
    evaluations: list[TrackedModel] = field(default_factory=list)
    failure: str | None = None

    def take(self, message: Message) -> None:
        match message:
            case Run():
                self.url = message.url
            case Logged():
                self.evaluations.append(message.evaluation)
            case Lost():
                self.failure = message.message
            case Sent():
                self.failure = None


def is_tracked(job: EvalJob) -> bool:
    """Whether any tracker is asked for."""
    return job.tracking.wandb is not None or job.tracking.weave is not None


async def track(
    job: EvalJob,
    report: EvalReport,
    samples: Sequence[EvalSample],
    html: bytes,
    store: Store,
    *,
    environ: Mapping[str, str] = os.environ,
    seconds: float = SECONDS,
) -> TrackingReport | None:
    """Send the results to what the order names, one tracker after the other; None: it names none.

    Raises CancelledError when it receives SIGTERM, and nothing else.
    """
    if not is_tracked(job):
        return None
    with tempfile.TemporaryDirectory(dir=_scratch(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / layout.JOB).write_bytes(job.to_json())
        (folder / layout.REPORT).write_bytes(report.to_json())
        (folder / layout.SAMPLES).write_bytes(render_samples(samples))
        (folder / layout.REPORT_HTML).write_bytes(html)
        told = await _track_all(job, folder, store, environ, seconds)
    for failure in told.failures:
        log.warning("the verdict stands, the tracking failed: %s", failure)
    try:
        await store.put(job.output.join(layout.TRACKING), told.to_json(), JSON)
    except FailureError as error:
        log.warning("what became of the tracking is not in the bucket: %s", error)
    return told


async def track_earlier(job: EvalJob, report: EvalReport, store: Store) -> None:
    """Send what an earlier attempt has committed, unless it did that too."""
    if not is_tracked(job) or report.outcome != "Completed":
        return
    try:
        if await store.get(job.output.join(layout.TRACKING)) is not None:
            return
        samples = await store.get(job.output.join(layout.SAMPLES))
        html = await store.get(job.output.join(layout.REPORT_HTML))
    except FailureError as error:
        log.warning("nothing is tracked: %s", error)
        return
    await track(job, report, parse_samples(samples or b""), html or b"", store)


async def _track_all(
    job: EvalJob, folder: Path, store: Store, environ: Mapping[str, str], seconds: float
) -> TrackingReport:
    outcomes: list[_Outcome] = []
    offline_run: str | None = None
    if (wandb := job.tracking.wandb) is not None:
        key = _key(environ, KEY)
        env = wandb_environment(environ, job, wandb, folder, key)
        if key is None and not wandb.offline:
            outcomes.append(_Outcome("W&B", failure=_NO_KEY.format("tracking.wandb")))
        else:
            outcome = _Outcome("W&B")
            await _run_process("wandb_run", folder, env, seconds, outcome)
            if wandb.offline:
                offline_run = await _upload_offline_run(job, folder, store, outcome)
            outcomes.append(outcome)
    if (weave := job.tracking.weave) is not None:
        key = _key(environ, ENV_WEAVE_API_KEY)
        outcome = _Outcome("Weave")
        if key is None:
            outcome.failure = _NO_KEY.format("tracking.weave")
        else:
            env = weave_environment(environ, weave, folder, key)
            await _run_process("weave_evaluations", folder, env, seconds, outcome)
        outcomes.append(outcome)
    return TrackingReport(
        run_url=next((o.url for o in outcomes if o.url), None),
        offline_run=offline_run,
        evaluations=[e for o in outcomes for e in o.evaluations],
        failures=[cut(f"{o.name}: {o.failure}", MESSAGE_LIMIT) for o in outcomes if o.failure],
        finished=now(),
    )


_NO_KEY = (
    "no key: the Secret that {}.secretRef names must be in this namespace and hold WANDB_API_KEY"
)


def _key(environ: Mapping[str, str], name: str) -> str | None:
    """The key without the newline that `echo` leaves in a Secret."""
    return environ.get(name, "").strip() or None


def _scratch() -> str | None:
    return layout.WORK_DIR if os.access(layout.WORK_DIR, os.W_OK) else None


async def _run_process(
    module: str, folder: Path, env: dict[str, str], seconds: float, outcome: _Outcome
) -> None:
    """Start it, listen, and end it and its children when its time is over."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"qwen3_evaluator.trackers.{module}", str(folder)),
        cwd=folder,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    # Until its last line says otherwise.
    outcome.failure = "its process ended before everything was sent; the log has its words"
    try:
        async with asyncio.timeout(seconds):
            await _listen(process, outcome)
            await process.wait()
    except TimeoutError:
        outcome.failure = f"not everything was sent within {seconds:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _listen(process: asyncio.subprocess.Process, outcome: _Outcome) -> None:
    if process.stdout is None:
        raise LookupError("the process was started without a pipe")
    async for line in process.stdout:
        try:
            outcome.take(MESSAGE.validate_json(line))
        except ValidationError as error:
            log.warning("a tracker's report can't be read: %s", error)


async def _upload_offline_run(
    job: EvalJob, folder: Path, store: Store, outcome: _Outcome
) -> str | None:
    """The files of the run, for `wandb sync`; returns the URI of the folder to take."""
    files = _offline_files(folder)
    if not files:
        return None
    target = job.output.join(layout.WANDB)
    try:
        for name, path in files.items():
            await store.put(target.join(name), path.read_bytes(), "application/octet-stream")
    except FailureError as error:
        outcome.failure = f"the offline run is not in the bucket: {error.message}"
        return None
    return target.join(next(iter(files)).partition("/")[0]).uri


def _offline_files(folder: Path) -> dict[str, Path]:
    """The files of the run by their paths below `wandb/`."""
    return {
        path.relative_to(run.parent).as_posix(): path
        for run in sorted(folder.glob(OFFLINE_RUNS))
        for path in sorted(run.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
