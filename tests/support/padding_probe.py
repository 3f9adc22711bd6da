"""Trains the same rows padded and without padding. Runs in the ML environment:

    python padding_probe.py BASE_MODEL OUTPUT_FOLDER

TRL without Unsloth, in 32 bits and so to the last digits: attention ends at a row's bounds by
transformers' own mask, the collator here gives the lengths of the rows as Unsloth's does on a GPU,
and the loss is transformers' (TRL's needs a GPU). Prints both trainings' losses, their largest
difference of a weight, and the rows of each pass.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, set_seed
from trl import SFTConfig, SFTTrainer

from qwen3_trainer.worker.padding import ALIGNMENT, PaddingFreeTrainer

LENGTHS = (8, 40, 16, 24, 32, 8, 48, 16, 8, 24, 40, 16)
ROWS_OF_A_STEP = 4
BUDGET = 64


def main(base: str, output: Path) -> None:
    """Prints one JSON document."""
    assert all(length % ALIGNMENT == 0 for length in LENGTHS)
    tokenizer = AutoTokenizer.from_pretrained(base)
    padded = training(base, output / "padded", tokenizer, SFTTrainer, padding_free=False)
    trainer = training(base, output / "free", tokenizer, PaddingFreeTrainer, padding_free=True)
    inner, passes = trainer.data_collator, []

    def with_lengths(examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = inner(examples)
        lengths = [len(example["input_ids"]) for example in examples]
        return {**batch, "packed_seq_lengths": torch.tensor(lengths, dtype=torch.int32)}

    def counted(model: Any, inputs: dict[str, Any], **named: Any) -> Any:
        passes.append(inputs["packed_seq_lengths"].tolist())
        return Trainer.compute_loss(trainer, model, inputs, **named)

    padded.compute_loss = partial(Trainer.compute_loss, padded)
    trainer.data_collator, trainer.compute_loss = with_lengths, counted
    trainer.token_budget = BUDGET
    losses = []
    for one in (padded, trainer):
        one.train()
        losses.append([entry["loss"] for entry in one.state.log_history if "loss" in entry])
    pairs = zip(padded.model.parameters(), trainer.model.parameters(), strict=True)
    difference = max((a - b).abs().max().item() for a, b in pairs)
    print(json.dumps({"losses": losses, "difference": difference, "passes": passes}))


def training(base: str, output: Path, tokenizer: Any, kind: type, *, padding_free: bool) -> Any:
    """Three steps of four rows; a third of each row's tokens, by turns, are not learned."""
    set_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapter = LoraConfig(r=4, target_modules="all-linear", init_lora_weights="gaussian")
    dice = torch.Generator().manual_seed(2)
    ids = [torch.randint(5, 200, (length,), generator=dice).tolist() for length in LENGTHS]
    labels = [
        [-100 if place == 0 or place % 3 == row % 3 else token for place, token in enumerate(one)]
        for row, one in enumerate(ids)
    ]
    arguments = SFTConfig(
        output_dir=str(output),
        padding_free=padding_free,
        per_device_train_batch_size=ROWS_OF_A_STEP if padding_free else 2,
        gradient_accumulation_steps=1 if padding_free else ROWS_OF_A_STEP // 2,
        max_length=None,
        num_train_epochs=1,
        learning_rate=1e-2,
        logging_steps=1,
        gradient_checkpointing=False,
        use_cpu=True,
        bf16=False,
        seed=3,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return kind(
        model=get_peft_model(model, adapter),
        args=arguments,
        train_dataset=Dataset.from_dict({"input_ids": ids, "labels": labels}),
        processing_class=tokenizer,
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
