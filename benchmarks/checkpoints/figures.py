"""The windows of a run and what they say. Pure."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from statistics import fmean, median
from typing import Any

RESAMPLES = 4000
GOAL_PERCENT = 2.0


@dataclass
class Window:
    """The steps after one checkpoint."""

    uploads: bool
    """The checkpoint at its beginning goes to the bucket meanwhile."""
    saving_seconds: float
    """How long the loop stood still for the checkpoint to be written to the disk."""
    steps: list[float] = field(default_factory=list)
    """Seconds of each step."""
    upload_seconds: float = 0.0
    size: int = 0
    """Bytes of the checkpoint; 0 if it wasn't uploaded."""

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return sum(self.steps)

    @property
    def touched(self) -> int:
        """How many steps the upload can have slowed: those that began before its end, and one."""
        begun = accumulate(self.steps, initial=0.0)
        beside = sum(seconds < self.upload_seconds for seconds in begun)
        return min(beside + 1, len(self.steps))

    def to_json(self) -> dict[str, Any]:
        """As `Window(**…)` takes it back."""
        return asdict(self)


def draw_arms(pairs: int, seed: int) -> list[bool]:
    """Which windows upload: one of each two, by chance."""
    dice = random.Random(seed)  # noqa: S311
    return [arm for _ in range(pairs) for arm in dice.choice(((True, False), (False, True)))]


def pair_up(windows: Sequence[Window]) -> list[tuple[Window, Window]]:
    """(with, without) of the windows that followed each other. An odd one at the end is left out.

    Raises ValueError: both of a pair are of one kind or of different lengths, or an upload went on
    into the next window.
    """
    pairs = []
    for first, second in zip(windows[::2], windows[1::2], strict=False):
        if first.uploads == second.uploads or len(first.steps) != len(second.steps):
            raise ValueError("two windows that can't be compared")
        if max(first.upload_seconds - first.seconds, second.upload_seconds - second.seconds) > 0:
            raise ValueError("an upload took longer than a window: give it more steps")
        pairs.append((first, second) if first.uploads else (second, first))
    return pairs


def slowdown(pairs: Sequence[tuple[Window, Window]]) -> float:
    """By how many percent the windows with upload take longer.

    Only the steps that an upload can touch are compared, with those at the same place after a
    checkpoint that isn't uploaded: the others differ by chance alone, which is the most of it.
    """
    more = sum(
        sum(beside.steps[: beside.touched]) - sum(alone.steps[: beside.touched])
        for beside, alone in pairs
    )
    return 100 * more / sum(alone.seconds for _, alone in pairs)


def interval(pairs: Sequence[tuple[Window, Window]], seed: int = 0) -> tuple[float, float]:
    """95 % interval of `slowdown`: percentile bootstrap over the pairs (Efron 1979)."""
    dice = random.Random(seed)  # noqa: S311
    found = sorted(slowdown(dice.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    return found[round(0.025 * RESAMPLES)], found[round(0.975 * RESAMPLES) - 1]


def table(windows: Sequence[Window]) -> str:
    """Markdown."""
    pairs = pair_up(windows)
    beside, alone = ([pair[side] for pair in pairs] for side in (0, 1))
    size, upload = (fmean(getattr(w, name) for w in beside) for name in ("size", "upload_seconds"))
    low, high = interval(pairs)
    slower = slowdown(pairs)
    saving = fmean(w.saving_seconds for w in windows)
    rows = [
        "| | windows | steps | median step, ms | mean step, ms |",
        "|---|---|---|---|---|",
        *(_row(name, side) for name, side in (("with upload", beside), ("without", alone))),
        "",
        f"The upload costs {slower:+.2f} % of the time (95 % interval {low:+.2f} to {high:+.2f}; "
        f"goal: {GOAL_PERCENT:.0f} %), by the {fmean(w.touched for w in beside):.1f} steps of a "
        f"window that it can touch. It runs {_share(beside):.2f} % of the time: if the training "
        "stood still meanwhile, it would cost that.",
        f"A checkpoint has {size / 1e6:.1f} MB and takes {upload:.2f} s to upload, of the "
        f"{fmean(w.seconds for w in beside):.1f} s until the next one; training stands still for "
        f"{1e3 * saving:.0f} ms while it is written to the disk, which is in neither figure.",
    ]
    return "\n".join(rows)


def _share(side: Sequence[Window]) -> float:
    return 100 * sum(w.upload_seconds for w in side) / sum(w.seconds for w in side)


def _row(name: str, side: Sequence[Window]) -> str:
    steps = [step for window in side for step in window.steps]
    return (
        f"| {name} | {len(side)} | {len(steps):,} | {1e3 * median(steps):.1f} "
        f"| {1e3 * fmean(steps):.1f} |"
    )


def read(text: str) -> list[Window]:
    """Windows as JSON lines."""
    return [Window(**json.loads(line)) for line in text.splitlines()]
