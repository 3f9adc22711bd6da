"""The finished adapter, loaded the way others load it: plain transformers and PEFT, a new process.

Unsloth is not imported, so an adapter that works only with its patches is found out here.
"""

import logging
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from qwen3_api.pod.failure import FailureError
from qwen3_api.pod.text import cut
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.failures import is_out_of_memory
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import Verified, VerifyPlan

log = logging.getLogger(__name__)

NEW_TOKENS = 64
SAMPLE_LIMIT = 2048
CHECKED_TOKENS = 256
"""Last tokens of the prompt whose logits are looked at: those of a whole prompt take gigabytes that
the training, which never builds them, didn't need. What is not finite earlier comes through
attention to the last ones."""


def verify(plan: VerifyPlan, channel: Channel) -> None:
    """Loads base and adapter and generates. Raises FailureError: AdapterUnusable."""
    transformers.utils.logging.disable_progress_bar()
    try:
        model, tokenizer = _load(plan)
        _require_same_keys(model, Path(plan.adapter))
        sample = _generate(model, tokenizer, plan)
    except FailureError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _unusable(f"{type(error).__name__}: {error}") from error
    channel.send(Verified(sample=cut(sample, SAMPLE_LIMIT)))


def _unusable(detail: str) -> FailureError:
    return FailureError(
        Reason.ADAPTER_UNUSABLE,
        f"base and adapter don't work together: {detail}",
        "The training may have diverged: lower hyperparameters.learningRate.",
    )


def _load(plan: VerifyPlan) -> tuple[Any, Any]:
    on_gpu = torch.cuda.is_available()
    dtype: Any = "auto"
    if on_gpu:
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    extra: dict[str, Any] = {}
    if plan.job.adapter.quantized and on_gpu:
        # A GPU that trained in 4 bits may be too small for 16. (On the CPU there is room.)
        extra["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    base = AutoModelForCausalLM.from_pretrained(
        plan.base,
        dtype=dtype,
        device_map={"": 0} if on_gpu else "cpu",
        trust_remote_code=False,
        local_files_only=True,
        **extra,
    )
    tokenizer = AutoTokenizer.from_pretrained(
        plan.base, trust_remote_code=False, local_files_only=True
    )
    return PeftModel.from_pretrained(base, plan.adapter).eval(), tokenizer


def _require_same_keys(model: Any, adapter: Path) -> None:
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        stored = set(file.keys())
    expected = set(get_peft_model_state_dict(model))
    if stored != expected:
        raise _unusable(f"{len(stored ^ expected)} weights of the file and the model don't match")


def _generate(model: Any, tokenizer: Any, plan: VerifyPlan) -> str:
    inputs = tokenizer.apply_chat_template(
        plan.prompt,
        add_generation_prompt=True,
        enable_thinking=False,
        return_tensors="pt",
        return_dict=True,
        # Room for the answer.
        truncation=True,
        max_length=plan.job.dataset.max_sequence_length,
    ).to(model.device)
    with torch.inference_mode():
        logits = model(**inputs, logits_to_keep=CHECKED_TOKENS, use_cache=False).logits
        if not torch.isfinite(logits).all():
            raise _unusable("the logits are not finite")
        del logits
        output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    answer: str = tokenizer.decode(
        output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    if not answer:
        raise _unusable("it generated nothing for the first training prompt")
    return answer
