"""One preflight from the job file to the exit code.

order → told already? → storage → base model → start adapter → training rows → validation rows →
tokens → thresholds → training digest → preflight.json

A failure that a retry can mend (the store is away, an error without a name) and an interruption
leave no preflight.json: the next pod writes it, and what is in the bucket is final.
"""

import logging
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.exit_codes import ACTIONS, PodFailureAction
from qwen3_api.job.preflight import Preflight, PreflightJob
from qwen3_api.job.train import HuggingFaceModel
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer import base_model
from qwen3_trainer.cpu_run import run_order
from qwen3_trainer.data.dataset import refused_rows
from qwen3_trainer.environment import Paths
from qwen3_trainer.failures import disk_full, is_disk_full, killed_for_memory
from qwen3_trainer.oom_kills import count_oom_kills, has_struck
from qwen3_trainer.preflight.checks import (
    check_duplicates,
    check_leakage,
    check_lengths,
    check_window,
    warn_of_mixed_reasoning,
    warn_of_odd_roles,
)
from qwen3_trainer.preflight.cores import Cores
from qwen3_trainer.preflight.digest import DigestBuilder
from qwen3_trainer.preflight.findings import Findings
from qwen3_trainer.preflight.sample import RowSample
from qwen3_trainer.preflight.scan import Scanner
from qwen3_trainer.preflight.start_adapter import check_start
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.storage_check import write_first
from qwen3_trainer.store import (
    Bucket,
    Buckets,
    ObjectExistsError,
    ObjectMissingError,
    patiently,
)

log = logging.getLogger(__name__)

MEMORY_HINT = "Ask the platform team to raise preflight.memory."


@dataclass
class Run:
    """What the steps share."""

    job: PreflightJob
    pod_uid: str
    paths: Paths
    shutdown: Shutdown
    buckets: Buckets = field(default_factory=Buckets)
    found: Findings = field(default_factory=Findings)

    @property
    def bucket(self) -> Bucket:
        """Where the result goes."""
        return self.buckets.at(self.job.output)

    @property
    def key(self) -> str:
        """Key of preflight.json."""
        return self.job.output.join(layout.PREFLIGHT).prefix


def main(arguments: list[str], environ: Mapping[str, str] | None = None) -> int:
    """Runs the preflight described by the job file. Returns the exit code."""

    def run(
        job: PreflightJob, pod_uid: str, paths: Paths, shutdown: Shutdown, _: Mapping[str, str]
    ) -> None:
        look_and_tell(Run(job, pod_uid, paths, shutdown))

    return run_order(arguments, environ, PreflightJob, "preflight", run)


def look_and_tell(run: Run) -> None:
    """Looks, unless it was told already. Raises FailureError after it was written down, if it is to
    be."""
    if patiently(lambda: _is_told_already(run)):
        log.info("the preflight of this revision is in the bucket already")
        return
    kills = count_oom_kills()
    try:
        _look(run)
    except Exception as error:
        named = name_failure(error, has_struck(kills, count_oom_kills()))
        if ACTIONS[named.exit_code] is PodFailureAction.FAIL_JOB:
            _write(run, named)
        raise named from error
    _write_digest(run)
    _write(run, None)


def _write_digest(run: Run) -> None:
    """Before preflight.json: what says that all is well comes last."""
    train = run.found.train
    if train.digest is None or train.sha256 is None:
        raise RuntimeError("the digest is written after the rows were read")
    digest = train.digest.build(train.rows, train.sha256)
    train.digest = None
    run.bucket.put(run.job.output.join(layout.TRAINING_DIGEST).prefix, digest.to_bytes())
    header = digest.header
    log.info("the training digest covers %d of %d rows", header.covered_rows, header.rows)


def _is_told_already(run: Run) -> bool:
    """Whether an earlier pod passed and died before it could say so. What failed is looked at
    again, and its document makes room: this pod wouldn't be here if nothing had changed."""
    try:
        told = Preflight.model_validate_json(run.bucket.get(run.key))
    except ObjectMissingError:
        return False
    except ValidationError as error:
        log.warning("preflight.json can't be read: %d errors", error.error_count())
    else:
        if told.failure is None and told.spec_hash == run.job.spec_hash:
            return True
    try:
        run.bucket.delete([run.key])
    except FailureError as refused:
        if refused.reason == Reason.STORAGE_DENIED:
            # What is there would be believed: it is overwritten by why it can't be removed.
            document = run.found.to_document(run.job.spec_hash, refused.failure)
            run.bucket.put(run.key, document.to_json())
        raise
    return False


def _write(run: Run, error: FailureError | None) -> None:
    document = run.found.to_document(run.job.spec_hash, error.failure if error else None)
    with run.shutdown.finishing():
        try:
            run.bucket.put(run.key, document.to_json(), only_if_absent=True)
        except ObjectExistsError:  # an answer was lost and botocore asked again, or another pod
            log.info("preflight.json is there already")
        except FailureError as refused:
            if error is None:
                raise
            log.warning("no preflight.json: %s", refused.message)


def name_failure(error: Exception, struck: bool | None) -> FailureError:
    """The failure behind any error, with the hint that fits a preflight.

    struck: the kernel ended a process of this container for memory meanwhile; None: unknown.
    """
    if isinstance(error, FailureError):
        return error
    if isinstance(error, BrokenProcessPool) and struck:
        named = killed_for_memory("preflight")
        return FailureError(named.reason, named.message, MEMORY_HINT)
    if is_disk_full(error):
        return disk_full(f"{type(error).__name__}: {error}")
    detail = f"{type(error).__name__}: {error}"
    hint = "The log of the preflight's pod has the traceback."
    return FailureError(Reason.TRAINER_FAILED, detail, hint)


def _look(run: Run) -> None:
    job, found, work = run.job, run.found, run.paths.work
    folder = work / "preflight"
    folder.mkdir(parents=True, exist_ok=True)
    _check_storage(run)
    found.base = base_model.describe(job.base_model, run.buckets, folder / "base", _from_hub)
    check_window(job, found.base.shape)
    if job.start is not None:
        check_start(job.start, run.buckets)
    with RowSample(folder / "sample") as sample, Cores() as cores:
        _look_at_rows(run, Scanner(job, run.buckets, cores, folder), sample)
        _count_tokens(run, sample, cores)
    check_duplicates(job, found.train.rows, found.duplicate_rows)
    check_leakage(job, found.validation.rows, found.leaked_lines or ())
    if found.lengths is not None:
        check_lengths(job, found.lengths)


def _check_storage(run: Run) -> None:
    probe = run.job.output.join(f"preflight-probe-{run.pod_uid}").prefix
    write_first(run.bucket, probe, b"{}")
    run.bucket.delete([probe])


def _from_hub(source: HuggingFaceModel, files: tuple[str, ...]) -> tuple[Path, frozenset[str]]:
    from qwen3_trainer.hub import describe  # noqa: PLC0415  (a bucket need not pay for it)

    return describe(source, files)


def _look_at_rows(run: Run, scanner: Scanner, sample: RowSample) -> None:
    dataset, found = run.job.dataset, run.found
    found.train.digest = DigestBuilder()
    try:
        scanner.scan(found.train, dataset.train, "train", sample)
    finally:
        found.thinking = dataset.thinking if found.train.rows else None
    log.info("%d training rows are valid", found.train.rows)
    found.warnings += warn_of_mixed_reasoning(run.job, found.train.rows, found.train.reasoning_rows)
    found.warnings += warn_of_odd_roles(
        found.train.rows, found.train.late_system_rows, found.train.unanswered_rows
    )
    train = found.train.fingerprints.sealed()
    found.duplicate_rows = train.duplicates()
    if dataset.validation is not None:
        scanner.scan(found.validation, dataset.validation, "validation")
    found.leaked_lines = found.validation.fingerprints.contained_in(train)


def _count_tokens(run: Run, sample: RowSample, cores: Cores) -> None:
    # Imported here: 1 s that broken data need not wait for.
    from qwen3_trainer.preflight.measure import (  # noqa: PLC0415
        Ruler,
        measure,
        open_tokenizer,
        render_sample,
    )
    from qwen3_trainer.worker.rendering import training_template  # noqa: PLC0415

    job, found = run.job, run.found
    if found.base is None or found.train.first is None:
        raise RuntimeError("tokens are counted after base model and rows were looked at")
    try:
        tokenizer = open_tokenizer(found.base.path)
    except ValueError as error:
        raise FailureError(
            Reason.BASE_MODEL_NOT_FOUND,
            f"{job.base_model.name}: {error}",
            "The folder needs the tokenizer.json of a Qwen3 model.",
        ) from error
    found.template = training_template(tokenizer)
    ruler = Ruler(found.base.path, found.template, job)
    with refused_rows(job.dataset, "train", job.method):
        found.sample = render_sample(found.train.first, ruler)
        found.lengths = measure(sample, found.train.heaviest, ruler, cores)
    log.info("counted the tokens of %d rows", len(sample))
