"""Numbers that pods of tenants wrote, as status takes them: bounded, whatever was written. Pure.

The API server refuses a whole status over one number that is too large or one text that is too
long, and then it would never change again.
"""

import math

LARGEST = 2**53
"""Beyond it, JSON readers round."""
PLAIN_LIMIT = 1e12


def decimal(value: float | None, digits: int, *, sign: bool = False) -> str | None:
    """0.5124 -> "0.51"; large ones with an exponent; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    plus = "+" if sign else ""
    return f"{value:{plus}.{digits}f}" if abs(value) < PLAIN_LIMIT else f"{value:{plus}.{digits}e}"


def count(value: int) -> int:
    """Cut to 0 .. LARGEST."""
    return max(0, min(value, LARGEST))


def count_or_none(value: int | None) -> int | None:
    """The same for a count that may be unknown."""
    return None if value is None else count(value)
