"""Counts tokens with transformers and TRL's template alone. Runs in the ML environment:

    python length_probe.py FOLDER_OF_A_TOKENIZER < rows.jsonl

A row has `dialogues`, lists of messages. Prints, per row, the token counts of its dialogues and
where the first token with loss of the assistant stands in each.
"""

import json
import sys
from pathlib import Path

import trl
from transformers import AutoTokenizer


def main(folder: str) -> None:
    """Prints one JSON document."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    template = Path(trl.__file__).parent / "chat_templates" / "qwen3_training.jinja"
    counted = []
    for line in sys.stdin:
        tokens = [
            tokenizer.apply_chat_template(
                messages,
                chat_template=template.read_text(encoding="utf-8"),
                return_dict=True,
                return_assistant_tokens_mask=True,
            )
            for messages in json.loads(line)["dialogues"]
        ]
        counted.append([[len(t["input_ids"]), t["assistant_masks"].index(1)] for t in tokens])
    print(json.dumps(counted))


if __name__ == "__main__":
    main(sys.argv[1])
