"""An earlier adapter's weights in the new, trainable one. Imported after unsloth."""

import logging
from pathlib import Path
from typing import Any

from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import TrainerError

log = logging.getLogger(__name__)


def start_from(model: Any, folder: Path) -> None:
    """Replaces the fresh weights of the adapter.

    Raises TrainerError: StartAdapterNotFound, when the tensors are others than the model's.
    """
    weights = load_file(folder / "adapter_model.safetensors")
    own = get_peft_model_state_dict(model)
    if set(weights) != set(own):
        raise _misfit(f"{len(set(weights) ^ set(own))} of its tensors and the model's don't match")
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise _misfit(f"{name} is {tuple(tensor.shape)}, the model's {tuple(own[name].shape)}")
    set_peft_model_state_dict(model, weights)
    log.info("going on from the adapter in %s: %d tensors", folder, len(weights))


def _misfit(problem: str) -> TrainerError:
    return TrainerError(
        Reason.START_ADAPTER_NOT_FOUND,
        f"the adapter to start from doesn't fit the base model: {problem}",
        "Set baseModel to the one that adapter.from was trained on.",
    )
