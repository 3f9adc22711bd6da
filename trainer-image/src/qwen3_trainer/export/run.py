"""One export from the job file to the exit code.

order → what isn't there yet? → adapter → base model → room on the disk → merge → publish the model
→ convert → quantise and publish, one type after the other

The adapter is merged before anything is converted, and what is no longer needed is removed at once:
the scratch volume holds twice the model in 16 bits, not four times.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qwen3_api.job.export import MERGED, ExportJob, gguf_name
from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import HuggingFaceModel
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.export import Quantization
from qwen3_trainer import base_model
from qwen3_trainer.base_model import BaseModel, file_digest
from qwen3_trainer.cpu_run import run_order
from qwen3_trainer.environment import Paths, download_environment, offline_environment
from qwen3_trainer.export.artifacts import Publisher
from qwen3_trainer.export.card import render_card
from qwen3_trainer.export.modelfile import render_modelfile
from qwen3_trainer.failures import is_disk_full, is_out_of_memory
from qwen3_trainer.publish import CARD, CONFIG, WEIGHTS, find_oversize
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.store import Buckets, ObjectMissingError
from qwen3_trainer.worker.messages import (
    ConvertPlan,
    Done,
    Downloaded,
    DownloadPlan,
    MergePlan,
    QuantizePlan,
)
from qwen3_trainer.workers import run_worker

log = logging.getLogger(__name__)

MEMORY_HINT = "Ask the platform team to raise export.memory; the adapter is stored and serves."
DISK_HINT = (
    "Ask the platform team for nodes with more ephemeral storage: an export needs twice the size "
    "of the model in 16 bits. The adapter is stored and serves."
)
SLACK = 1.05
"""Of the bytes that are known beforehand: tokenizers, cards, block sizes."""


@dataclass
class Run:
    """What the steps share."""

    job: ExportJob
    pod_uid: str
    paths: Paths
    shutdown: Shutdown
    environ: Mapping[str, str]
    buckets: Buckets = field(default_factory=Buckets)

    @property
    def work(self) -> Path:
        """Scratch folder."""
        return self.paths.work

    @property
    def publisher(self) -> Publisher:
        """Where the artifacts go."""
        bucket = self.buckets.at(self.job.output)
        return Publisher(bucket, self.job, self.pod_uid, self.shutdown)

    def worker(self, command: str, plan: MergePlan | ConvertPlan | QuantizePlan) -> Done:
        """Runs a command of the worker, offline and without credentials."""
        last = run_worker(
            command,
            plan,
            folder=self.work,
            environment=offline_environment(self.environ),
            shutdown=self.shutdown,
            on_message=lambda _: None,
        )
        assert isinstance(last, Done)  # noqa: S101  (the last message of these commands)
        return last


def main(arguments: list[str], environ: Mapping[str, str] | None = None) -> int:
    """Runs the export described by the job file. Returns the exit code."""

    def run(
        job: ExportJob, pod_uid: str, paths: Paths, shutdown: Shutdown, environ: Mapping[str, str]
    ) -> None:
        try:
            _run(Run(job, pod_uid, paths, shutdown, environ))
        except Exception as error:
            raise name_failure(error) from error

    return run_order(arguments, environ, ExportJob, "export", run)


def name_failure(error: Exception) -> FailureError:
    """The failure behind any error, with the hint that fits an export."""
    text = error.message if isinstance(error, FailureError) else f"{type(error).__name__}: {error}"
    reason = error.reason if isinstance(error, FailureError) else None
    if reason is Reason.OUT_OF_MEMORY or (reason is None and is_out_of_memory(error)):
        return FailureError(Reason.OUT_OF_MEMORY, text, MEMORY_HINT)
    if reason is Reason.DISK_FULL or (reason is None and is_disk_full(error)):
        return FailureError(Reason.DISK_FULL, text, DISK_HINT)
    if isinstance(error, FailureError):
        return error
    hint = "The log of the export's pod has the traceback."
    return FailureError(Reason.TRAINER_FAILED, text, hint)


def _run(run: Run) -> None:
    job, publisher = run.job, run.publisher
    run.work.mkdir(parents=True, exist_ok=True)
    merged = job.merged and not publisher.is_there(MERGED)
    types = [q for q in job.gguf if not publisher.is_there(gguf_name(q))]
    if not merged and not types:
        log.info("everything is in the bucket already")
        return
    adapter = fetch_adapter(run)
    base = _fetch_base(run)
    _require_room(run, base, converts=bool(types))
    model = run.work / "merged"
    plan = MergePlan(
        job=job,
        base=str(base.path),
        adapter=str(adapter),
        output=str(model),
        scratch=str(run.work),
    )
    run.worker("merge", plan)
    (model / CARD).write_text(render_card(job), encoding="utf-8")
    if merged:
        publisher.publish(MERGED, model)
    if types:
        _write_gguf(run, model, types)


def fetch_adapter(run: Run) -> Path:
    """The committed adapter on the disk. Raises FailureError: ExportFailed, when it isn't what the
    commit says, or no reader should parse it."""
    start, folder = run.job.adapter, run.work / "adapter"
    bucket = run.buckets.at(start.location)
    known = {file.path: file for file in start.files}
    if adapter_digest(start.files) != start.digest or not {CONFIG, WEIGHTS} <= set(known):
        raise _corrupt(f"{start.location.uri}: its list of files isn't the commit's")
    for name in (CONFIG, WEIGHTS):
        key = start.location.join(name).prefix
        try:
            bucket.download(key, folder / name)
        except ObjectMissingError as error:
            raise _corrupt(f"{start.location.uri} has no {name}") from error
        if file_digest(folder, name) != known[name]:
            raise _corrupt(f"{name} of {start.location.uri} has other bytes than were committed")
    oversize = find_oversize(folder)
    if oversize is not None:
        raise _corrupt(f"{start.location.uri}: {oversize}")
    return folder


def _corrupt(message: str) -> FailureError:
    return FailureError(
        Reason.EXPORT_FAILED,
        message,
        "The result in the bucket was damaged. Change a training input (the seed, say) to train "
        "again.",
    )


def _fetch_base(run: Run) -> BaseModel:
    job = run.job
    base = base_model.fetch(
        job.base_model, run.buckets, run.work / "base", lambda source: _download(run, source)
    )
    if base.commit != job.base_commit:
        raise FailureError(
            Reason.EXPORT_FAILED,
            f"{job.base_model.name} is {base.commit[:12]} now; the adapter was trained on "
            f"{job.base_commit[:12]}",
            "Put the weights back that the adapter was trained on, or pin baseModel.revision; "
            "merged with others it would be another model.",
        )
    return base


def _download(run: Run, source: HuggingFaceModel) -> Path:
    last = run_worker(
        "download",
        DownloadPlan(job=run.job, source=source, patterns=list(base_model.ALLOWED_FILES)),
        folder=run.work,
        environment=download_environment(run.environ),
        shutdown=run.shutdown,
        on_message=lambda _: None,
    )
    assert isinstance(last, Downloaded)  # noqa: S101  (the download command's last message)
    return Path(last.folder)


def _require_room(run: Run, base: BaseModel, *, converts: bool) -> None:
    """Raises FailureError: DiskFull, when what is to come surely doesn't fit."""
    sizes = [path.stat().st_size for path in base.path.glob("*.safetensors")]
    # Merged shards take the place of those of the base, but for the one in work.
    own = base.path.resolve().is_relative_to(run.work.resolve())
    needed = (max(sizes) if own else sum(sizes)) if not converts else sum(sizes) * (1 if own else 2)
    free = shutil.disk_usage(run.work).free
    if free < needed * SLACK:
        raise FailureError(
            Reason.DISK_FULL,
            f"the export needs {needed * SLACK / 2**30:.1f} GiB more of the scratch volume, "
            f"{free / 2**30:.1f} GiB are free",
            DISK_HINT,
        )


def _write_gguf(run: Run, model: Path, types: list[Quantization]) -> None:
    source = run.work / "source.gguf"
    run.worker("convert", ConvertPlan(job=run.job, model=str(model), output=str(source)))
    for weights in model.glob("*.safetensors"):
        weights.unlink()
    for type_ in types:
        artifact = gguf_name(type_)
        folder = run.work / artifact
        folder.mkdir()
        name = f"{run.job.name}-{type_.value}.gguf"
        plan = QuantizePlan(
            job=run.job,
            source=str(source),
            type=type_,
            output=str(folder / name),
            tokenizer=str(model),
        )
        done = run.worker("quantize", plan)
        (folder / "Modelfile").write_text(
            render_modelfile(name, run.job.thinking), encoding="utf-8"
        )
        run.publisher.publish(artifact, folder, done.tensor_types)
        shutil.rmtree(folder)
