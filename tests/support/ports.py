"""Ports for servers of a test: neighbouring, unused, and no other worker's."""

import os
import socket

FIRST, LAST = 20_000, 32_000
"""Below what the kernel gives to clients (32768 and up)."""
WORKERS = 4
SPAN = (LAST - FIRST) // WORKERS


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nobody uses.

    Workers of pytest-xdist have ranges of their own; sessions beside each other begin at different
    places.

    Raises:
        RuntimeError: there are none.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    begin, end = FIRST + worker * SPAN, FIRST + (worker + 1) * SPAN
    start = os.getpid() * 16 % SPAN
    for first in (*range(begin + start, end - count, count), *range(begin, begin + start, count)):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"no {count} free neighbouring ports between {begin} and {end}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104
        except OSError:
            return False
    return True
