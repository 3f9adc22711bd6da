"""How long each step took: printed while it runs, kept for the table at the end of a demo."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from qwen3_local.layout import Home
from qwen3_local.locks import exclusive


@dataclass(frozen=True)
class Timing:
    """One finished step; `began` is seconds since the epoch, `seconds` wall-clock time."""

    step: str
    seconds: float
    ok: bool
    began: float


def say(text: str) -> None:
    """A line for the person who watches; results of commands go to stdout, this to stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(home: Home, name: str) -> Iterator[None]:
    """Print what begins and how long it took, and remember the time under `name`.

    A step that raises is remembered as failed and the exception goes on.
    """
    say(f"  ... {name}")
    start, began = time.monotonic(), time.time()
    ok = False
    try:
        yield
        ok = True
    finally:
        seconds = time.monotonic() - start
        say(f"  {'ok ' if ok else 'ERR'} {name}: {seconds:.1f} s")
        record(home.timings_file, Timing(name, round(seconds, 2), ok, round(began, 2)))


def record(path: Path, timing: Timing) -> None:
    """Append to the file; a later run of the same step replaces the earlier figure."""
    with exclusive(path.with_suffix(".lock")):
        kept = [entry for entry in read_timings(path) if entry.step != timing.step]
        rows = [asdict(entry) for entry in [*kept, timing]]
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(rows, indent=1))
        temporary.replace(path)


def read_timings(path: Path) -> list[Timing]:
    """The recorded steps in the order of their last run; none if nothing ran yet."""
    if not path.exists():
        return []
    return [Timing(**row) for row in json.loads(path.read_text())]


def render_table(timings: list[Timing]) -> str:
    """A fixed-width table; the last line is the time in which any step ran."""
    width = max([len(entry.step) for entry in timings], default=5)
    lines = [f"{entry.step:<{width}}  {entry.seconds:>8.1f} s" for entry in timings]
    total = covered_seconds(timings)
    return "\n".join([*lines, f"{'total':<{width}}  {total:>8.1f} s"])


def covered_seconds(timings: list[Timing]) -> float:
    """Length of the union of the steps' times: some run beside or inside others."""
    total, covered_until = 0.0, 0.0
    for entry in sorted(timings, key=lambda timing: timing.began):
        end = entry.began + entry.seconds
        total += max(0.0, end - max(entry.began, covered_until))
        covered_until = max(covered_until, end)
    return total
