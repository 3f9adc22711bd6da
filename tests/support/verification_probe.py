"""Verifies adapters of a long prompt with the trainer's verification. Runs in the ML environment:

    python verification_probe.py BASE_MODEL OUTPUT_FOLDER ORDER < prompt.json

Prints, for a sound adapter and one with a weight that is no number, the sample or the failure, and
for how many tokens at once logits were built.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from qwen3_api.job.train import TrainJob
from qwen3_api.pod.failure import FailureError
from qwen3_trainer.worker.channel import Channel
from qwen3_trainer.worker.messages import VerifyPlan
from qwen3_trainer.worker.verification import verify


def main(base: str, output: Path, order: Path) -> None:
    """Prints one JSON document."""
    job = TrainJob.model_validate_json(order.read_bytes())
    prompt = json.load(sys.stdin)
    built: list[int] = []
    vocabulary = json.loads((Path(base) / "config.json").read_text())["vocab_size"]

    def note(module: Any, _: Any, result: Any) -> None:
        if isinstance(module, torch.nn.Linear) and module.out_features == vocabulary:
            built.append(result.shape[-2])

    printed = {}
    for name, broken in (("sound", False), ("broken", True)):
        folder = output / name
        save_adapter(base, folder, broken=broken)
        built.clear()
        hook = torch.nn.modules.module.register_module_forward_hook(note)
        said = output / f"{name}.messages"
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT)
        failure = None
        try:
            plan = VerifyPlan(job=job, base=base, adapter=str(folder), prompt=prompt)
            verify(plan, Channel(descriptor))
        except FailureError as error:
            failure = [str(error.reason), error.message]
        finally:
            hook.remove()
        told = [json.loads(line) for line in said.read_text().splitlines()]
        printed[name] = {"failure": failure, "told": told, "built": list(built)}
    print(json.dumps(printed))


def save_adapter(base: str, folder: Path, *, broken: bool) -> None:
    """A new adapter; broken: its last layer has a weight that is no number."""
    torch.manual_seed(1)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, target_modules="all-linear")
    )
    if broken:
        last = [p for name, p in model.named_parameters() if "lora_B" in name][-1]
        with torch.no_grad():
            last[0, 0] = float("nan")
    model.save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
