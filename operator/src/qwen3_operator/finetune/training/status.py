"""status.training, status.queue and status.usage: from documents in the bucket to what people read.

Pure. Everything in a document was written by a tenant's pod, so numbers and lengths are bounded.
"""

import math
from typing import Any

from qwen3_api.job.report import Progress, Sizing
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.finetune_status import (
    BestCheckpointStatus,
    CheckpointStatus,
    FineTuneStatus,
    QueueStatus,
    SizingStatus,
    TrainingStatus,
    UsageStatus,
)
from qwen3_operator.finetune.actions import TrainingPlan
from qwen3_operator.finetune.gpu import Price
from qwen3_operator.finetune.views import Observed
from qwen3_operator.resources.numbers import LARGEST, count, count_or_none, decimal
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import wire_time

URI_LIMIT = 1024


def build_training_status(
    before: TrainingStatus | None,
    revision_job: str,
    observed: Observed,
    storage: StorageTarget | None,
    *,
    planned: SizingStatus | None = None,
    offline_runs: str | None = None,
) -> TrainingStatus:
    """status.training from the newest progress; numbers of an older revision are dropped.

    planned: the preflight's sizing. offline_runs: key prefix of what the trainer keeps for W&B.
    """
    keep = before if before is not None and before.job_name == revision_job else None
    job, progress, commit = observed.job, observed.progress, observed.commit
    status = keep or TrainingStatus(job_name=revision_job)
    update: dict[str, Any] = {}
    # With the first pod that runs: before that it would be a write of its own.
    if (
        job is not None
        and job.start_time
        and (commit or any(p.running or p.exit_code is not None for p in observed.pods))
    ):
        update["start_time"] = job.start_time
    if progress is not None:
        step, total = count(progress.step), count_or_none(progress.total_steps)
        eta = count_or_none(progress.eta_seconds)
        update |= {
            "attempt": progress.attempt,
            "step": step,
            "total_steps": total,
            "progress": f"{step}/{total}" if total else progress.phase,
            "epoch": decimal(progress.epoch, 2),
            "loss": decimal(progress.loss, 4),
            "eval_loss": decimal(progress.eval_loss, 4),
            "learning_rate": None
            if progress.learning_rate is None
            else f"{progress.learning_rate:.3g}",
            "tokens_per_second": decimal(progress.tokens_per_second, 0),
            "eta_seconds": eta,
            "eta": None if eta is None else format_duration(eta),
            "last_heartbeat_time": wire_time(progress.updated),
            "resumed_from_step": count_or_none(progress.resumed_from_step),
            "gpu_memory_mib": count_or_none(progress.gpu_memory_mib),
            "sizing": _in_force(progress.sizing, planned, progress.adaptations),
            "adaptations": list(progress.adaptations),
            "best_checkpoint": _best(progress),
            "tracking_url": progress.tracking_url or status.tracking_url,
        }
        saved = progress.checkpoint
        uri = status_uri(storage, saved.prefix) if saved else None
        if saved is not None and uri and (when := wire_time(saved.time)):
            update["last_checkpoint"] = CheckpointStatus(step=count(saved.step), uri=uri, time=when)
    if commit is not None:
        steps = count(commit.metrics.steps)
        update |= {
            "step": steps,
            "total_steps": steps,
            "progress": f"{steps}/{steps}",
            "loss": decimal(commit.metrics.final_loss, 4),
            "eval_loss": decimal(commit.metrics.eval_loss, 4),
            "epoch": decimal(commit.metrics.epochs, 2),
            "resumed_from_step": count_or_none(commit.provenance.resumed_from_step),
            "completion_time": wire_time(commit.committed),
            "eta_seconds": None,
            "eta": None,
        }
        if commit.provenance.sizing is not None:
            told = update.get("adaptations", status.adaptations)
            update["sizing"] = _in_force(commit.provenance.sizing, planned, told)
        best = commit.metrics.best_step
        if best is not None and (loss := decimal(commit.metrics.eval_loss, 4)):
            update["best_checkpoint"] = BestCheckpointStatus(step=count(best), eval_loss=loss)
    if offline_runs is not None and _has_uploaded(status, observed):
        update["offline_runs_uri"] = status_uri(storage, offline_runs)
    return status.model_copy(update=update)


def _has_uploaded(status: TrainingStatus, observed: Observed) -> bool:
    """An attempt ended: its offline run of W&B comes before its last document. A result that was
    told before says nothing: tracking may have been asked for since."""
    if status.completion_time is not None:
        return False
    return observed.commit is not None or any(p.exit_code is not None for p in observed.pods)


def _in_force(
    sizing: Sizing | None, planned: SizingStatus | None, adaptations: list[str]
) -> SizingStatus | None:
    """The present sizing, with the plan's words as long as it is the plan's, else with what made
    it another."""
    if sizing is None:
        return None
    found = build_sizing_status(sizing, gpu=planned.gpu if planned else None)
    if planned is not None and planned == found.model_copy(update={"message": planned.message}):
        return planned
    return found.model_copy(update={"message": adaptations[-1] if adaptations else ""})


def _best(progress: Progress) -> BestCheckpointStatus | None:
    loss = decimal(progress.best_eval_loss, 4)
    if progress.best_step is None or loss is None:
        return None
    return BestCheckpointStatus(step=count(progress.best_step), eval_loss=loss)


def build_sizing_status(sizing: Sizing, *, gpu: str | None = None, why: str = "") -> SizingStatus:
    """A sizing, for people."""
    return SizingStatus(
        micro_batch_size=count(sizing.micro_batch_size),
        gradient_accumulation_steps=count(sizing.gradient_accumulation_steps),
        gradient_checkpointing=sizing.gradient_checkpointing,
        quantized=sizing.quantized,
        padding_free=sizing.padding_free,
        gpu=gpu,
        message=why,
    )


def begun_in_4_bits(status: FineTuneStatus, revision: str) -> bool | None:
    """How the base was kept while the revision learnt so far; None before its first step."""
    return next((r.quantized for r in status.revisions if r.id == revision), None)


def learnt_in_4_bits(training: TrainingStatus | None) -> bool | None:
    """The same of the run that this tells of. An attempt that goes on begins at step 0, too."""
    if training is None or training.sizing is None:
        return None
    begun = bool(training.step) or training.last_checkpoint is not None
    return training.sizing.quantized if begun else None


def build_usage_status(
    before: UsageStatus | None, observed: Observed, *, same_revision: bool, price: Price | None
) -> UsageStatus | None:
    """GPU seconds of the revision, by its own documents. Never less than was told before."""
    told = before.gpu_seconds if before is not None and same_revision else 0
    progress, commit = observed.progress, observed.commit
    seconds = progress.revision_gpu_seconds if progress is not None else 0.0
    if commit is not None:
        seconds = commit.metrics.gpu_seconds
    used = max(told, count(int(min(seconds, LARGEST)))) if math.isfinite(seconds) else told
    if used == 0:
        return None
    return UsageStatus(gpu_seconds=used, cost=price.of(used) if price else None)


def status_uri(storage: StorageTarget | None, prefix: str) -> str | None:
    """A folder in the bucket as s3://…; None if it is longer than status takes."""
    uri = storage.location(prefix).uri if storage else None
    return uri if uri and len(uri) <= URI_LIMIT else None


def build_queue_status(spec: FineTuneSpec, plan: TrainingPlan) -> QueueStatus | None:
    """status.queue, while a queue holds the Job."""
    if plan.reason is not Reason.QUEUED:
        return None
    return QueueStatus(local_queue=spec.resources.queue_name, message=plan.message)


def format_duration(seconds: int) -> str:
    """90 -> "1m30s", 7260 -> "2h1m"."""
    minutes, rest = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
