"""Weights of the adapter: an earlier one's into the new one, and the result out. Imported after
unsloth."""

import logging
from pathlib import Path
from typing import Any

from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason

log = logging.getLogger(__name__)

ADAPTER = "default"
"""PEFT's name of the adapter that is trained."""


def start_from(model: Any, folder: Path) -> None:
    """Replaces the fresh weights of the adapter.

    Raises FailureError: StartAdapterNotFound, when the tensors are others than the model's.
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


def _misfit(problem: str) -> FailureError:
    return FailureError(
        Reason.START_ADAPTER_NOT_FOUND,
        f"the adapter to start from doesn't fit the base model: {problem}",
        "Set baseModel to the one that adapter.from was trained on.",
    )


def save_adapter(model: Any, folder: Path) -> None:
    """The trained adapter as safetensors.

    The class's own method: Unsloth replaces the instance's, and may fall back to pickle.
    """
    PeftModel.save_pretrained(
        model, str(folder), safe_serialization=True, selected_adapters=[ADAPTER]
    )
