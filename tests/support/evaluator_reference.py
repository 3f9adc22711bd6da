"""A second opinion on the evaluator's numbers, by transformers alone. Run by the server's Python.

`python evaluator_reference.py build FOLDER TEMPLATE [WORD …]` makes a random Qwen3 in FOLDER/model
and a random LoRA adapter in FOLDER/adapter; each word is a token that it likes to say.
`python evaluator_reference.py answer FOLDER` reads `{"cases": [{"question", "system", "answer"}],
"max_tokens"}` from standard input and writes, for "base" and "adapter", each case's greedy answer,
the loss of the given answer in nats and its tokens. The adapter is merged into the weights here,
where vLLM applies it beside them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
RANK = 4
ALPHA = 8
PROJECTIONS = {"q_proj": (64, 128), "v_proj": (64, 64)}
"""LoRA targets: inputs and outputs."""


def build(folder: Path, template: Path, words: list[str]) -> None:
    """Write model and adapter. The weights are large, so that losses differ from token to token."""
    tokenizer = Tokenizer(models.BPE())
    # Qwen's split keeps the blank line behind the think block apart from the answer.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=sorted(alphabet)
    )
    tokenizer.train_from_iterator(["system user assistant what is the capital of\n\n"], trainer)
    folder.mkdir(parents=True)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    fast.add_tokens(words)
    fast.chat_template = template.read_text()
    fast.save_pretrained(folder / "model")
    torch.manual_seed(7)
    config = Qwen3Config(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.3,
        eos_token_id=fast.convert_tokens_to_ids("<|im_end|>"),
    )
    model = Qwen3ForCausalLM(config).to(torch.float32)
    if words:
        # Longer output vectors win more often; inputs are normalised.
        model.get_output_embeddings().weight.data[-len(words) :] *= 2
    model.save_pretrained(folder / "model")
    write_adapter(folder / "adapter")


def write_adapter(folder: Path) -> None:
    """A LoRA adapter in peft's format."""
    folder.mkdir()
    weights = {}
    for layer in range(2):
        for name, (inputs, outputs) in PROJECTIONS.items():
            key = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{key}.lora_A.weight"] = torch.randn(RANK, inputs)
            weights[f"{key}.lora_B.weight"] = torch.randn(outputs, RANK) / 4
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny/base",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": list(PROJECTIONS),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def answer(folder: Path, order: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Answers and losses of both models."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)

    def ask_all() -> list[dict[str, Any]]:
        return [ask(model, tokenizer, case, order["max_tokens"]) for case in order["cases"]]

    base = ask_all()
    adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
    for key in [k.removesuffix(".lora_A.weight") for k in adapter if k.endswith("lora_A.weight")]:
        target = model.get_submodule(key.removeprefix("base_model.model."))
        delta = adapter[f"{key}.lora_B.weight"] @ adapter[f"{key}.lora_A.weight"]
        target.weight.data += delta * (ALPHA / RANK)
    return {"base": base, "adapter": ask_all()}


@torch.no_grad()
def ask(model: Any, tokenizer: Any, case: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    """Greedy answer, and the loss of the given answer, tokenised apart from its prompt."""
    system = [{"role": "system", "content": case["system"]}] if case["system"] else []
    text = tokenizer.apply_chat_template(
        [*system, {"role": "user", "content": case["question"]}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    prompt = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    generated = model.generate(prompt, max_new_tokens=max_tokens, do_sample=False)
    expected = tokenizer(
        case["answer"] + "<|im_end|>\n", add_special_tokens=False, return_tensors="pt"
    ).input_ids
    ids = torch.cat([prompt, expected], dim=1)
    logits = model(ids).logits[0, prompt.shape[1] - 1 : -1]
    loss = torch.nn.functional.cross_entropy(logits, expected[0], reduction="sum")
    return {
        "text": tokenizer.decode(generated[0, prompt.shape[1] :], skip_special_tokens=True),
        "loss": loss.item(),
        "tokens": expected.shape[1],
    }


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        json.dump(answer(Path(sys.argv[2]), json.load(sys.stdin)), sys.stdout)
