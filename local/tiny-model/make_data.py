"""Writes the task's data files; they are committed and a test compares them with this script.

python make_data.py EXAMPLES_DIR      e.g. ../../examples
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tiny_qwen3.tickets import build_task_data


def render_files() -> dict[str, str]:
    """Path below the examples folder to the file's text."""
    data = build_task_data()
    return {
        "01-quickstart/data/train.jsonl": _to_jsonl(row.to_messages() for row in data.train),
        "01-quickstart/data/validation.jsonl": _to_jsonl(
            row.to_messages() for row in data.validation
        ),
        "01-quickstart/data/heldout.jsonl": _to_jsonl(row.to_question() for row in data.held_out),
        "04-alpaca/data/train.jsonl": _to_jsonl(row.to_alpaca() for row in data.train),
    }


def _to_jsonl(rows: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("examples", type=Path)
    examples: Path = parser.parse_args().examples
    for name, text in render_files().items():
        path = examples / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"{path}: {text.count(chr(10))} rows, {len(text.encode()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
