"""Links between pages: every relative link names a file, every anchor a heading of it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "helm/**/*.md", "*/README.md")
    for path in ROOT.glob(pattern)
    if not path.relative_to(ROOT).parts[0].startswith(".")
)
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^()\s]+)\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)


def prose(path: Path) -> str:
    """The page without its code."""
    return CODE.sub("", FENCE.sub("", path.read_text(encoding="utf-8")))


def links(path: Path) -> Iterator[str]:
    """Targets of links that stay in the repository."""
    for match in LINK.finditer(prose(path)):
        target = match[1] or match[2]
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them: lower case, no punctuation, dashes for
    spaces, and a number for a heading that repeats."""
    found: set[str] = set()
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for heading in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        unique, repeat = anchor, 0
        while unique in found:
            repeat += 1
            unique = f"{anchor}-{repeat}"
        found.add(unique)
    return found


def broken_links(path: Path) -> list[str]:
    broken: list[str] = []
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    assert broken_links(ROOT / page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `code` heading, twice\n## Same\n## Same\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md) [b](other.md#a-code-heading-twice) [c](other.md#same-1) [d](#here)\n"
        "`[code](nowhere)` [web](https://example.com/x#y)\n```\n[fence](nowhere)\n```\n"
        "[e](gone.md) [f](other.md#same-2) [g](#there)\n[h]: gone-too.md\n"
    )
    assert broken_links(page) == ["gone.md", "other.md#same-2", "#there", "gone-too.md"]
