"""How far the structure is: one table of counts over the source, each with a ceiling.

    python tools/house.py            # the table
    python tools/house.py --check    # fail if a count rose above its ceiling

A count may only fall: who lowers one lowers its ceiling in `MEASURES`, too. The reasons are in
docs/adr/0049-house-measures.md. Only hand-written Python counts: no generated files, no tests.
"""

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
OPERATOR = ("operator/src",)
PURE = ("crds/src", "sizing/src")
PROGRAMS = ("operator/src", "trainer-image/src", "server-image/src", "evaluator-image/src")
SOURCES = (*PROGRAMS, *PURE)
S3_LIBRARIES = {"obstore", "boto3", "botocore", "aiobotocore"}
PRIVATE_WORDS = re.compile(
    r"\b(shall|told|tells|can't tell|mend(ed|s)?|begun|learnt|goes on|go on|is away|are away"
    r"|a person|by itself|ended without a word|sign of life|talks nonsense)\b",
    re.IGNORECASE,
)
"""Words that users of Kubernetes, PEFT, TRL and vLLM don't know in this sense."""


@dataclass(frozen=True)
class Measure:
    """One row. ceiling: today's count; goal: where it has to be."""

    what: str
    count: Callable[[], int]
    ceiling: int
    goal: int


def modules(folders: Iterable[str]) -> Iterator[tuple[Path, ast.Module]]:
    """Every module below the folders, parsed."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def count_calls(name: str) -> int:
    """Calls of a function in the operator, by its last name."""
    return sum(
        called_name(node) == name
        for _, tree in modules(OPERATOR)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    )


def called_name(call: ast.Call) -> str:
    """`f` of `f(…)` and of `x.f(…)`."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def count_none_specs() -> int:
    """Comparisons of a `spec` with None: each decides once more what an unreadable object is."""
    return sum(
        isinstance(node.left, ast.Name | ast.Attribute)
        and ast.unparse(node.left).rpartition(".")[2] == "spec"
        and any(isinstance(c, ast.Constant) and c.value is None for c in node.comparators)
        for _, tree in modules(OPERATOR)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
    )


def count_ready_writes() -> int:
    """Places that set the condition Ready."""
    return sum(
        called_name(node) == "set" and ast.unparse(node.args[0]) == "ConditionType.READY"
        for _, tree in modules(OPERATOR)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args
    )


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of what a module imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def count_s3_modules() -> int:
    """Modules that import a client of S3."""
    return sum(bool(imported(tree) & S3_LIBRARIES) for _, tree in modules(SOURCES))


def count_s3_libraries() -> int:
    """Clients of S3 that are imported somewhere; botocore is a part of its callers."""
    used = {name for _, tree in modules(SOURCES) for name in imported(tree) & S3_LIBRARIES}
    return len(used - {"botocore"})


def count_classes(pattern: str, folders: Iterable[str] = SOURCES) -> int:
    """Classes whose name matches."""
    return sum(
        re.fullmatch(pattern, node.name) is not None
        for _, tree in modules(folders)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )


def count_subclasses(base: str) -> int:
    """Classes with this base, as it is written."""
    return sum(
        base in (ast.unparse(b) for b in node.bases)
        for _, tree in modules(SOURCES)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )


def count_files_naming(*texts: str) -> int:
    """Source files that name one member of a vocabulary: what a further one would touch."""
    return sum(
        any(text in path.read_text(encoding="utf-8") for text in texts)
        for path, _ in modules(SOURCES)
    )


def count_private_words() -> int:
    """Private words in messages: string constants that are no docstrings."""
    return sum(
        len(PRIVATE_WORDS.findall(text)) for _, tree in modules(SOURCES) for text in strings(tree)
    )


def count_private_words_in_pages() -> int:
    """Private words in README and pages; decisions keep the words of their day."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    pages += [p for p in sorted((ROOT / "docs").rglob("*.md")) if "adr" not in p.parts]
    return sum(len(PRIVATE_WORDS.findall(page.read_text(encoding="utf-8"))) for page in pages)


def strings(tree: ast.Module) -> Iterator[str]:
    """String constants of a module that aren't statements by themselves (docstrings)."""
    bare = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.value


def count_termination_writers() -> int:
    """Functions that write a termination message."""
    return sum(
        isinstance(node, ast.FunctionDef) and node.name == "write_termination"
        for _, tree in modules(SOURCES)
        for node in ast.walk(tree)
    ) + sum(
        "termination_log.write_bytes" in path.read_text(encoding="utf-8")
        for path, _ in modules(SOURCES)
    )


FAILURES = (
    "Failure|Problem|FailureStatus|TrainerError|EvaluationError|PodError|StorageProblem|Stalled"
    "|Transient|Waiting"
)
MEASURES = (
    Measure("source files that name the method DPO", lambda: count_files_naming("DPO"), 20, 6),
    Measure(
        "source files that name the metric JudgeWin",
        lambda: count_files_naming("JudgeWin", "JUDGE_WIN"),
        2,
        3,
    ),
    Measure("modules that talk S3", count_s3_modules, 4, 1),
    Measure("S3 libraries", count_s3_libraries, 3, 1),
    Measure("places that set Ready", count_ready_writes, 16, 1),
    Measure("types for a failure", lambda: count_classes(FAILURES), 10, 3),
    Measure("operator: comparisons of spec with None", count_none_specs, 47, 5),
    Measure("operator: calls of resolve_storage", lambda: count_calls("resolve_storage"), 20, 1),
    Measure("operator: calls of spec_hash", lambda: count_calls("spec_hash"), 9, 1),
    Measure("operator: calls of pool_name", lambda: count_calls("pool_name"), 9, 1),
    Measure("log formatters", lambda: count_subclasses("logging.Formatter"), 2, 1),
    Measure("writers of the termination message", count_termination_writers, 1, 1),
    Measure("private words in messages", count_private_words, 0, 0),
    Measure("private words in pages", count_private_words_in_pages, 0, 0),
)  # fmt: skip


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/house.py")
    parser.add_argument("--check", action="store_true", help="fail if a count rose")
    arguments = parser.parse_args()
    rose = []
    print("| measure | now | ceiling | goal |\n|---|---|---|---|")
    for measure in MEASURES:
        now = measure.count()
        print(f"| {measure.what} | {now} | {measure.ceiling} | {measure.goal} |")
        if now > measure.ceiling:
            rose.append(f"{measure.what}: {now}, at most {measure.ceiling} (tools/house.py)")
    if arguments.check and rose:
        print("\n".join(rose), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
