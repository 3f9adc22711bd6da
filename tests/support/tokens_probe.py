"""Renders rows with the trainer's tokenisation. Runs in the ML environment:

    python tokens_probe.py FOLDER_OF_A_TOKENIZER OUTPUT_FOLDER < rows.json

Prints, for each row, its text and the text that the loss covers, then what cutting does.
"""

import json
import sys
from pathlib import Path

import trl
from transformers import AutoTokenizer

from qwen3_trainer.failures import TrainerError
from qwen3_trainer.worker.tokens import IGNORED, render, tokenize, training_template


def main(folder: str, output: Path) -> None:
    """Prints one JSON document."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = json.load(sys.stdin)
    unknown = training_template(tokenizer)
    rendered = []
    for row in rows:
        both = {}
        for name, assistant_only in (("trained", True), ("trained_without_mask", False)):
            ids, labels = render(row, tokenizer, unknown, assistant_only)
            both[name] = tokenizer.decode([label for label in labels if label != IGNORED])
        rendered.append({"text": tokenizer.decode(ids), "length": len(ids), **both})
    shipped = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"
    tokenizer.chat_template = shipped.read_text(encoding="utf-8")
    known = training_template(tokenizer)
    path = output / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    cuts = {}
    for length in (10_000, rendered[0]["length"], 70, 5):
        try:
            result = tokenize(
                path,
                tokenizer,
                known,
                max_length=length,
                assistant_only=True,
                cache=output / f"cache-{length}",
            )
            longest = max(len(ids) for ids in result.dataset["input_ids"])
            cuts[length] = [len(result.dataset), result.truncated, result.dropped, longest]
        except TrainerError as error:
            cuts[length] = [str(error.reason), error.message]
    print(json.dumps({"rows": rendered, "same": known.text == unknown.text, "cuts": cuts}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
