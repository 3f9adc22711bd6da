"""Waiting on a condition with a deadline: the only way a test here lets time pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DeadlineError(AssertionError):
    """The condition didn't come true in time; the message shows the last value seen."""


def wait_for(
    read: Callable[[], T],
    until: Callable[[T], bool],
    what: str,
    seconds: float = 120.0,
    pause: float = 0.5,
) -> T:
    """Read until the condition holds and return the value that met it.

    Raises:
        DeadlineError: after `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        value = read()
        if until(value):
            return value
        if time.monotonic() > end:
            raise DeadlineError(f"{what}: not so after {seconds:.0f} s; last seen: {shown(value)}")
        time.sleep(pause)


def shown(value: object) -> str:
    """What a failed wait prints: of a resource its status, the rest is known."""
    if isinstance(value, dict) and "metadata" in value:
        value = value.get("status", "no status")
    return str(value)[:2500]


def hold_for(
    read: Callable[[], T], holds: Callable[[T], bool], what: str, seconds: float, pause: float = 0.3
) -> None:
    """Check again and again for a while that something stays true.

    Raises:
        AssertionError: at the first value that breaks it.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = read()
        assert holds(value), f"{what}: broken by {shown(value)}"
        time.sleep(pause)
