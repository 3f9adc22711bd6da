"""`python -m qwen3_api generate|check`: writes or compares what is generated from the models.

Run at the root of the repository (or name it with --root). `check` exits 1 and shows what differs.
"""

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

from qwen3_api.generated import COMMAND, render_all

MAX_DIFF_LINES = 12  # of each file: a summary, not the diff itself


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit status is 1 when `check` finds a stale file."""
    parser = argparse.ArgumentParser(prog="python -m qwen3_api", description=__doc__)
    parser.add_argument("command", choices=("generate", "check"))
    parser.add_argument("--root", type=Path, default=Path(), help="root of the repository")
    parsed = parser.parse_args(arguments)
    root: Path = parsed.root
    if not (root / "crds" / "pyproject.toml").is_file():
        parser.error(f"{root.resolve()} isn't the root of the repository: no crds/pyproject.toml")
    return _generate(root) if parsed.command == "generate" else _check(root)


def _generate(root: Path) -> int:
    for path, text in render_all().items():
        target = root / path
        if _read(target) == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    return 0


def _check(root: Path) -> int:
    stale = 0
    for path, text in render_all().items():
        found = _read(root / path)
        if found == text:
            continue
        stale += 1
        print(f"{path}: {'missing' if found is None else 'stale'}")
        for line in _differences(found or "", text):
            print(f"    {line}")
    if stale:
        print(f"{stale} generated files are stale: run `{COMMAND}`")
    return 1 if stale else 0


def _read(path: Path) -> str | None:
    """The file's text; None when there is no such file."""
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _differences(found: str, wanted: str) -> Iterator[str]:
    """The first changed lines, `-` found and `+` wanted, and how many more there are."""
    diff = difflib.unified_diff(found.splitlines(), wanted.splitlines(), lineterm="", n=0)
    changed = [line for line in diff if line[0] in "+-" and line[:3] not in ("+++", "---")]
    yield from changed[:MAX_DIFF_LINES]
    if len(changed) > MAX_DIFF_LINES:
        yield f"… and {len(changed) - MAX_DIFF_LINES} more changed lines"


if __name__ == "__main__":
    sys.exit(main())
