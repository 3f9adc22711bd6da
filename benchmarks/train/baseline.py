"""The usual way: TRL + PEFT, SDPA attention, gradient checkpointing. No unsloth in this process.

`python -m benchmarks.train.baseline ORDERS.json` (those of `product`); the configurations are their
"compared", one after another. Waits for a line on standard input before it touches the GPU.

The rows, their order, the optimiser and the schedule are the product's: same ids, same seed.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from benchmarks.train.configurations import SEED, Configuration, train_job
from benchmarks.train.gpu_memory import Measurement
from benchmarks.train.results import Run, StepEnd, append
from benchmarks.train.rows import write_rows
from qwen3_api.job.train import TrainJob
from qwen3_trainer.worker.rendering import training_template
from qwen3_trainer.worker.tokens import tokenize

log = logging.getLogger(__name__)


class StepTimes(TrainerCallback):  # type: ignore[misc]  # transformers is Any here
    """Notes when the loss of each step is there."""

    def __init__(self) -> None:
        self.steps: list[StepEnd] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """transformers' hook."""
        if logs and "loss" in logs:
            tokens = int(state.num_input_tokens_seen)
            self.steps.append(StepEnd(time.monotonic(), float(logs["loss"]), tokens))


def main(orders: Path) -> None:
    """Trains, and adds the results."""
    logging.basicConfig(level=logging.INFO, force=True)
    values = json.loads(orders.read_text(encoding="utf-8"))
    sys.stdin.readline()
    for number, configuration in enumerate(values["compared"]):
        work = Path(values["work"]) / f"baseline-{number}"
        work.mkdir(parents=True)
        run = measure(
            Configuration(**configuration), Path(values["bases"]), work, gpus=values["gpus"]
        )
        append(Path(values["results"]), run)


def measure(configuration: Configuration, bases: Path, work: Path, *, gpus: int) -> Run:
    """One training."""
    rows = write_rows(configuration, work)
    job = train_job(configuration, rows, gpus=gpus)
    loading = Measurement()
    trainer = build_trainer(job, bases / configuration.base, rows, work)
    loading_ended = loading.end()
    training = Measurement()
    times = StepTimes()
    trainer.add_callback(times)
    trainer.train()
    return Run.of(
        "TRL + PEFT",
        configuration,
        loading=loading_ended,
        training=training.end(),
        steps=times.steps,
        before=loading.before,
    )


def build_trainer(job: TrainJob, base: Path, rows: Path, work: Path) -> Any:
    """TRL's SFTTrainer with its own defaults for everything that the order doesn't say.

    On the CPU it is transformers' Trainer: TRL 1.15's loss is a Triton kernel.
    """
    on_gpu = torch.cuda.is_available()
    hyper = job.hyperparameters
    transformers.set_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenized = tokenize(
        rows,
        tokenizer,
        training_template(tokenizer),
        max_length=job.dataset.max_sequence_length,
        assistant_only=False,
        cache=work / "datasets",
    )
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16 if on_gpu else torch.float32, attn_implementation="sdpa"
    ).to("cuda" if on_gpu else "cpu")
    model = get_peft_model(
        model,
        LoraConfig(
            r=job.adapter.rank,
            lora_alpha=job.adapter.alpha,
            lora_dropout=0.0,
            target_modules=list(job.adapter.target_modules),
            task_type="CAUSAL_LM",
        ),
    )
    if not on_gpu:
        model.enable_input_require_grads()
    arguments = SFTConfig(
        output_dir=str(work / "output"),
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=job.dataset.max_sequence_length,
        num_train_epochs=1,
        per_device_train_batch_size=hyper.micro_batch_size,
        gradient_accumulation_steps=hyper.gradient_accumulation_steps,
        gradient_checkpointing=hyper.gradient_checkpointing,
        learning_rate=hyper.learning_rate,
        lr_scheduler_type=hyper.scheduler,
        warmup_steps=hyper.warmup_ratio,
        weight_decay=hyper.weight_decay,
        optim="adamw_torch_fused",
        bf16=on_gpu,
        seed=hyper.seed,
        data_seed=hyper.seed,
        logging_steps=1,
        include_num_input_tokens_seen="non_padding",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    if on_gpu:
        return SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=tokenized.dataset,
            processing_class=tokenizer,
        )
    return Trainer(
        model=model, args=arguments, train_dataset=tokenized.dataset.with_format("torch")
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
