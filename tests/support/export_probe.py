"""Runs in the trainer's environment, prints JSON:

    python export_probe.py shard BASE FOLDER              the base model again, in several files
    python export_probe.py wide BASE FOLDER               random weights in rows of 256 and 512
    python export_probe.py answer BASE ADAPTER MERGED PROMPTS GGUF…
    python export_probe.py chat GGUF QUESTIONS            greedy answers without thinking, as texts

`answer` generates greedily for each prompt of a JSON list: by transformers from the base with the
adapter that PEFT merges, from the merged folder, and by llama.cpp's Python binding from each GGUF.
"""

import json
import shutil
import sys
from pathlib import Path

import llama_cpp
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

TOKENS = 24


def shard(base: str, folder: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    model.save_pretrained(folder, max_shard_size="800KB")
    copy_others(base, folder)


def wide(base: str, folder: str) -> None:
    config = AutoConfig.from_pretrained(base)
    config.update({"hidden_size": 256, "intermediate_size": 512, "head_dim": 64})
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    copy_others(base, folder)


def copy_others(base: str, folder: str) -> None:
    """Tokenizer and template."""
    for path in Path(base).iterdir():
        known = (Path(folder) / path.name).exists()
        if path.suffix in (".json", ".jinja") and not known:
            shutil.copy(path, folder)


def by_transformers(model: torch.nn.Module, prompts: list[list[int]]) -> list[list[int]]:
    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        out = model.generate(  # type: ignore[operator]
            ids, attention_mask=mask, do_sample=False, max_new_tokens=TOKENS, eos_token_id=-1
        )
        answers.append(out[0, len(prompt) :].tolist())
    return answers


def by_llama_cpp(file: str, prompts: list[list[int]]) -> list[list[int]]:
    model = llama_cpp.Llama(file, n_ctx=512, n_gpu_layers=0, verbose=False)
    answers = []
    for prompt in prompts:
        model.reset()
        tokens = model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0)
        answers.append([next(tokens) for _ in range(TOKENS)])
    return answers


def answer(base: str, adapter: str, merged: str, prompts_file: str, *files: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(merged)
    texts = json.loads(Path(prompts_file).read_text())
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    # In 32 bits: what the weights mean, without the rounding of 16-bit arithmetic.
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    without = by_transformers(plain, prompts)
    peft = PeftModel.from_pretrained(plain, adapter).merge_and_unload()
    own = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    difference = max(
        float((a - b).abs().max())
        for a, b in zip(peft.state_dict().values(), own.state_dict().values(), strict=True)
    )
    found = {
        "base": without,
        "merged": by_transformers(own, prompts),
        "weights": difference,
        "gguf": [by_llama_cpp(file, prompts) for file in files],
    }
    sys.stdout.write(json.dumps(found) + "\n")


def chat(file: str, questions_file: str) -> None:
    model = llama_cpp.Llama(file, n_ctx=512, n_gpu_layers=0, verbose=False)
    answers = []
    for question in json.loads(Path(questions_file).read_text()):
        prompt = (
            f"<|im_start|>user\n{question}<|im_end|>\n"
            "<|im_start|>assistant\n<think>\n\n</think>\n\n"
        )
        told = model(
            prompt, max_tokens=48, temperature=0.0, top_k=1, repeat_penalty=1.0, stop=["<|im_end|>"]
        )
        answers.append(told["choices"][0]["text"].strip())
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"shard": shard, "wide": wide, "answer": answer, "chat": chat}[command](*arguments)
