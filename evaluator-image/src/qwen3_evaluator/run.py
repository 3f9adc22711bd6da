"""One attempt of an evaluation: read all data, compare it with what the target was trained on, ask
what is not answered yet, judge, decide, report.

The attempt may be killed at any point. Answers and opinions are flushed to the bucket every few
seconds and taken over by the next attempt; the report is written once, after the samples it speaks
of.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import aiohttp

from qwen3_api.job import layout
from qwen3_api.job.evaluate import ENV_DATA_PREFIX, EvalJob, EvalReport, EvalSample
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.pod.failure import FailureError, Retry
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.benchmarks.evalscope import EvalScope
from qwen3_evaluator.endpoint.chat import open_session
from qwen3_evaluator.endpoint.client import EndpointClient, RetryPolicy
from qwen3_evaluator.holdout import check_holdout
from qwen3_evaluator.judge.judgements import Judgement, check_judges, plan_judgements
from qwen3_evaluator.judge.jury import Jury
from qwen3_evaluator.metrics import Scorer, needs_pattern
from qwen3_evaluator.questions import QuestionSet, collect_digests, read_questions
from qwen3_evaluator.recorder import JSON, JSONL, Recorder, now
from qwen3_evaluator.report.documents import (
    Unit,
    build_failed_report,
    build_report,
    plan_units,
    render_samples,
)
from qwen3_evaluator.report.html import render_html
from qwen3_evaluator.store import Store
from qwen3_evaluator.trackers.tracking import track, track_earlier
from qwen3_evaluator.training import read_training
from qwen3_evaluator.weave.scorers import WeaveScorers

log = logging.getLogger(__name__)

_HTML = "text/html; charset=utf-8"
_T = TypeVar("_T")


async def run_evaluation(job: EvalJob, retry_policy: RetryPolicy = RetryPolicy()) -> None:  # noqa: B008
    """Evaluate, or find that it was done before.

    Raises FailureError; a user error has left a Failed report. Raises CancelledError when told
    to stop; every answer so far is in the bucket then.
    """
    started = now()
    data_prefix = ENV_DATA_PREFIX if job.data_credentials else ""
    async with (
        Store(data_prefix=data_prefix) as store,
        EvalScope() as evalscope,
        WeaveScorers() as weave_scorers,
    ):
        if (earlier := await store.get(job.output.join(layout.REPORT))) is not None:
            report = EvalReport.model_validate_json(earlier)
            _accept(report)
            await track_earlier(job, report, store)
            return
        try:
            await _evaluate(job, store, evalscope, weave_scorers, retry_policy, started)
        except FailureError as error:
            if error.exit_code is ExitCode.USER_ERROR:
                report = build_failed_report(job, error.failure, started=started, finished=now())
                await _publish(job, store, report, [])
            raise


def _accept(report: EvalReport) -> None:
    """End as the attempt that wrote the report did."""
    log.info("an earlier attempt has written the report: %s", report.outcome)
    if report.failure is not None:
        told = report.failure
        raise FailureError(Reason(told.reason), told.message, told.hint, retry=Retry.NEVER)


async def _evaluate(
    job: EvalJob,
    store: Store,
    evalscope: EvalScope,
    weave_scorers: WeaveScorers,
    retry_policy: RetryPolicy,
    started: str,
) -> None:
    sets = await _read_all(job, store, evalscope)
    holdout = await check_holdout(job, sets, store)
    check_judges(job, sets)
    units = plan_units(job, sets)
    async with open_session(job.concurrency) as http:
        evaluation = EvaluationRun(job, http, retry_policy, evalscope, weave_scorers)
        recorder = Recorder(
            job,
            store,
            collect_digests(sets),
            units,
            plan_judgements(job, units),
            list(evaluation.juries.values()),
        )
        await recorder.resume()
        try:
            await evaluation.run(units, recorder)
        finally:
            await recorder.flush()
    await recorder.write_progress()
    samples = [recorder.samples[unit.key] for unit in units]
    report = build_report(
        job,
        sets,
        samples,
        judge=recorder.usage if evaluation.juries else None,
        holdout=holdout,
        started=started,
        finished=now(),
    )
    await store.put(job.output.join(layout.SAMPLES), render_samples(samples), JSONL)
    html = await _publish(job, store, report, samples)
    _log_report(report)
    await recorder.delete_partials()
    await track(job, report, samples, html, store)


async def _read_all(job: EvalJob, store: Store, evalscope: EvalScope) -> dict[str, QuestionSet]:
    sets: dict[str, QuestionSet] = {}
    for suite in job.suites:
        if suite.benchmark is not None:
            sets[suite.name] = await evalscope.load(suite, store)
        else:
            sets[suite.name] = await read_questions(
                suite.data, suite.limit, store, with_pattern=needs_pattern(suite)
            )
        log.info("suite %s has %d questions", suite.name, len(sets[suite.name].questions))
    return sets


async def _publish(
    job: EvalJob, store: Store, report: EvalReport, samples: Sequence[EvalSample]
) -> bytes:
    """Write both forms of the report; report.json last, since it says that all is there. Returns
    the one for people."""
    training = await read_training(job, store) if report.outcome == "Completed" else None
    html = render_html(job, report, samples, training).encode()
    await store.put(job.output.join(layout.REPORT_HTML), html, _HTML)
    await store.put_once(job.output.join(layout.REPORT), report.to_json(), JSON)
    return html


def _log_report(report: EvalReport) -> None:
    for result in report.results:
        log.info(
            "%s of %s on %s: %.6g (%d questions)",
            *(result.metric, result.model, result.suite, result.value, result.samples),
        )
    for gate in report.gates:
        log.info("gate %s: %s: %s", gate.name, gate.verdict, gate.message)
    log.info("verdict: %s", report.verdict)


class EvaluationRun:
    """Everybody who is asked.

    Raises FailureError when made: a schema can't be used, a key is missing.
    """

    def __init__(
        self,
        job: EvalJob,
        http: aiohttp.ClientSession,
        retry_policy: RetryPolicy,
        evalscope: EvalScope,
        weave_scorers: WeaveScorers,
    ) -> None:
        self._job = job
        self._evalscope = evalscope
        self._weave_scorers = weave_scorers
        self._scorers = {suite.name: Scorer(suite) for suite in job.suites}
        self._askers = {
            e.name: EndpointClient(e, http, retry_policy) for e in (job.target, *job.baselines)
        }
        self.juries = {
            suite.name: Jury(suite.judge, http, retry_policy) for suite in job.suites if suite.judge
        }

    async def run(self, units: Sequence[Unit], recorder: Recorder) -> None:
        """Ask and judge what the recorder doesn't know yet."""
        questions = [unit for unit in units if unit.key not in recorder.samples]
        known = len(units) - len(questions)
        log.info("%d of %d answers are in the bucket already", known, len(units))
        await self._work_through(questions, lambda unit: self._ask(unit, recorder), recorder)
        judgements = [
            judgement
            for judgement in plan_judgements(self._job, units)
            if not judgement.is_done(recorder.samples)
        ]
        await self._work_through(judgements, lambda each: self._judge(each, recorder), recorder)

    async def _ask(self, unit: Unit, recorder: Recorder) -> None:
        recorder.suite = unit.suite.name
        asker, scorer = self._askers[unit.endpoint.name], self._scorers[unit.suite.name]
        sample = await asker.ask(unit.suite, unit.question, unit.sample, scorer)
        if unit.suite.benchmark is not None:
            sample = await self._evalscope.score(unit.suite, sample)
        sample = await self._weave_scorers.score(unit.suite, sample)
        recorder.add(sample)

    async def _judge(self, judgement: Judgement, recorder: Recorder) -> None:
        recorder.suite = judgement.key.suite
        jury = self.juries[judgement.key.suite]
        answer = recorder.samples[judgement.key].answer or ""
        if judgement.baseline is None:
            opinions = await jury.score(judgement.question, answer)
        else:
            other = recorder.samples[judgement.other].answer or ""
            opinions = await jury.compare(judgement.question, judgement.baseline, answer, other)
        recorder.add_opinions(judgement.key, opinions)

    async def _work_through(
        self, items: Sequence[_T], do: Callable[[_T], Awaitable[None]], recorder: Recorder
    ) -> None:
        """Do all with `job.concurrency` workers; the first failure stops all."""
        queue = iter(items)
        try:
            async with asyncio.TaskGroup() as group:
                ticker = group.create_task(recorder.tick(self._job.progress_seconds))
                workers = [
                    group.create_task(_work(queue, do))
                    for _ in range(min(self._job.concurrency, len(items)))
                ]
                await asyncio.gather(*workers)
                ticker.cancel()
        except ExceptionGroup as group:
            # Several workers may have failed of the same cause; one is enough to tell it.
            raise group.exceptions[0] from None


async def _work(queue: Iterator[_T], do: Callable[[_T], Awaitable[None]]) -> None:
    for item in queue:
        await do(item)
