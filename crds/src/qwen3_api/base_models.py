"""What a base model must be: a dense Qwen3 with weights in 16 bits, for generating text. Pure.

Judged by what its files say, never by its name, and before any weights are downloaded. The trainer
(preflight, training, export) and the pool (fetch-base) refuse the same.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from qwen3_api.families.qwen3 import ARCHITECTURE, MODEL_TYPE

_QUANTIZED_FIELDS = ("quantization_config", "compression_config", "quantization")
"""Of config.json: transformers' (AWQ, GPTQ, FP8, bitsandbytes, …), earlier compressed-tensors', and
MLX's."""
_QUANTIZED_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
"""Beside config.json: AutoGPTQ's, AutoAWQ's, ModelOpt's."""
_EMBEDDING_FILES = ("modules.json", "config_sentence_transformers.json")
"""Of Sentence Transformers: such a model may have the architecture of one that generates."""
_OTHER_TASKS = frozenset(
    {"feature-extraction", "sentence-similarity", "text-classification", "text-ranking"}
)
"""pipeline_tag in the model card."""
_WORD_LIMIT = 60
_WORDS = 3


@dataclass(frozen=True)
class Unsupported:
    """Why a model is no base for adapters, in one sentence, and what to do."""

    message: str
    hint: str


def find_unsupported(
    name: str,
    config: Mapping[str, object],
    files: Collection[str] = (),
    task: str | None = None,
) -> Unsupported | None:
    """None for a model that adapters can be trained for.

    name: what its users call it.
    config: its config.json.
    files: the names of its files, as far as they are known.
    task: the pipeline_tag of its model card, if known.
    """
    return (
        _other_architecture(name, config)
        or _quantized(name, config, files)
        or _other_task(name, files, task)
    )


def _other_architecture(name: str, config: Mapping[str, object]) -> Unsupported | None:
    found = config.get("architectures")
    architectures = found if isinstance(found, list) else [] if found is None else [found]
    model_type = config.get("model_type")
    if model_type == MODEL_TYPE and architectures in ([], [ARCHITECTURE]):
        return None
    words = [_word(a) for a in architectures[:_WORDS]]
    kind = ", ".join(words) or "a model without an architecture"
    return Unsupported(
        f"{name} is {kind} (model_type {_word(model_type)}): only dense Qwen3 models "
        f"({ARCHITECTURE}, model_type {MODEL_TYPE}) are supported",
        "Apply another fine-tune whose baseModel.name is a dense Qwen3, such as Qwen/Qwen3-8B.",
    )


def _quantized(
    name: str, config: Mapping[str, object], files: Collection[str]
) -> Unsupported | None:
    sign = next((f for f in _QUANTIZED_FIELDS if config.get(f) is not None), None)
    if sign is not None:
        settings = config[sign]
        method = settings.get("quant_method") if isinstance(settings, Mapping) else None
        sign = f"{sign} in its config.json" + (f": {_word(method)}" if method else "")
    else:
        sign = next((file for file in _QUANTIZED_FILES if file in files), None)
    if sign is None:
        return None
    return Unsupported(
        f"{name} is already quantized ({sign}): only models in 16 bits are supported",
        "Apply another fine-tune whose baseModel.name is the 16-bit model; adapter.type: QLoRA "
        "trains on a 4-bit base.",
    )


def _other_task(name: str, files: Collection[str], task: str | None) -> Unsupported | None:
    sign = next((file for file in _EMBEDDING_FILES if file in files), None)
    if sign is None and task in _OTHER_TASKS:
        sign = f"pipeline_tag {task} in its model card"
    if sign is None:
        return None
    return Unsupported(
        f"{name} is a model for embeddings or ranking ({sign}): only models that generate text are "
        "supported",
        "Apply another fine-tune whose baseModel.name is a dense Qwen3, such as Qwen/Qwen3-8B.",
    )


def _word(value: object) -> str:
    """A value of a file of others, in a message."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if len(text) <= _WORD_LIMIT else f"{text[:_WORD_LIMIT]}…"
