"""What only describes a run: it may be missing, and never costs the run."""

import logging
from collections.abc import Callable
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


def extra(what: str, make: Callable[[], T], otherwise: T) -> T:
    """The result of `make`, or `otherwise` and a warning with the traceback when it fails.

    For what stands between a finished training and its commit, or after it: hours of a GPU outweigh
    any description of them. SIGTERM (Interrupted) passes.
    """
    try:
        return make()
    except Exception:
        log.warning("%s failed; the run continues without it", what, exc_info=True)
        return otherwise
