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

import words

ROOT = Path(__file__).parent.parent
OPERATOR = ("operator/src",)
PURE = ("crds/src", "sizing/src")
PROGRAMS = ("operator/src", "trainer-image/src", "server-image/src", "evaluator-image/src")
SOURCES = (*PROGRAMS, *PURE)
S3_LIBRARIES = {"obstore", "boto3", "botocore", "aiobotocore"}


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


SUMMED_UP = {f"ConditionType.{name}" for name in ("READY", "RECONCILING", "STALLED", "DEGRADED")}


def count_summary_writers() -> int:
    """Modules that set or remove a condition of those that sum the others up."""
    return sum(
        any(
            called_name(node) in {"set", "drop"} and ast.unparse(node.args[0]) in SUMMED_UP
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and node.args
        )
        for _, tree in modules(OPERATOR)
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
    named = re.compile(rf"(?<![A-Z])({'|'.join(texts)})")  # ENDPOINT isn't DPO
    return sum(
        named.search(path.read_text(encoding="utf-8")) is not None for path, _ in modules(SOURCES)
    )


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
    "Failure|Problem|FailureStatus|FailureError|TrainerError|EvaluationError|PodError|OperatorError"
    "|StorageProblem|Stalled|Transient|Waiting"
)
MEASURES = (
    Measure("source files that name the method DPO", lambda: count_files_naming("DPO"), 6, 6),
    Measure(
        "source files that name the metric JudgeWin",
        lambda: count_files_naming("JudgeWin", "JUDGE_WIN"),
        2,
        3,
    ),
    Measure("modules that talk S3", count_s3_modules, 4, 1),
    Measure("S3 libraries", count_s3_libraries, 3, 1),
    Measure("modules that set Ready, Reconciling, Stalled, Degraded", count_summary_writers, 1, 1),
    Measure("types for a failure", lambda: count_classes(FAILURES), 8, 3),
    Measure("operator: comparisons of spec with None", count_none_specs, 3, 5),
    Measure("operator: calls of resolve_storage", lambda: count_calls("resolve_storage"), 1, 1),
    Measure("operator: calls of spec_hash", lambda: count_calls("spec_hash"), 1, 1),
    Measure("operator: calls of pool_name", lambda: count_calls("pool_name"), 1, 1),
    Measure("log formatters", lambda: count_subclasses("logging.Formatter"), 2, 1),
    Measure("writers of the termination message", count_termination_writers, 1, 1),
    Measure("private words in messages", lambda: len(words.find_in_messages()), 23, 0),
    Measure("private words in pages", lambda: len(words.find_in_pages()), 0, 0),
    Measure("private words in docstrings", lambda: len(words.find_in_docstrings()), 476, 0),
    Measure(
        "docstrings that start with What, Of, How or Where",
        lambda: len(words.find_questions()), 437, 0,
    ),
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
