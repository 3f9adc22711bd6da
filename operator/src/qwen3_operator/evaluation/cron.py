"""When a schedule falls due. Pure.

cronsim mimics Debian's cron, as CronJobs nearly do: at a change of the clock, what has a fixed hour
runs once; what repeats every few minutes runs by elapsed time.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from qwen3_api.v1alpha1.schedule import EvalSchedule

WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class CronError(ValueError):
    """The schedule can't be followed; the message names the field and the fix."""


class Cron:
    """A schedule, read."""

    def __init__(self, schedule: EvalSchedule) -> None:
        """Raises CronError: the zone or a field of cron doesn't exist, or the time never comes."""
        name = schedule.time_zone or "UTC"
        try:
            # A folder of the database, or a name with dots, is no zone either.
            self._zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, OSError, ValueError) as error:
            raise CronError(
                f"spec.schedule.timeZone: unknown time zone {name}; "
                "use an IANA name such as Europe/Berlin"
            ) from error
        self._cron = WORDS.get(schedule.cron, schedule.cron)
        try:
            next(CronSim(self._cron, datetime(2024, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise CronError(
                f"spec.schedule.cron: {str(error).lower()} in {self._cron!r}"
            ) from error
        except StopIteration as error:
            raise CronError(f"spec.schedule.cron: {self._cron!r} never occurs") from error

    def following(self, now: datetime) -> datetime | None:
        """The first time after now; None if none comes in 50 years."""
        # When clocks are set back, cronsim names an hour's first pass even in its second.
        times = CronSim(self._cron, now.astimezone(self._zone))
        return next((t for t in (t.astimezone(UTC) for t in times) if t > now), None)

    def latest(self, now: datetime) -> datetime | None:
        """The last time that is not after now."""
        start = now.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        times = CronSim(self._cron, start.astimezone(self._zone), reverse=True)
        return next((t for t in (t.astimezone(UTC) for t in times) if t <= now), None)
