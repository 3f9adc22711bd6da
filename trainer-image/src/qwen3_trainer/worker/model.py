"""The base model with a new adapter, through Unsloth. The only module that imports unsloth.

Unsloth patches transformers, trl and peft when it is imported, so whoever trains imports this
module before them.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from qwen3_api.job.train import TrainJob
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.window import read_window, require_window
from qwen3_trainer.worker.messages import TrainPlan

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A PeftModel whose adapter is trainable, and its tokenizer."""

    model: Any
    tokenizer: Any


def check_device(job: TrainJob, allow_cpu: bool) -> None:
    """Raises FailureError: GPUUnavailable, when the job needs a GPU that torch can't use."""
    if job.gpus == 0 or allow_cpu:
        return
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found >= job.gpus:
        return
    raise FailureError(
        Reason.GPU_UNAVAILABLE,
        f"{job.gpus} GPU asked for, but torch {torch.__version__} finds {found or 'none'}",
        "Check the node's driver (580 or newer for CUDA 13) and its device plugin.",
    )


def load(plan: TrainPlan) -> LoadedModel:
    """Loads the base and adds the adapter, a new one or one to go on from.

    Raises FailureError: GPUUnavailable, StartAdapterNotFound, and InvalidSpec when the order's
    rows may be longer than the base's window (no preflight looked).
    """
    job = plan.job
    check_device(job, plan.allow_cpu)
    window = read_window(Path(plan.base))
    require_window(job.base_model.name, job.dataset.max_sequence_length, window)
    from unsloth import FastLanguageModel  # noqa: PLC0415  (it raises without a GPU)

    checkpointing = "unsloth" if job.hyperparameters.gradient_checkpointing else False
    model, tokenizer = FastLanguageModel.from_pretrained(
        plan.base,
        max_seq_length=job.dataset.max_sequence_length,
        dtype=None,  # bfloat16 where the hardware has it
        load_in_4bit=job.adapter.quantized,
        use_gradient_checkpointing=checkpointing,
        # Otherwise a name that Unsloth knows is swapped for another repository.
        use_exact_model_name=True,
        local_files_only=True,
        trust_remote_code=False,
        random_state=job.hyperparameters.seed,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=job.adapter.rank,
        lora_alpha=job.adapter.alpha,
        lora_dropout=job.adapter.dropout,
        target_modules=list(job.adapter.target_modules),
        use_rslora=job.adapter.use_rslora,
        bias="none",
        use_gradient_checkpointing=checkpointing,
        random_state=job.hyperparameters.seed,
    )
    if plan.start_adapter is not None:
        from qwen3_trainer.worker.adapter import start_from  # noqa: PLC0415  (after unsloth)

        start_from(model, Path(plan.start_adapter))
    log.info("model loaded on %s as %s", model.device, model.dtype)
    return LoadedModel(model, tokenizer)
