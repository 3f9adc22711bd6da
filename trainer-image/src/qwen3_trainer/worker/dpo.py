"""TRL's DPOTrainer on rows that are tokenised already.

The reference is a frozen copy of the adapter as it is when the trainer is built: TRL adds it to the
PeftModel under the name `ref`. A checkpoint is loaded later, into the adapter alone, so a resumed
run has the same reference.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftModel
from trl import DPOTrainer

ADAPTER = "default"
"""PEFT's name of the adapter that is trained."""


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


def save_adapter(model: Any, folder: Path) -> None:
    """The trained adapter as safetensors.

    The class's own method: Unsloth replaces the instance's, and may fall back to pickle.
    """
    PeftModel.save_pretrained(
        model, str(folder), safe_serialization=True, selected_adapters=[ADAPTER]
    )
