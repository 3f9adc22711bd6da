"""How long each step took: printed while it runs, kept for the table at the end of a demo."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qwen3_local.layout import Home


@dataclass(frozen=True)
class Timing:
    """One finished step; `seconds` is wall-clock time."""

    step: str
    seconds: float
    ok: bool


def say(text: str) -> None:
    """A line for the person who watches; results of commands go to stdout, this to stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(home: Home, name: str) -> Iterator[None]:
    """Print what begins and how long it took, and remember the time under `name`.

    A step that raises is remembered as failed and the exception goes on.
    """
    say(f"  ... {name}")
    start = time.monotonic()
    ok = False
    try:
        yield
        ok = True
    finally:
        seconds = time.monotonic() - start
        say(f"  {'ok ' if ok else 'ERR'} {name}: {seconds:.1f} s")
        record(home.timings_file, Timing(name, round(seconds, 2), ok))


def record(path: Path, timing: Timing) -> None:
    """Append to the file; a later run of the same step replaces the earlier figure."""
    kept = [entry for entry in read_timings(path) if entry.step != timing.step]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [entry.__dict__ for entry in [*kept, timing]]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(rows, indent=1))
    temporary.replace(path)


def read_timings(path: Path) -> list[Timing]:
    """The recorded steps in the order of their last run; none if nothing ran yet."""
    if not path.exists():
        return []
    return [Timing(**row) for row in json.loads(path.read_text())]


def render_table(timings: list[Timing]) -> str:
    """A fixed-width table, the last line being the sum."""
    width = max([len(entry.step) for entry in timings], default=5)
    lines = [f"{entry.step:<{width}}  {entry.seconds:>8.1f} s" for entry in timings]
    total = sum(entry.seconds for entry in timings)
    return "\n".join([*lines, f"{'total':<{width}}  {total:>8.1f} s"])
