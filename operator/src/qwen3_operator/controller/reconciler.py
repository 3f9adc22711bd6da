"""From what a reconcile returned or raised to when its key is looked at again."""

import asyncio
import hashlib
import random
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from qwen3_operator.controller.errors import NotLeader, Stalled, Transient, Waiting
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.logs import get_logger, log_fields
from qwen3_operator.controller.metrics import RECONCILE_SECONDS, RECONCILES

RECONCILE_LIMIT_SECONDS = 120.0
"""Longer means that something in it lacks a deadline of its own; it would hold its worker."""
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LIMIT_SECONDS = 300.0

logger = get_logger(__name__)


@dataclass(frozen=True)
class Result:
    """A reconcile came to its end.

    requeue_after: seconds until the next look; None: at the next event or resync.
    """

    requeue_after: float | None = None


Reconcile = Callable[[Key], Awaitable[Result]]


@dataclass(frozen=True)
class Verdict:
    """What the queue does with a key after its reconcile.

    outcome: done, waiting, stalled, transient, fenced or crashed; a metric label.
    failed: it counts towards the key's backoff, which is then the least delay.
    after: seconds until the next look; None: none is planned.
    """

    outcome: str
    failed: bool
    after: float | None


async def run_reconcile(reconcile: Reconcile, key: Key) -> Verdict:
    """Run one reconcile to its verdict; only cancellation gets out as an exception."""
    started = time.perf_counter()
    with log_fields(object=key.kind, namespace=key.namespace, name=key.name):
        verdict = await _judge(reconcile, key)
    RECONCILE_SECONDS.labels(key.kind).observe(time.perf_counter() - started)
    RECONCILES.labels(key.kind, verdict.outcome).inc()
    return verdict


async def _judge(reconcile: Reconcile, key: Key) -> Verdict:
    try:
        async with asyncio.timeout(RECONCILE_LIMIT_SECONDS):
            result = await reconcile(key)
    except Waiting as waiting:
        logger.debug("waiting", extra={"reason": waiting.reason, "delay": waiting.delay})
        return Verdict("waiting", failed=False, after=waiting.delay)
    except Stalled as stalled:
        logger.warning("stalled", extra={"reason": stalled.reason, "error": str(stalled)})
        return Verdict("stalled", failed=False, after=stalled.recheck)
    except Transient as transient:
        logger.warning("will retry", extra={"reason": transient.reason, "error": str(transient)})
        return Verdict("transient", failed=True, after=transient.retry_after)
    except NotLeader as fenced:
        logger.warning("not the leader", extra={"error": str(fenced)})
        return Verdict("fenced", failed=True, after=None)
    except TimeoutError:
        logger.warning("reconcile took too long", extra={"reason": "ReconcileTimeout"})
        return Verdict("transient", failed=True, after=None)
    except Exception as error:  # one object's bug must not stop the others
        logger.exception("reconcile crashed", extra={"incident": incident_of(key, error)})
        return Verdict("crashed", failed=True, after=None)
    return Verdict("done", failed=False, after=result.requeue_after)


def incident_of(key: Key, error: Exception) -> str:
    """Id of an unexpected failure, eight hex digits: the same at each retry, another for another
    object or another place in the code. It leads from a status to the log."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = [f"{frame.filename}:{frame.lineno}" for frame in last]
    text = "|".join([str(key), type(error).__name__, *where])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Backoff:
    """How long a failing key waits: 1 s, doubled to 5 min, less up to a quarter at random.

    The random part keeps keys that failed together (an outage) from coming back together.
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._failures: dict[Key, int] = {}

    def delay(self, key: Key) -> float:
        """Count one more failure of the key; seconds to wait."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is capped only so that the power can't overflow.
        longest = min(BACKOFF_LIMIT_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 30))
        return longest * self._uniform(0.75, 1.0)

    def forget(self, key: Key) -> None:
        """The key's last reconcile was no failure."""
        self._failures.pop(key, None)
