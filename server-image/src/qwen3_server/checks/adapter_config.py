"""adapter_config.json against an allow-list: the file is a tenant's and vLLM acts on it.

Three kinds of keys pass: those that say what the adapter is (checked one by one), those that are
free text or numbers without effect on serving, and any other key while its value means "not used".
PEFT grows such keys with every release; one that *is* used changes what the weights mean, and vLLM
either refuses it or, worse, ignores it.

rank_pattern and alpha_pattern are refused when used: vLLM compiles their keys as regular
expressions, which a tenant could make arbitrarily slow.
"""

import json
from collections.abc import Callable
from typing import Any

from qwen3_api.job.adapter_files import MAX_CONFIG_BYTES
from qwen3_api.v1alpha1.training import ALL_LINEAR
from qwen3_server.errors import refused

_UNUSED: tuple[object, ...] = (None, False, "", [], {})
_CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_code", "code_revision"})
"""Keys that make some library import code; refused whatever their value."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_target_list(value: object) -> bool:
    # A string would be a regular expression.
    return isinstance(value, list) and bool(value) and all(v in ALL_LINEAR for v in value)


def _is_auto_mapping(value: object) -> bool:
    """Unsloth's note of the class it patched: names only, nothing imports them when serving."""
    if not isinstance(value, dict):
        return value is None
    allowed = {"base_model_class", "parent_library", "unsloth_fixed"}
    library = str(value.get("parent_library", ""))
    return set(value) <= allowed and library.startswith("transformers.models.qwen3")


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "peft_type": (lambda v: v == "LORA", "must be LORA"),
    "task_type": (lambda v: v in (None, "CAUSAL_LM"), "must be CAUSAL_LM"),
    "target_modules": (_is_target_list, f"must be a list of {', '.join(ALL_LINEAR)}"),
    "bias": (lambda v: v in (None, "none"), "must be none"),
    "lora_alpha": (_is_number, "must be a number"),
    "lora_dropout": (_is_number, "must be a number"),
    "use_rslora": (lambda v: isinstance(v, bool), "must be true or false"),
    "inference_mode": (lambda v: isinstance(v, bool), "must be true or false"),
    # Other initialisations (PiSSA, OLoRA, LoftQ …) change the base weights that are served.
    "init_lora_weights": (
        lambda v: v in (True, False, "gaussian"),
        "must be true, false or gaussian",
    ),
    "auto_mapping": (_is_auto_mapping, "must only name a transformers Qwen3 class"),
    # Only its own feature reads it (use_qalora), which must be unused.
    "qalora_group_size": (_is_number, "must be a number"),
    "peft_version": (lambda v: v is None or isinstance(v, str), "must be a string"),
    "revision": (lambda v: v is None or isinstance(v, str), "must be a string"),
    # PEFT's default; only megatron_config, which must be unused, makes PEFT import it.
    "megatron_core": (lambda v: v in (None, "megatron.core"), "must be megatron.core"),
    # Settings of PEFT's own runtime; vLLM has none of it.
    "runtime_config": (
        lambda v: v is None or v == {"ephemeral_gpu_offload": False},
        "must be unused",
    ),
}


def check_adapter_config(content: bytes, *, base_model: str, rank: int, max_rank: int) -> None:
    """Raise AdapterError(ArtifactRefused) unless vLLM may be given this adapter_config.json.

    Args:
        content: The file.
        base_model: The name the pool serves its base under.
        rank: What the index says the rank is.
        max_rank: vLLM's --max-lora-rank.
    """
    config = _parse(content)
    _check_rank(config.get("r"), rank, max_rank)
    if config.get("base_model_name_or_path") != base_model:
        found = config.get("base_model_name_or_path")
        raise refused(
            f"adapter_config.json: base_model_name_or_path is {found!r}, "
            f"this pool serves {base_model!r}"
        )
    for key in ("peft_type", "target_modules"):
        if key not in config:
            raise refused(f"adapter_config.json: {key} is missing")
    for key, value in config.items():
        _check_key(key, value)


def _parse(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_CONFIG_BYTES:
        raise refused(f"adapter_config.json is over {MAX_CONFIG_BYTES} bytes")
    try:
        config = json.loads(content, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise refused(f"adapter_config.json is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise refused("adapter_config.json is not a JSON object")
    return config


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; two readers could disagree about a key that comes twice."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _check_rank(found: object, rank: int, max_rank: int) -> None:
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise refused(f"adapter_config.json: r is {found!r}, not a rank")
    if found > max_rank:
        raise refused(f"adapter_config.json: r is {found}, this pool loads up to {max_rank}")
    if found != rank:
        raise refused(f"adapter_config.json: r is {found}, the commit says {rank}")


def _check_key(key: str, value: object) -> None:
    if key in _CODE_KEYS:
        raise refused(f"adapter_config.json: {key} is not allowed")
    if key in ("r", "base_model_name_or_path"):
        return
    if key in _RULES:
        holds, rule = _RULES[key]
        if not holds(value):
            raise refused(f"adapter_config.json: {key} {rule}, it is {value!r}")
    elif value not in _UNUSED:
        raise refused(f"adapter_config.json: {key} is not allowed, it is {value!r}")
