"""A method's part in a training run: rows to a table of tokens, and TRL's trainer over it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from qwen3_api.job.train import TrainJob
from qwen3_api.methods import METHODS, MethodType
from qwen3_trainer.worker.messages import TrainPlan
from qwen3_trainer.worker.model import LoadedModel
from qwen3_trainer.worker.rendering import TrainingTemplate
from qwen3_trainer.worker.tokens import TokenizedRows


@dataclass(frozen=True)
class RunInputs:
    """Everything that a trainer is built of."""

    plan: TrainPlan
    loaded: LoadedModel
    train: TokenizedRows
    evaluation: Any = None
    """datasets.Dataset of validation rows; None: there are none."""

    @property
    def evaluates(self) -> bool:
        """There are validation rows."""
        return self.evaluation is not None

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Arguments that all of TRL's trainers take, but `args`."""
        return {
            "model": self.loaded.model,
            "train_dataset": self.train.dataset,
            "eval_dataset": self.evaluation,
            "processing_class": self.loaded.tokenizer,
        }


class TrainerMethod(ABC):
    """A training method with TRL. Each module of a method has one as `METHOD`."""

    @abstractmethod
    def tokenize(
        self, path: Path, tokenizer: Any, template: TrainingTemplate, job: TrainJob, cache: Path
    ) -> TokenizedRows:
        """A file of checked rows as the table that the trainer reads, stored below `cache`.

        Raises FailureError: DatasetInvalid, when no row has anything to learn; and LineError for a
        row that the chat template can't write.
        """

    @abstractmethod
    def build_trainer(self, inputs: RunInputs) -> Any:
        """TRL's trainer, ready to train."""


def load_method(name: MethodType) -> TrainerMethod:
    """The method from its module."""
    method: TrainerMethod = import_module(f"qwen3_trainer.methods.{METHODS[name].key}").METHOD
    return method
