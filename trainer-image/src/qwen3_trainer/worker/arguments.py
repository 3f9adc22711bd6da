"""The order as arguments of TRL's trainers, as far as all methods share them."""

import math
from typing import Any

import torch

from qwen3_api.job.train import JobHyperparameters
from qwen3_trainer.worker.messages import TrainPlan
from qwen3_trainer.worker.ranks import world_size

LOG_RATIO = 0.001
"""Part of all steps between two log entries: every step of up to 1,000."""
EVAL_METRIC = "eval_loss"


def common_arguments(plan: TrainPlan, *, evaluates: bool) -> dict[str, Any]:
    """What all of TRL's configurations take."""
    hyper, checkpoint = plan.job.hyperparameters, plan.job.checkpoint
    bf16 = plan_uses_bf16()
    return {
        "output_dir": plan.output,
        "max_length": plan.job.dataset.max_sequence_length,
        "num_train_epochs": hyper.epochs or 1,
        "max_steps": hyper.max_steps or -1,
        "per_device_train_batch_size": hyper.micro_batch_size,
        "per_device_eval_batch_size": hyper.micro_batch_size,
        "gradient_accumulation_steps": hyper.gradient_accumulation_steps,
        "gradient_checkpointing": hyper.gradient_checkpointing,
        "learning_rate": hyper.learning_rate,
        "lr_scheduler_type": scheduler(hyper),
        "warmup_steps": warmup_steps(hyper.warmup_ratio),
        "weight_decay": hyper.weight_decay,
        "optim": "adamw_torch_fused",
        "bf16": bf16,
        "fp16": not bf16,
        "seed": hyper.seed,
        "data_seed": hyper.seed,
        "logging_steps": LOG_RATIO,
        "logging_first_step": True,
        # Otherwise a NaN is logged as the mean of the steps before it.
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": checkpoint.every_steps if evaluates else None,
        # The best step is only noted; `training` loads it: the parent moves the folders.
        "metric_for_best_model": EVAL_METRIC if evaluates else None,
        "greater_is_better": False if evaluates else None,
        "save_strategy": "steps",
        "save_steps": checkpoint.every_steps,
        # The parent removes checkpoints: one may be on its way to the bucket.
        "save_total_limit": None,
        "report_to": "none",  # `tracking` adds W&B by itself
        "disable_tqdm": True,
        # Every weight of the adapter takes part in every step.
        "ddp_find_unused_parameters": False if world_size() > 1 else None,
    }


def plan_uses_bf16() -> bool:
    """Whether the device computes in bfloat16; Unsloth's CPU backend corrects it for CPUs."""
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported()


def scheduler(hyper: JobHyperparameters) -> str:
    """The name that transformers knows; its `constant` ignores the warm-up."""
    return "constant_with_warmup" if hyper.scheduler == "constant" else hyper.scheduler


def warmup_steps(ratio: float) -> float:
    """transformers takes a fraction below 1 as a part of all steps."""
    return min(ratio, math.nextafter(1.0, 0.0))
