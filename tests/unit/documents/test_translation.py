"""README.zh-CN.md has the structure of README.md: headings, tables, code, lists and links."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SWITCH = {"README.zh-CN.md": "README.md"}
"""The link to the other language, as in the original."""


@dataclass(frozen=True)
class Structure:
    """What a translation has in common with its original."""

    headings: list[int]
    """Levels, in order."""
    blocks: list[str]
    """Code blocks, byte for byte."""
    rows: list[tuple[int, frozenset[str]]]
    """Columns and code of each row of a table."""
    items: list[int]
    """Number of list items per section."""
    sections: list[tuple[frozenset[str], frozenset[str]]]
    """Inline code and links per section; word order is the language's own."""


def structure(text: str) -> Structure:
    prose = FENCE.sub("", text)
    sections = re.split(r"^#+ .+$", prose, flags=re.MULTILINE)
    rows = [line for line in prose.splitlines() if line.startswith("|")]
    return Structure(
        headings=[len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)],
        blocks=FENCE.findall(text),
        rows=[(row.count("|"), code(row)) for row in rows],
        items=[len(re.findall(r"^- ", section, re.MULTILINE)) for section in sections],
        sections=[(code(section), links(section)) for section in sections],
    )


def code(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"`[^`]+`", text))


def links(text: str) -> frozenset[str]:
    found = re.findall(r"\]\(([^()\s]+)\)|^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    targets = {target or reference for target, reference in found}
    return frozenset(SWITCH.get(target, target) for target in targets)


ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_chinese_readme_is_complete() -> None:
    assert structure((ROOT / "README.zh-CN.md").read_text(encoding="utf-8")) == structure(ENGLISH)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n## Limits\n", "\n### Limits\n"),
        ("\n## Limits\n", "\n"),
        ("make demo\n```", "make  demo\n```"),
        ("| `Trained` | ", "| `Trained` | | "),
        ("| `Trained` | a result of this revision is committed |\n", ""),
        ("| `Trained` |", "| `Train` |"),
        ("[Failure modes](docs/explanation/failures.md)", "Failure modes"),
        ("`serving.maxLoraRank`", "`serving.maxRank`"),
        ("- Exports: no GGUF", "  Exports: no GGUF"),
        ("https://github.com/vllm-project/vllm", "https://example.com"),
    ],
)
def test_a_difference_is_found(old: str, new: str) -> None:
    assert old in ENGLISH
    assert structure(ENGLISH.replace(old, new)) != structure(ENGLISH)
