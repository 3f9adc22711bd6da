"""TRL's DPOTrainer on rows that are tokenised already.

The reference is a frozen copy of the adapter as it is when the trainer is built: TRL adds it to the
PeftModel under the name `ref`. A checkpoint is loaded later, into the adapter alone, so a resumed
run has the same reference.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from qwen3_api.job.train import TrainJob
from qwen3_trainer.methods.base import RunInputs, TrainerMethod
from qwen3_trainer.worker.adapter import save_adapter
from qwen3_trainer.worker.arguments import common_arguments
from qwen3_trainer.worker.messages import TrainPlan
from qwen3_trainer.worker.rendering import TrainingTemplate
from qwen3_trainer.worker.tokens import TokenizedRows, tokenize_preferences


class DirectPreferenceOptimization(TrainerMethod):
    """The chosen answer against the rejected one."""

    def tokenize(
        self, path: Path, tokenizer: Any, template: TrainingTemplate, job: TrainJob, cache: Path
    ) -> TokenizedRows:
        """Columns prompt_ids, chosen_ids and rejected_ids."""
        return tokenize_preferences(
            path,
            tokenizer,
            template,
            max_length=job.dataset.max_sequence_length,
            thinking=job.dataset.thinking,
            cache=cache,
        )

    def build_trainer(self, inputs: RunInputs) -> Any:
        """PreferenceTrainer."""
        arguments = dpo_arguments(inputs.plan, evaluates=inputs.evaluates)
        return PreferenceTrainer(args=arguments, **inputs.trainer_arguments)


METHOD = DirectPreferenceOptimization()


def dpo_arguments(plan: TrainPlan, *, evaluates: bool) -> DPOConfig:
    """For DPOTrainer. It switches the dropout off, as TRL recommends: the log-probabilities of the
    adapter and of its frozen copy are compared."""
    dpo = plan.job.dpo
    assert dpo is not None  # noqa: S101  (set with method DPO)
    return DPOConfig(
        **common_arguments(plan, evaluates=evaluates), beta=dpo.beta, loss_type=[dpo.loss_type]
    )


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]  # trl is Any here
    """Leaves the rows as they are and the reference out of checkpoints."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        folder = Path(output_dir or self.args.output_dir)
        save_adapter(self.model, folder)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None in a checkpoint: the adapter's is written at the end (`qwen3_trainer.card`)."""
