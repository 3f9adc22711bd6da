"""Rows that are longer than a configuration takes, so that each is cut to its full length, or of
many lengths."""

import json
from pathlib import Path

from gpu_check.rows import messages_rows

from benchmarks.train.configurations import Configuration

TOKENS_PER_WORD = 1.2


def write_rows(configuration: Configuration, folder: Path) -> Path:
    """A file of rows in the form that the trainer's worker reads.

    As many words as tokens are too many. Equal for configurations that differ in the micro-batch
    only.
    """
    words = (configuration.tokens, configuration.tokens + 100)
    if configuration.shortest is not None:
        words = (
            round(configuration.shortest / TOKENS_PER_WORD),
            round(configuration.tokens / TOKENS_PER_WORD),
        )
    path = folder / f"{configuration.method}-{configuration.rows}x{configuration.lengths}.jsonl"
    if configuration.method == "SFT":
        path.write_bytes(messages_rows(configuration.rows, words, seed=1))
        return path
    chosen, rejected = (
        [
            json.loads(line)["messages"]
            for line in messages_rows(configuration.rows, words, seed=s).splitlines()
        ]
        for s in (1, 2)
    )
    with path.open("w", encoding="utf-8") as file:
        for better, worse in zip(chosen, rejected, strict=True):
            row = {"prompt": better[:-1], "chosen": better[-1:], "rejected": worse[-1:]}
            file.write(json.dumps(row) + "\n")
    return path
