"""An evaluation that repeats: when, and what came out each time."""

import re
from typing import Annotated, ClassVar

from pydantic import Field

from qwen3_api.v1alpha1.meta import (
    DnsLabel,
    KubeModel,
    ListMap,
    Rule,
    ShortText,
    StatusModel,
    Timestamp,
)

_FIELD = "[0-9A-Za-z*,/#-]+"
CRON_SHAPE = (
    f"^({_FIELD}( +{_FIELD}){{4}}|@(hourly|daily|midnight|weekly|monthly|yearly|annually))$"
)
"""Five fields, or a word for them. Whether the numbers make sense is for the operator to say."""


class EvalSchedule(KubeModel):
    """When an evaluation repeats, in the sense of a CronJob. Two runs are never at once: one that
    falls due while another is going on waits for its end."""

    cron: Annotated[str, Field(min_length=1, max_length=128)]
    """cron: minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly,
    @yearly."""
    time_zone: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", max_length=64)] | None
    ) = None
    """timeZone of cron by its IANA name (Europe/Berlin); default: UTC."""
    starting_deadline_seconds: Annotated[int, Field(ge=10, le=31_536_000)] | None = None
    """startingDeadlineSeconds: a run that is this late is left out; default: it runs however late
    it is, but once for all times that were missed."""
    history_limit: Annotated[int, Field(ge=1, le=20)] = 5
    """historyLimit: how many ended runs are kept, as Qwen3Evals and in status; their reports stay
    in the bucket."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.cron.matches('{CRON_SHAPE}')",
            message="cron has five fields (minute, hour, day of month, month, day of week), "
            "as in 0 3 * * 1, or is @hourly, @daily, @weekly, @monthly or @yearly",
            check=lambda m: re.fullmatch(CRON_SHAPE, m.cron) is not None,
            field_path=".cron",
        ),
    )


class RunStatus(StatusModel):
    """One run of a schedule that came to its end."""

    name: DnsLabel
    """name of its Qwen3Eval."""
    scheduled_time: Timestamp
    """scheduledTime that it ran for."""
    completion_time: Timestamp | None = None
    """completionTime of its report."""
    verdict: ShortText
    """verdict of the run."""
    reason: ShortText | None = None
    """reason why it has none; only with verdict Error."""
    score: ShortText | None = None
    """score is the first metric of the first suite."""
    delta: ShortText | None = None
    """delta of the score against the first baseline."""
    samples: int | None = None
    """samples behind the score."""
    revision: ShortText | None = None
    """revision of the fine-tune that served then."""
    report_uri: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="reportURI"
    )
    """reportURI of its report in the bucket."""


class ScheduleStatus(StatusModel):
    """How a schedule stands."""

    next_time: Timestamp | None = None
    """nextTime at which a run falls due; none while suspended."""
    last_time: Timestamp | None = None
    """lastTime for which a run was started."""
    missed_time: Timestamp | None = None
    """missedTime: the last one that was over its starting deadline and left out."""
    active: DnsLabel | None = None
    """active: name of the Qwen3Eval that runs now."""
    history: Annotated[list[RunStatus], Field(max_length=20), ListMap("name")] = []
    """history of ended runs, newest first."""
