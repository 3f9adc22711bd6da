"""The word list: private words of this project, and the field's words for them.

    python tools/words.py              # findings in messages and pages, with the better word
    python tools/words.py --docstrings # findings in docstrings, too

`tools/house.py` counts the findings against ceilings, as a part of `make lint`. A word that is
ordinary English in another sense has a pattern with its context: `card` is fine for a model card.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAMS = ("operator/src", "trainer-image/src", "server-image/src", "evaluator-image/src")
SOURCES = (*PROGRAMS, "crds/src", "sizing/src")
"""Packages whose strings are read by users."""
DOCUMENTED = (*SOURCES, "local/src", "benchmarks", "gpu", "helm", "tools", "tests/support")
"""Folders whose docstrings are checked."""
PAGES = (
    "*.md",
    "docs/**/*.md",
    "*/README.md",
    "examples/*/README.md",
    "examples/**/*.yaml",
    "tests/golden/README.md",
    "helm/qwen3-operator/README.md",
    "helm/qwen3-operator/values.yaml",
    "helm/qwen3-operator/templates/NOTES.txt",
)
NOT_PAGES = ("docs/adr/", "CHANGELOG.md", "README.zh-CN.md")
"""Decisions and changes keep the words of their day."""


@dataclass(frozen=True)
class Word:
    """A private word.

    pattern: a regular expression, matched at word boundaries without regard to case.
    use: the field's word.
    """

    pattern: str
    use: str


WORDS = (
    Word(r"shall", "must, should"),
    Word(r"told|tells", "reported, recorded"),
    Word(r"can't tell", "can't decide"),
    Word(r"mend(ed|s)?", "fix"),
    Word(r"begun|began|begins|beginning|(to|will|can|could) begin", "start"),
    Word(r"learnt", "trained; 4-bit base"),
    Word(r"go(es)? on|went on|going on|gone on|serves? on", "continue, resume, stay in service"),
    Word(r"what serves", "the adapter (revision) in service"),
    Word(r"(is|are|was|were|be|been|counts as) away", "is unavailable, is down"),
    Word(r"(is|are|was|were|has|have been) gone", "is deleted, was removed"),
    Word(r"a person|for people|somebody|anybody", "a user"),
    Word(r"(starts?|continues?|resumes?|never|retried|again) by itself", "automatically"),
    Word(r"by themselves", "automatically"),
    Word(r"without a word", "silently; without a termination message"),
    Word(r"sign of life", "heartbeat"),
    Word(r"silence", "overdue, no heartbeat"),
    Word(r"talks? nonsense", "invalid response"),
    Word(r"last words|its words|their words", "the end of its log; quotes its error"),
    Word(r"guests?", "adapter under evaluation"),
    Word(r"foreign", "external; owned by another object"),
    Word(r"(is|are|was|were|be|been|run|stays?) parked", "suspended by the operator"),
    Word(r"heaviest", "longest rows"),
    Word(
        r"order's|whole order|order file|(of|in|from|by|as in) the order(?! (of|in|that|as|they))",
        "job spec",
    ),
    Word(r"as ordered", "as in the job spec"),
    Word(r"a fit|the fit|fits (it|the run|a run) to", "sized run"),
    Word(
        r"(fits?|fills?|(planned|sized) for|into|on|of|for|another|each|every|common|per|several)"
        r" (the |a |an |one |this |that |its |free )?cards?(?!'s (license|front))",
        "GPU",
    ),
    Word(r"the cards? (can|can't|holds?|has|have|needs?|is the limit|memory)", "GPU"),
    Word(
        r"asked (for|again|about|without|with|by|on|under|at|to|before|the|of)",
        "requested, evaluated, queried",
    ),
    Word(r"(is|are|was|were|be|been|being|gets) asked(?! in)", "evaluated, queried, requested"),
    Word(
        r"(status|spec|plan|card|header|schema|manifest|commit|config|file|settings?|data|nothing|none|it|that"
        r"|which|name|document|index|report|page|server|endpoint|judge|kernel|store|log) says?",
        "specifies, reports",
    ),
    Word(r"lies|lie|lay|lain", "is stored, is"),
    Word(r"(model's|its|base's|base model's) window", "context length"),
    Word(r"(this|the|each|every|another|new|same|its|next) boots?", "engine instance"),
    Word(r"proves? (it|itself|the|an|each|every|that)|proved by", "smoke test; verify"),
    Word(r"speaks? of|spoken of", "describe"),
    Word(r"for ever|all the same|from time to time", "endlessly; anyway; periodically"),
    Word(r"(made|trains?|trained) again", "recreated; retrain"),
    Word(r"don't fit there|of its own accord", "doesn't fit; automatically"),
    Word(r"is (there|theirs) and", "exists and"),
)  # fmt: skip

_PATTERN = re.compile(
    "|".join(
        rf"(?P<w{i}>\b(?:{word.pattern})\b)".replace(" ", r"\s+") for i, word in enumerate(WORDS)
    ),
    re.IGNORECASE,
)
QUESTION_START = re.compile(r"(What|Of|How|Where)\b")
"""Start of a docstring that describes its thing by a question instead of naming it."""


@dataclass(frozen=True)
class Finding:
    """A private word, with its place."""

    path: str
    line: int
    text: str
    use: str


def find_words(text: str) -> list[tuple[int, str, str]]:
    """Private words of a text: line (from 0), the words, and the better ones. A line break counts
    as a space."""
    return [
        (
            text.count("\n", 0, m.start()),
            " ".join(m[0].split()),
            WORDS[int(str(m.lastgroup)[1:])].use,
        )
        for m in _PATTERN.finditer(text)
    ]


def modules(folders: tuple[str, ...]) -> Iterator[tuple[Path, ast.Module]]:
    """Every module below the folders, parsed."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Docstrings of modules, classes, functions and fields."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value


def strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """String constants that are no docstrings."""
    bare = {id(constant) for constant in docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node


def _findings(path: Path, constants: Iterator[ast.Constant]) -> Iterator[Finding]:
    name = path.relative_to(ROOT).as_posix()
    for constant in constants:
        for line, text, use in find_words(str(constant.value)):
            yield Finding(name, constant.lineno + line, text, use)


def find_in_messages() -> list[Finding]:
    """Private words in strings: messages, hints, events, log lines."""
    return [f for path, tree in modules(SOURCES) for f in _findings(path, strings(tree))]


def find_in_docstrings() -> list[Finding]:
    """Private words in docstrings."""
    return [f for path, tree in modules(DOCUMENTED) for f in _findings(path, docstrings(tree))]


def find_in_pages() -> list[Finding]:
    """Private words in README, pages, examples and the chart's values."""
    paths = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})
    found: list[Finding] = []
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(NOT_PAGES) or name.startswith("."):
            continue
        text = path.read_text(encoding="utf-8")
        found += [Finding(name, 1 + line, word, use) for line, word, use in find_words(text)]
    return found


def find_questions() -> list[Finding]:
    """Docstrings that start with What, Of, How or Where."""
    return [
        Finding(path.relative_to(ROOT).as_posix(), d.lineno, str(d.value).strip()[:60], "the thing")
        for path, tree in modules(DOCUMENTED)
        for d in docstrings(tree)
        if QUESTION_START.match(str(d.value).lstrip())
    ]


def main() -> int:
    """Prints the findings; the exit status is 1 if there are any."""
    parser = argparse.ArgumentParser(prog="tools/words.py")
    parser.add_argument("--docstrings", action="store_true", help="look into docstrings, too")
    found = find_in_messages() + find_in_pages()
    if parser.parse_args().docstrings:
        found += find_in_docstrings() + find_questions()
    for finding in found:
        print(f"{finding.path}:{finding.line}: {finding.text!r}: {finding.use}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
