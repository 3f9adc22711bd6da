"""Leader election by a Lease, with a fence for writes.

kopf's peering pauses every replica of equal priority and measures by wall clock, so we bring our
own (docs/adr/0004-leader-election.md). The rules are those of client-go:

- A holder renews every 2 s. Others may take the Lease once they have *themselves* seen it unchanged
  for its 15 s, by their own monotonic clock: no two machines' clocks are ever compared.
- Every write of the Lease carries the resourceVersion that it was decided on, so of two that try
  one gets a 409.
- A holder that couldn't renew for 10 s stops, 5 s before anybody may take over.

    renew starts                 fence closes            others may take over
    ├────────────────────────────┼───────────────────────┤
    0                           10 s                    15 s after they saw it

The fence is a comparison with the clock, made right before each write. It needs no task to run, so
it also holds in a process that was stopped, swapped out or blocked: when that wakes up, its next
write is refused before any code of ours has noticed the pause.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from qwen3_operator.controller.client import ApiServer
from qwen3_operator.controller.errors import Conflict, OperatorError
from qwen3_operator.controller.kind import LEASE, Manifest
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.metrics import LEADER

LEASE_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0
REQUEST_SECONDS = 4.0
"""Less than half the renew deadline, so that one hanging request leaves time for another."""
RELEASE_TRIES = 3

logger = get_logger(__name__)


class LeaseLostError(Exception):
    """This process may no longer write and has to exit."""


def boot_clock() -> float:
    """Seconds of a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class LeaseRef:
    """The Lease, and who we are in it."""

    namespace: str
    name: str
    identity: str
    """Unique to this process: a restarted one must not take itself for its predecessor."""


class Elector:
    """One candidate. `acquire`, then `hold` until it raises or is cancelled, then `release`."""

    def __init__(
        self, api: ApiServer, ref: LeaseRef, *, clock: Callable[[], float] = boot_clock
    ) -> None:
        self._api = api
        self._ref = ref
        self._clock = clock
        self._renewed_at: float | None = None
        # From before a write of the Lease is sent: its answer may get lost.
        self._may_hold = False
        # The last different state of the Lease that we saw, and when by our clock.
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._seen_for = float(LEASE_SECONDS)

    def fence(self) -> bool:
        """True while a write may be sent."""
        renewed_at = self._renewed_at
        return renewed_at is not None and self._clock() < renewed_at + RENEW_DEADLINE_SECONDS

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        logger.info("waiting for the lease", extra={"identity": self._ref.identity})
        while not await self._attempt():
            # Not later than the moment it runs out, to keep the takeover short.
            expires_in = self._seen_at + self._seen_for - self._clock()
            delay = min(RETRY_SECONDS, max(0.1, expires_in)) if expires_in > 0 else RETRY_SECONDS
            await asyncio.sleep(delay * random.uniform(0.8, 1.0))  # noqa: S311  spread, not secret
        LEADER.set(1)
        logger.info("lease acquired", extra={"identity": self._ref.identity})

    async def hold(self) -> None:
        """Renew until that is no longer possible.

        Raises:
            LeaseLostError: always, at the latest when the fence closes.
        """
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if not self.fence():
                break
            if not await self._attempt() and self._renewed_at is None:
                break
        self._may_hold, self._renewed_at = False, None
        LEADER.set(0)
        raise LeaseLostError(f"{self._ref.identity} lost {self._ref.namespace}/{self._ref.name}")

    async def release(self) -> None:
        """Give the Lease back, so that another one needn't wait for it to run out.

        To be called when nothing writes any more and `hold` has ended. The fence is closed before
        anything is sent. Does nothing if the Lease isn't ours.
        """
        if not self._may_hold:
            return
        self._may_hold, self._renewed_at = False, None
        LEADER.set(0)
        for _ in range(RELEASE_TRIES):
            try:
                await self._release()
                return
            except Conflict:
                # Our own last renewal, which was cancelled on its way, got there first.
                continue
            except OperatorError as error:
                logger.warning("lease not released, it will expire", extra={"error": str(error)})
                return

    async def _release(self) -> None:
        lease = await self._get()
        if lease is None or lease["spec"].get("holderIdentity") != self._ref.identity:
            return
        lease["spec"]["holderIdentity"] = ""
        # One second, as client-go writes it: zero isn't valid.
        lease["spec"]["leaseDurationSeconds"] = 1
        lease["spec"]["renewTime"] = _micro_time()
        await self._put(lease)
        logger.info("lease released")

    async def _attempt(self) -> bool:
        """Try once to take or renew the Lease; True if it is ours now."""
        # Before the request: others count from when they see it, which is later.
        started = self._clock()
        try:
            lease = await self._get()
            if lease is None:
                self._may_hold = True
                await self._create()
            elif self._may_take(lease):
                self._may_hold = True
                await self._take(lease)
            else:
                self._may_hold, self._renewed_at = False, None
                return False
        except Conflict:
            # Another one wrote since our read. The next attempt shows who.
            return False
        except OperatorError as error:
            logger.warning("lease not renewed", extra={"error": str(error)})
            return False
        self._renewed_at = started
        return True

    def _may_take(self, lease: Manifest) -> bool:
        """Note what the Lease says, and whether it is ours, free or run out."""
        spec = lease["spec"]
        holder = spec.get("holderIdentity") or ""
        state = (holder, str(lease["metadata"]["resourceVersion"]))
        if state != self._seen:
            self._seen, self._seen_at = state, self._clock()
            self._seen_for = float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)
        if holder in {"", self._ref.identity}:
            return True
        return self._clock() >= self._seen_at + self._seen_for

    async def _take(self, lease: Manifest) -> None:
        spec = lease["spec"]
        now = _micro_time()
        if spec.get("holderIdentity") != self._ref.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec["holderIdentity"] = self._ref.identity
        spec["leaseDurationSeconds"] = LEASE_SECONDS
        spec["renewTime"] = now
        await self._put(lease)

    async def _create(self) -> None:
        now = _micro_time()
        lease: Manifest = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": {"namespace": self._ref.namespace, "name": self._ref.name},
            "spec": {
                "holderIdentity": self._ref.identity,
                "leaseDurationSeconds": LEASE_SECONDS,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        created = await self._api.request(
            "create", LEASE, self._ref.namespace, body=lease, seconds=REQUEST_SECONDS
        )
        if created is None:
            raise OperatorError(f"namespace {self._ref.namespace} does not exist")

    async def _get(self) -> Manifest | None:
        return await self._api.request(
            "get", LEASE, self._ref.namespace, self._ref.name, seconds=REQUEST_SECONDS
        )

    async def _put(self, lease: Manifest) -> None:
        """Replace the Lease as it was read: its resourceVersion is the precondition."""
        replaced = await self._api.request(
            "update",
            LEASE,
            self._ref.namespace,
            self._ref.name,
            body=lease,
            seconds=REQUEST_SECONDS,
        )
        if replaced is None:
            raise Conflict("NotFound", "the lease was deleted between read and write")


def _micro_time() -> str:
    """Now as a Kubernetes MicroTime; for people to read, never compared with a clock."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
