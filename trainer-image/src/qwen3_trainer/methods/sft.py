"""SFT: TRL's SFTTrainer on rows that are tokenised already, padded or one behind the other."""

import logging
from pathlib import Path
from typing import Any

from trl import SFTConfig, SFTTrainer

from qwen3_api.job.train import TrainJob
from qwen3_trainer.methods.base import RunInputs, TrainerMethod
from qwen3_trainer.worker import padding
from qwen3_trainer.worker.arguments import common_arguments
from qwen3_trainer.worker.messages import TrainPlan
from qwen3_trainer.worker.passes import token_budget
from qwen3_trainer.worker.ranks import world_size
from qwen3_trainer.worker.rendering import TrainingTemplate
from qwen3_trainer.worker.tokens import TokenizedRows, tokenize

log = logging.getLogger(__name__)


class SupervisedFineTuning(TrainerMethod):
    """Cross-entropy of the tokens that have a label."""

    def tokenize(
        self, path: Path, tokenizer: Any, template: TrainingTemplate, job: TrainJob, cache: Path
    ) -> TokenizedRows:
        """Columns input_ids and labels."""
        hyper = job.hyperparameters
        return tokenize(
            path,
            tokenizer,
            template,
            max_length=job.dataset.max_sequence_length,
            assistant_only=hyper.assistant_only_loss,
            thinking=job.dataset.thinking,
            cache=cache,
            multiple_of=padding.ALIGNMENT if hyper.padding_free else 1,
        )

    def build_trainer(self, inputs: RunInputs) -> Any:
        """SFTTrainer, or PaddingFreeTrainer as the job spec chooses."""
        arguments = sft_arguments(inputs.plan, evaluates=inputs.evaluates)
        if not arguments.padding_free:
            return SFTTrainer(args=arguments, **inputs.trainer_arguments)
        return _padding_free(arguments, inputs)


METHOD = SupervisedFineTuning()


def _padding_free(arguments: SFTConfig, inputs: RunInputs) -> padding.PaddingFreeTrainer:
    job = inputs.plan.job
    for rows in (inputs.train.dataset, inputs.evaluation):
        if rows is not None:
            padding.claim(rows, job.dataset.max_sequence_length)
    trainer = padding.PaddingFreeTrainer(args=arguments, **inputs.trainer_arguments)
    padding.require(trainer)
    if world_size() == 1:
        hyper = job.hyperparameters
        trainer.token_budget = token_budget(
            hyper.micro_batch_size, inputs.train.longest, hyper.planned_length, padding.ALIGNMENT
        )
        log.info("no padding, at most %d tokens at once", trainer.token_budget)
    return trainer


def sft_arguments(plan: TrainPlan, *, evaluates: bool) -> SFTConfig:
    """For SFTTrainer."""
    hyper = plan.job.hyperparameters
    arguments = SFTConfig(
        **(common_arguments(plan, evaluates=evaluates) | padding.arguments(hyper)),
        # The rows are tokenised and cut already (`tokens`).
        dataset_kwargs={"skip_prepare_dataset": True},
        packing=False,
    )
    # Unsloth switches it off on the CPU, lest attention mix the rows; transformers, whose attention
    # it takes there, keeps them apart by their positions.
    arguments.padding_free = hyper.padding_free
    return arguments
