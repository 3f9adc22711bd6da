"""Renders rows with the trainer's tokenisation. Runs in the ML environment:

    python tokens_probe.py FOLDER_OF_A_TOKENIZER OUTPUT_FOLDER < rows.json

Prints, for each row, its text and the text that the loss covers, then what cutting does. A row with
`chosen` is a preference row: the texts of its parts, by thinking policy.
"""

import json
import sys
from pathlib import Path
from typing import Any

import trl
from transformers import AutoTokenizer

from qwen3_api.pod.failure import FailureError
from qwen3_trainer.data.rows import Row, encode_row
from qwen3_trainer.data.thinking import apply_thinking
from qwen3_trainer.worker.rendering import TrainingTemplate, render_preference
from qwen3_trainer.worker.tokens import (
    IGNORED,
    render,
    tokenize,
    tokenize_preferences,
    training_template,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.rows import to_row


def main(folder: str, output: Path) -> None:
    """Prints one JSON document."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    everything = json.load(sys.stdin)
    rows = [to_row(row) for row in everything if "chosen" not in row]
    pairs = [to_row(row) for row in everything if "chosen" in row]
    unknown = training_template(tokenizer)
    rendered = []
    for row in rows:
        both = {}
        for name, assistant_only in (("trained", True), ("trained_without_mask", False)):
            ids, labels = render(row, tokenizer, unknown, assistant_only)
            both[name] = tokenizer.decode([label for label in labels if label != IGNORED])
        silent, learned = render(
            apply_thinking(row, "Disabled"), tokenizer, unknown, True, thinking="Disabled"
        )
        both["text_disabled"] = tokenizer.decode(silent)
        both["trained_disabled"] = tokenizer.decode([i for i in learned if i != IGNORED])
        rendered.append({"text": tokenizer.decode(ids), "length": len(ids), **both})
    shipped = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"
    tokenizer.chat_template = shipped.read_text(encoding="utf-8")
    known = training_template(tokenizer)
    path = output / "rows.jsonl"
    path.write_bytes(b"".join(encode_row(row) + b"\n" for row in rows))
    cuts: dict[int, list[Any]] = {}
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
        except FailureError as error:
            cuts[length] = [str(error.reason), error.message]
    printed = {"rows": rendered, "same": known.text == unknown.text, "cuts": cuts}
    printed["filled"] = filled(path, tokenizer, known, output)
    print(json.dumps({**printed, **preferences(pairs, tokenizer, known, output)}))


def filled(
    path: Path, tokenizer: Any, template: TrainingTemplate, output: Path
) -> list[dict[str, Any]]:
    """What filling up to multiples of 8 tokens adds to the longest row and the others."""
    length = 100
    plain, full = (
        tokenize(
            path,
            tokenizer,
            template,
            max_length=length,
            assistant_only=True,
            cache=output / f"filled-{multiple}",
            multiple_of=multiple,
        )
        for multiple in (1, 8)
    )
    return [
        {
            "tokens": len(before["input_ids"]),
            "filled": len(after["input_ids"]),
            "longest": full.longest,
            "same": all(
                after[column][: len(before[column])] == before[column]
                for column in ("input_ids", "labels")
            ),
            "added": [
                sorted(set(after[column][len(before[column]) :]))
                for column in ("input_ids", "labels")
            ],
            "padding": tokenizer.pad_token_id,
        }
        for before, after in zip(plain.dataset, full.dataset, strict=True)
    ]


def preferences(
    pairs: list[Row], tokenizer: Any, template: TrainingTemplate, output: Path
) -> dict[str, Any]:
    """The texts of the parts of preference rows, and what cutting does to them."""
    texts: dict[str, Any] = {}
    for policy in ("AsInData", "Disabled"):
        parts = (
            render_preference(apply_thinking(row, policy), tokenizer, template, policy)
            for row in pairs
        )
        texts[policy] = [[tokenizer.decode(ids) for ids in row] for row in parts]
    path = output / "pairs.jsonl"
    path.write_bytes(b"".join(encode_row(row) + b"\n" for row in pairs))
    prompts = [len(render_preference(row, tokenizer, template)[0]) for row in pairs]
    cuts = []
    for length in (10_000, max(prompts), min(prompts) + 8):
        result = tokenize_preferences(
            path,
            tokenizer,
            template,
            max_length=length,
            thinking="AsInData",
            cache=output / f"pairs-{length}",
        )
        longest = max(
            len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
            for row in result.dataset
        )
        cuts.append([len(result.dataset), result.truncated, result.dropped, longest <= length])
    return {"pairs": texts, "pair_cuts": cuts}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
