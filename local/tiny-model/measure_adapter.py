"""Fine-tunes the tiny model on the task with Unsloth and TRL, and scores base and adapter.

    python measure_adapter.py --model DIR --seed 1 --seed 2 --seed 3

Run by hand when the world, the recipe or the trainer's versions change; needs the trainer image's
packages. Prints one JSON line per seed: exact match on the held-out questions, greedy, thinking
off.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", tempfile.mkdtemp(prefix="unsloth-"))

import unsloth  # noqa: I001  (must come before trl, transformers and peft)
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from tiny_qwen3.competence import answer
from tiny_qwen3.tickets import INSTRUCTION, Ticket, build_task_data

MAX_LENGTH = 256


def main() -> None:
    arguments = _parse_arguments()
    train, held_out = _read_task(alpaca=arguments.alpaca)
    base, tokenizer = _load(arguments.model, arguments.four_bit)
    base_right = _score(base, tokenizer, held_out)
    base_example = answer(base, tokenizer, held_out[0].question)
    for seed in arguments.seed:
        model, tokenizer = _load(arguments.model, arguments.four_bit)
        model = unsloth.FastLanguageModel.get_peft_model(
            model,
            r=arguments.rank,
            lora_alpha=arguments.alpha,
            random_state=seed,
            use_gradient_checkpointing=False,
        )
        start = time.monotonic()
        loss = _train(model, tokenizer, train, seed, arguments)
        seconds = time.monotonic() - start
        unsloth.FastLanguageModel.for_inference(model)
        right = _score(model, tokenizer, held_out)
        report = {
            "seed": seed,
            "held_out": len(held_out),
            "base_right": base_right.total(),
            "adapter_right": right.total(),
            "adapter_right_by_novelty": right,
            "train_seconds": round(seconds, 1),
            "train_loss": round(loss, 4),
            "question": held_out[0].question,
            "base": base_example,
            "adapter": answer(model, tokenizer, held_out[0].question),
        }
        print(json.dumps(report, ensure_ascii=False), flush=True)
        if arguments.save:
            model.save_pretrained(arguments.save / f"seed-{seed}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seed", type=int, action="append", required=True)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=int, default=32)
    parser.add_argument("--alpaca", action="store_true", help="train on the Alpaca form")
    parser.add_argument("--four-bit", action="store_true", help="QLoRA")
    parser.add_argument("--save", type=Path, help="folder for the adapters")
    return parser.parse_args()


def _load(folder: Path, four_bit: bool = False):  # type: ignore[no-untyped-def]
    return unsloth.FastLanguageModel.from_pretrained(
        str(folder.resolve()),
        max_seq_length=MAX_LENGTH,
        load_in_4bit=four_bit,
        use_exact_model_name=True,
        local_files_only=True,
    )


def _train(model, tokenizer, rows, seed, arguments) -> float:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows),
            args=SFTConfig(
                output_dir=folder,
                max_steps=arguments.steps,
                per_device_train_batch_size=arguments.batch,
                learning_rate=arguments.learning_rate,
                lr_scheduler_type="linear",
                warmup_steps=0.03,
                weight_decay=0.01,
                gradient_checkpointing=False,
                max_length=MAX_LENGTH,
                assistant_only_loss=True,
                seed=seed,
                data_seed=seed,
                logging_steps=10,
                save_strategy="no",
                report_to="none",
            ),
        )
        return float(trainer.train().training_loss)


def _score(model, tokenizer, rows: tuple[Ticket, ...]) -> Counter[str]:  # type: ignore[no-untyped-def]
    return Counter(
        row.novelty for row in rows if answer(model, tokenizer, row.question) == row.answer
    )


def _read_task(*, alpaca: bool) -> tuple[list[dict[str, object]], tuple[Ticket, ...]]:
    """Training rows and held-out tickets; in Alpaca's form as the trainer renders the fields."""
    data = build_task_data()
    if not alpaca:
        return [row.to_messages() for row in data.train], data.held_out
    train, held_out = (
        [
            dataclasses.replace(row, question=f"{INSTRUCTION[row.language]}\n\n{row.question}")
            for row in split
        ]
        for split in (data.train, data.held_out)
    )
    return [row.to_messages() for row in train], tuple(held_out)


if __name__ == "__main__":
    main()
