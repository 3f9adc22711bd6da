"""One attempt of an evaluation: read all data, ask what is not answered yet, score, report.

The attempt may be killed at any point. Answers are flushed to the bucket every few seconds and
taken over by the next attempt; the report is written once, after the samples it speaks of.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalJob, EvalReport, EvalSample
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.ask import Asker, Patience
from qwen3_evaluator.failures import EvaluationError
from qwen3_evaluator.questions import QuestionSet, read_questions
from qwen3_evaluator.report import (
    PARTIAL_START,
    SampleKey,
    Unit,
    build_failed_report,
    build_progress,
    build_report,
    compute_fingerprint,
    parse_samples,
    partial_name,
    plan_units,
    render_samples,
)
from qwen3_evaluator.store import Store

log = logging.getLogger(__name__)

_JSON = "application/json"
_JSONL = "application/jsonl"


def now() -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def run_evaluation(job: EvalJob, patience: Patience = Patience()) -> None:  # noqa: B008
    """Evaluate, or find that it was done before.

    Raises EvaluationError; a user error has left a Failed report. Raises CancelledError when told
    to stop; every answer so far is in the bucket then.
    """
    started = now()
    async with Store() as store:
        report_at = job.output.join(layout.REPORT)
        if (earlier := await store.get(report_at)) is not None:
            _accept(EvalReport.model_validate_json(earlier))
            return
        try:
            await _evaluate(job, store, patience, started)
        except EvaluationError as error:
            if error.exit_code is ExitCode.USER_ERROR:
                report = build_failed_report(job, error.failure, started=started, finished=now())
                await store.put_once(report_at, report.to_json(), _JSON)
            raise


def _accept(report: EvalReport) -> None:
    """End as the attempt that wrote the report did."""
    log.info("an earlier attempt has written the report: %s", report.outcome)
    if report.failure is not None:
        raise EvaluationError(
            Reason(report.failure.reason), report.failure.message, hint=report.failure.hint
        )


async def _evaluate(job: EvalJob, store: Store, patience: Patience, started: str) -> None:
    sets: dict[str, QuestionSet] = {}
    for suite in job.suites:
        sets[suite.name] = await read_questions(suite.data, suite.limit, store)
        log.info("suite %s has %d questions", suite.name, len(sets[suite.name].questions))
    units = plan_units(job, sets)
    recorder = Recorder(job, store, {name: s.sha256 for name, s in sets.items()}, len(units))
    await recorder.resume({unit.key for unit in units})
    missing = [unit for unit in units if unit.key not in recorder.samples]
    log.info("%d of %d answers are in the bucket already", len(units) - len(missing), len(units))
    try:
        async with Asker(job.concurrency, patience) as asker:
            await _ask_all(job, asker, missing, recorder)
    finally:
        await recorder.flush()
    await recorder.write_progress()
    samples = [recorder.samples[unit.key] for unit in units]
    report = build_report(job, sets, samples, started=started, finished=now())
    await store.put(job.output.join(layout.SAMPLES), render_samples(samples), _JSONL)
    await store.put_once(job.output.join(layout.REPORT), report.to_json(), _JSON)
    for result in report.results:
        log.info(
            "%s of %s on %s: %.6g (%d samples)",
            *(result.metric, result.model, result.suite, result.value, result.samples),
        )
    await recorder.delete_partials()


async def _ask_all(job: EvalJob, asker: Asker, units: list[Unit], recorder: "Recorder") -> None:
    """Ask with `job.concurrency` workers; the first failure stops all."""
    queue = iter(units)
    try:
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(recorder.tick(job.progress_seconds))
            workers = [
                group.create_task(_work(asker, queue, recorder))
                for _ in range(min(job.concurrency, len(units)))
            ]
            await asyncio.gather(*workers)
            ticker.cancel()
    except ExceptionGroup as group:
        # Several workers may have failed of the same cause; one is enough to tell it.
        raise group.exceptions[0] from None


async def _work(asker: Asker, queue: Iterator[Unit], recorder: "Recorder") -> None:
    for unit in queue:
        recorder.suite = unit.suite.name
        recorder.add(await asker.ask(unit.endpoint, unit.suite, unit.question))


class Recorder:
    """The answers so far, and what of them is in the bucket."""

    def __init__(self, job: EvalJob, store: Store, data_sha256: dict[str, str], total: int) -> None:
        self.samples: dict[SampleKey, EvalSample] = {}
        self.suite = job.suites[0].name
        self._folder = job.output
        self._store = store
        self._fingerprint = compute_fingerprint(job, data_sha256)
        self._attempt = uuid.uuid4().hex[:8]
        self._total = total
        self._batch = 0
        self._unsaved: list[EvalSample] = []
        self._asked = 0
        self._began = time.monotonic()
        self._flushing = asyncio.Lock()

    async def resume(self, wanted: set[SampleKey]) -> None:
        """Take over the answers of earlier attempts that asked the same."""
        start = f"{PARTIAL_START}{self._fingerprint}-"
        for location in await self._store.list_keys(self._folder, start):
            content = await self._store.get(location)
            for sample in parse_samples(content or b""):
                key = SampleKey(sample.suite, sample.model, sample.line)
                if key in wanted:
                    self.samples[key] = sample

    def add(self, sample: EvalSample) -> None:
        """Keep an answer; the next flush saves it."""
        self.samples[SampleKey(sample.suite, sample.model, sample.line)] = sample
        self._unsaved.append(sample)
        self._asked += 1

    async def flush(self) -> None:
        """Save answers that are only in memory. They stay there if it fails."""
        async with self._flushing:
            batch = list(self._unsaved)
            if not batch:
                return
            name = partial_name(self._fingerprint, self._attempt, self._batch)
            await self._store.put(self._folder.join(name), render_samples(batch), _JSONL)
            self._batch += 1
            del self._unsaved[: len(batch)]

    async def write_progress(self) -> None:
        """Overwrite progress.json."""
        progress = build_progress(
            completed=len(self.samples),
            total=self._total,
            asked=self._asked,
            seconds=time.monotonic() - self._began,
            suite=self.suite,
            now=now(),
        )
        await self._store.put(self._folder.join(layout.PROGRESS), progress.to_json(), _JSON)
        log.info("%d of %d answers", progress.completed, progress.total)

    async def tick(self, seconds: float) -> None:
        """Save answers and progress now and every so many seconds, without end."""
        while True:
            await self.flush()
            await self.write_progress()
            await asyncio.sleep(seconds)

    async def delete_partials(self) -> None:
        """Remove what the samples file has replaced. The result doesn't depend on it."""
        for location in await self._store.list_keys(self._folder, PARTIAL_START):
            with contextlib.suppress(EvaluationError):
                await self._store.delete(location)
