"""One attempt from the job file to the exit code: the order of the steps.

contract → committed already? → storage → earlier attempts → data → adapter to go on from → base
model → checkpoint → train (`training_run`) → verify → upload → commit → report
"""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import (
    TEXT_LIMIT,
    Commit,
    Metrics,
    Progress,
    Provenance,
    TrainReport,
    adapter_digest,
    require_small,
)
from qwen3_api.job.train import HuggingFaceModel
from qwen3_api.pod.failure import FailureError, end_with
from qwen3_api.pod.termination import write_termination
from qwen3_api.pod.text import cut
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer import base_model, card, publish, start_adapter
from qwen3_trainer.attempt import Attempt
from qwen3_trainer.base_model import BaseModel
from qwen3_trainer.checkpoints import CheckpointStore, Restored, origin_of
from qwen3_trainer.data.dataset import PreparedData, prepare
from qwen3_trainer.earlier_attempts import read_earlier
from qwen3_trainer.environment import Paths, download_environment, worker_environment
from qwen3_trainer.extras import extra
from qwen3_trainer.failures import Interrupted, classify
from qwen3_trainer.guards import Deadline
from qwen3_trainer.ladder import describe, lowest, sizing_of, with_sizing
from qwen3_trainer.logs import LogTail, configure
from qwen3_trainer.order import read_job
from qwen3_trainer.progress import ProgressWriter, now
from qwen3_trainer.report import library_versions
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.storage_check import write_first
from qwen3_trainer.store import patiently
from qwen3_trainer.training_run import TrainingRun
from qwen3_trainer.worker.messages import (
    Downloaded,
    DownloadPlan,
    Trained,
    Verified,
    VerifyPlan,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    outcome: str
    exit_code: ExitCode
    error: FailureError | None = None


def main(arguments: list[str], environ: Mapping[str, str] | None = None) -> int:
    """Runs the attempt described by the job file. Returns the exit code."""
    environ = os.environ if environ is None else environ
    paths = Paths.from_environment(environ)
    configure({})
    shutdown = Shutdown()
    try:
        shutdown.install()
        job, pod_uid = read_job(Path(arguments[0] if arguments else layout.JOB_FILE), environ)
        return run_attempt(Attempt(job, pod_uid, paths, shutdown, environ))
    except FailureError as error:
        return int(end_with(error, paths.termination_log))
    except Interrupted:  # before there was anything to report
        return int(ExitCode.INTERRUPTED)


def run_attempt(attempt: Attempt) -> int:
    """Runs an attempt to its end and reports it. Returns the exit code."""
    job = attempt.job
    tail = configure(
        {
            "namespace": job.namespace,
            "name": job.name,
            "revision": job.revision,
            "attempt": attempt.pod_uid,
        }
    )
    ending = _run_to_the_end(attempt)
    with attempt.shutdown.finishing():
        _report(attempt, ending, tail)
    return int(ending.exit_code)


def _run_to_the_end(attempt: Attempt) -> Ending:
    try:
        return _run(attempt)
    except Interrupted as interrupted:
        if interrupted.step is not None:
            attempt.step = interrupted.step
        log.info("interrupted at step %d", attempt.step)
        return Ending("Interrupted", ExitCode.INTERRUPTED)
    except FailureError as error:
        log.error("%s: %s", error.reason, error.message, exc_info=error.__cause__ is not None)
        return Ending("Failed", error.exit_code, error)
    except Exception as error:
        log.exception("the trainer failed")
        named = classify(error, attempt.job, attempt.step or None)
        return Ending("Failed", named.exit_code, named)


def _run(attempt: Attempt) -> Ending:
    attempt.paths.work.mkdir(parents=True, exist_ok=True)
    writer = patiently(lambda: begin(attempt))
    if writer is None:
        log.info("another attempt has committed a result already")
        return Ending("AlreadyCommitted", ExitCode.SUCCEEDED)
    writer.start()
    try:
        at = time.monotonic()
        if attempt.budget.look(at).stop:
            raise attempt.budget.exhausted(at)
        return _train_and_commit(attempt, writer)
    finally:
        with attempt.shutdown.finishing():
            writer.update()  # the GPU seconds until now
            writer.close()


def begin(attempt: Attempt) -> ProgressWriter | None:
    """Takes over from earlier attempts and writes the first progress, which checks the store.
    None: one of them has committed. May be called again after it failed."""
    if publish.is_committed(attempt.bucket, attempt.revision):
        return None
    _take_over_from_earlier(attempt)
    first = Progress(
        attempt=attempt.pod_uid,
        phase="Starting",
        step=0,
        total_steps=None,
        sizing=attempt.sizing,
        adaptations=attempt.adaptations,
        started=attempt.started,
        updated=now(),
    )
    bucket, key = attempt.bucket, f"{attempt.prefix}/{layout.PROGRESS}"
    write_first(bucket, key, first.to_json())
    return ProgressWriter(
        first,
        lambda body: bucket.put(key, body),
        attempt.job.progress_seconds,
        attempt.gpu_time,
    )


def _take_over_from_earlier(attempt: Attempt) -> None:
    """Goes on where earlier attempts stood, with the GPU budget and on the memory ladder."""
    earlier = read_earlier(attempt.bucket, attempt.revision, attempt.prefix)
    attempt.meter.earlier = earlier.gpu_seconds
    attempt.sizing = lowest(attempt.job, list(earlier.sizings))
    if attempt.sizing != sizing_of(attempt.job):
        attempt.adaptations = list(earlier.adaptations)
        log.info("an earlier attempt ran out of memory: %s", describe(attempt.sizing))


def _train_and_commit(attempt: Attempt, writer: ProgressWriter) -> Ending:
    job, work = attempt.job, attempt.paths.work
    writer.update(phase="LoadingData")
    data = prepare(job, attempt.buckets, work / "data")
    log.info("%d training rows are valid", data.train.count)
    start = start_adapter.fetch(job.adapter, attempt.buckets, work / "start")
    writer.update(phase="LoadingModel")
    base = base_model.fetch(
        job.base_model, attempt.buckets, work / "base", lambda source: _download(attempt, source)
    )
    store = CheckpointStore(
        attempt.bucket,
        revision=attempt.revision,
        attempt=attempt.pod_uid,
        spec_hash=job.spec_hash,
        origin=origin_of(job, data.train.sha256, base.commit),
        keep_last=job.checkpoint.keep_last,
    )
    # Where transformers looks for the best one.
    restored = store.restore(work / "output") if job.checkpoint.resume else None
    if restored is not None:
        attempt.step = restored.step
        writer.update(
            step=restored.step, resumed_from_step=restored.step, checkpoint=restored.saved
        )
    trained = TrainingRun(attempt, writer, store.save, data, base, restored, start).train()
    writer.update(phase="Verifying")
    attempt.shutdown.check()
    sample = verify(attempt, trained, data, base)
    writer.update(phase="Uploading")
    attempt.shutdown.check()
    with attempt.shutdown.finishing():
        return _publish(attempt, trained, sample, data, base, restored)


def _download(attempt: Attempt, source: HuggingFaceModel) -> Path:
    last = attempt.run_worker(
        "download",
        DownloadPlan(job=attempt.job, source=source, patterns=list(base_model.ALLOWED_FILES)),
        download_environment(attempt.environ),
    )
    assert isinstance(last, Downloaded)  # noqa: S101  (the download command's last message)
    return Path(last.folder)


def verify(attempt: Attempt, trained: Trained, data: PreparedData, base: BaseModel) -> str:
    """Loads base and adapter in a worker as others do. Returns what they generated."""
    plan = VerifyPlan(
        # A card that was too small for the base in 16 bits still is.
        job=with_sizing(attempt.job, attempt.sizing),
        base=str(base.path),
        adapter=trained.adapter,
        prompt=data.train.first_prompt,
    )
    environment = worker_environment(attempt.environ, attempt.job)
    timeout = attempt.job.guards.stall_timeout_seconds
    deadline = Deadline("the verification", timeout, time.monotonic)
    last = attempt.run_worker("verify", plan, environment, watch=deadline)
    assert isinstance(last, Verified)  # noqa: S101  (the verify command's last message)
    return last.sample


def _publish(
    attempt: Attempt,
    trained: Trained,
    sample: str,
    data: PreparedData,
    base: BaseModel,
    restored: Restored | None,
) -> Ending:
    job, folder = attempt.job, Path(trained.adapter)
    metrics = _metrics(attempt, trained, data)
    provenance = describe_provenance(attempt, trained, data, base, restored)
    text = extra(
        "the model card",
        lambda: card.render_card(job, metrics, provenance, base.license.problem),
        card.render_plain_card(job),
    )
    files = publish.finish_adapter(folder, job.base_model.name, text)
    prefix = f"{attempt.prefix}/{layout.ADAPTER}"
    document = Commit(
        spec_hash=job.spec_hash,
        revision=job.revision,
        attempt=attempt.pod_uid,
        prefix=prefix,
        files=files,
        digest=adapter_digest(files),
        rank=job.adapter.rank,
        metrics=metrics,
        provenance=provenance,
        sample=sample,
        committed=now(),
    )
    patiently(lambda: publish.upload_verified(attempt.bucket, folder, prefix, files))
    won = patiently(lambda: publish.commit(attempt.bucket, attempt.revision, document))
    log.info("committed %s" if won else "another attempt was first; dropped %s", document.digest)
    return Ending("Committed" if won else "AlreadyCommitted", ExitCode.SUCCEEDED)


def _metrics(attempt: Attempt, trained: Trained, data: PreparedData) -> Metrics:
    return Metrics(
        final_loss=trained.final_loss,
        train_loss=trained.train_loss,
        eval_loss=trained.eval_loss,
        best_step=trained.best_step,
        steps=trained.steps,
        epochs=trained.epochs,
        tokens=trained.tokens,
        train_seconds=trained.train_seconds,
        gpu_seconds=round(attempt.meter.revision(time.monotonic()), 1),
        rows=data.train.count,
        truncated_rows=trained.truncated_rows,
    )


def describe_provenance(
    attempt: Attempt,
    trained: Trained,
    data: PreparedData,
    base: BaseModel,
    restored: Restored | None,
) -> Provenance:
    """Provenance of a finished training. What is too long for the manifest is cut or left out:
    it is no reason to train again."""
    job = attempt.job
    no_versions: dict[str, str] = {}
    return Provenance(
        base_model=cut(job.base_model.name, TEXT_LIMIT),
        base_commit=cut(base.commit, TEXT_LIMIT),
        dataset_sha256=data.train.sha256,
        validation_sha256=data.validation.sha256 if data.validation else None,
        chat_template_sha256=trained.chat_template_sha256,
        seed=job.hyperparameters.seed,
        image=cut(job.image, TEXT_LIMIT),
        versions=extra("the list of library versions", library_versions, no_versions),
        resumed_from_step=restored.step if restored else None,
        sizing=attempt.sizing,
        thinking=job.dataset.thinking,
        started_from=job.adapter.start.digest if job.adapter.start else None,
        configuration=extra(
            "the configuration in the manifest",
            lambda: require_small(card.resolved_configuration(job, attempt.sizing)),
            None,
        ),
        license=base.license.name,
    )


def _report(attempt: Attempt, ending: Ending, tail: LogTail) -> None:
    """Leaves the ending in the bucket and in the termination message, as well as it can."""
    failure = ending.error.failure if ending.error else None
    if ending.outcome == "Interrupted":
        failure_text = FailureError(Reason.INTERRUPTED, "received SIGTERM", step=attempt.step)
        write_termination(attempt.paths.termination_log, failure_text.failure)
    elif failure is not None:
        write_termination(attempt.paths.termination_log, failure)

    def put() -> None:
        document = TrainReport(
            attempt=attempt.pod_uid,
            outcome=ending.outcome,
            failure=failure,
            exit_code=int(ending.exit_code),
            step=attempt.step,
            total_steps=attempt.total_steps,
            started=attempt.started,
            finished=now(),
            versions=library_versions(),
            log_tail=tail.lines(),
        )
        attempt.bucket.put(f"{attempt.prefix}/{layout.REPORT}", document.to_json())

    # A result that is committed stays one, and a failure keeps its exit code.
    extra("report.json", put, None)
