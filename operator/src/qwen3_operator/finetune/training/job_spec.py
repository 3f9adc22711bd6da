"""The orders that training pods read: every default resolved, nothing left to decide in the pod."""

from typing import Any

from qwen3_api.job.export import ExportJob
from qwen3_api.job.preflight import PreflightChecks, PreflightJob
from qwen3_api.job.report import Commit, Sizing
from qwen3_api.job.train import (
    JobAdapter,
    JobBaseModel,
    JobCheckpoint,
    JobDataset,
    JobEarlyStopping,
    JobGuards,
    JobHyperparameters,
    StartAdapter,
    TrainJob,
)
from qwen3_api.methods import job_sections
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.resources import OnOutOfMemory
from qwen3_api.v1alpha1.serving_spec import ServingMode
from qwen3_api.v1alpha1.training import (
    AdapterType,
    DatasetSpec,
    HyperparametersSpec,
    ResumePolicy,
)
from qwen3_operator.finetune.views import ReadableFineTune, revision_folder
from qwen3_operator.resources.base_model import resolve_job_model
from qwen3_operator.resources.identity import DEFAULT_EPOCHS
from qwen3_operator.resources.job import resolve_data, resolve_wandb
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.settings import Settings


def resolve_preflight_job(
    ft: ReadableFineTune,
    storage: StorageTarget,
    settings: Settings,
    start: StartAdapter | None,
) -> PreflightJob:
    """The order of the preflight of one revision."""
    spec = ft.spec
    checks = spec.dataset.checks
    return PreflightJob(
        **_shared_fields(ft, storage, settings),
        method=spec.method.type,
        dataset=_resolve_dataset(spec.dataset, storage),
        assistant_only_loss=_assistant_only_loss(spec),
        start=start,
        checks=PreflightChecks(
            max_truncated_percent=checks.max_truncated_percent,
            max_dropped_percent=checks.max_dropped_percent,
            max_duplicate_percent=checks.max_duplicate_percent,
            fail_on_leakage=checks.fail_on_leakage,
        ),
    )


def resolve_train_job(
    ft: ReadableFineTune,
    storage: StorageTarget,
    settings: Settings,
    sizing: Sizing,
    start: StartAdapter | None = None,
    *,
    planned_length: int | None = None,
) -> TrainJob:
    """The order of one revision. `sizing`, `planned_length` (tokens of the longest row that it is
    for) and `start` come out of the preflight and the bucket."""
    spec = ft.spec
    wandb = spec.tracking.wandb
    return TrainJob(
        **_shared_fields(ft, storage, settings),
        method=spec.method.type,
        **job_sections(spec.method),
        dataset=_resolve_dataset(spec.dataset, storage),
        adapter=JobAdapter(
            quantized=sizing.quantized,
            rank=spec.adapter.rank,
            alpha=spec.adapter.alpha or spec.adapter.rank,
            dropout=float(spec.adapter.dropout),
            target_modules=spec.adapter.target_modules,
            use_rslora=spec.adapter.use_rslora,
            start=start,
        ),
        hyperparameters=_resolve_hyperparameters(spec, sizing, planned_length),
        checkpoint=JobCheckpoint(
            every_steps=spec.checkpoint.every_steps,
            keep_last=spec.checkpoint.keep_last,
            resume=spec.checkpoint.resume is ResumePolicy.AUTO,
            load_best=spec.checkpoint.load_best,
        ),
        guards=JobGuards(
            adapt_to_memory=spec.failure_policy.on_out_of_memory is OnOutOfMemory.ADAPT,
            allow_quantization=spec.failure_policy.allow_quantization,
            stall_timeout_seconds=spec.failure_policy.stall_timeout_seconds,
            max_gpu_seconds=spec.limits.max_gpu_seconds,
        ),
        wandb=resolve_wandb(wandb) if wandb else None,
        gpus=spec.resources.gpus,
        progress_seconds=settings.training.progress_seconds,
        image=settings.images.trainer,
    )


def resolve_export_job(
    ft: ReadableFineTune, commit: Commit, storage: StorageTarget, settings: Settings
) -> ExportJob:
    """The order of the export of one revision's result."""
    spec = ft.spec
    return ExportJob(
        **_shared_fields(ft, storage, settings),
        base_commit=commit.provenance.base_commit,
        adapter=StartAdapter(
            location=storage.location(commit.prefix), files=commit.files, digest=commit.digest
        ),
        merged=spec.serving.mode is ServingMode.MERGED,
        gguf=list(spec.export.gguf) if spec.export else [],
        thinking=spec.dataset.chat_template.thinking.value,
    )


def is_quantized(spec: FineTuneSpec) -> bool | None:
    """The base is kept in 4 bits by the user's choice; None where that is left to the plan."""
    chosen = spec.adapter.type
    return None if chosen is None else chosen is AdapterType.QLORA


def _shared_fields(
    ft: ReadableFineTune, storage: StorageTarget, settings: Settings
) -> dict[str, Any]:
    """Fields of every job spec of a revision: whose it is, its base model, where it writes."""
    return {
        "namespace": ft.meta.namespace,
        "name": ft.meta.name,
        "uid": ft.meta.uid,
        "revision": ft.revision,
        "spec_hash": ft.digest,
        "base_model": _resolve_base(ft.spec, storage, settings),
        "output": revision_folder(ft.meta, ft.revision, storage),
    }


def _resolve_base(spec: FineTuneSpec, storage: StorageTarget, settings: Settings) -> JobBaseModel:
    return JobBaseModel(
        name=spec.base_model.name,
        source=resolve_job_model(spec.base_model, storage, settings),
    )


def _resolve_dataset(dataset: DatasetSpec, storage: StorageTarget) -> JobDataset:
    validation = dataset.validation
    return JobDataset(
        train=resolve_data("train", dataset.train, storage),
        validation=resolve_data("validation", validation, storage) if validation else None,
        format=dataset.format.value,
        max_sequence_length=dataset.max_sequence_length,
        thinking=dataset.chat_template.thinking.value,
    )


def _assistant_only_loss(spec: FineTuneSpec) -> bool:
    return spec.method.sft.assistant_only_loss if spec.method.sft else True


def _resolve_hyperparameters(
    spec: FineTuneSpec, sizing: Sizing, planned_length: int | None
) -> JobHyperparameters:
    hyper = spec.hyperparameters
    stopping = hyper.early_stopping
    return JobHyperparameters(
        epochs=resolve_epochs(hyper),
        max_steps=hyper.max_steps,
        learning_rate=float(hyper.learning_rate),
        scheduler=hyper.scheduler.value.lower(),
        warmup_ratio=float(hyper.warmup_ratio),
        weight_decay=float(hyper.weight_decay),
        micro_batch_size=sizing.micro_batch_size,
        gradient_accumulation_steps=sizing.gradient_accumulation_steps,
        gradient_checkpointing=sizing.gradient_checkpointing,
        padding_free=sizing.padding_free,
        planned_length=planned_length if sizing.padding_free else None,
        seed=hyper.seed,
        assistant_only_loss=_assistant_only_loss(spec),
        early_stopping=(
            JobEarlyStopping(patience=stopping.patience, min_delta=float(stopping.min_delta))
            if stopping
            else None
        ),
    )


def resolve_epochs(hyper: HyperparametersSpec) -> int | None:
    """Epochs of the run; None when maxSteps decides."""
    return None if hyper.max_steps else (hyper.epochs or DEFAULT_EPOCHS)
