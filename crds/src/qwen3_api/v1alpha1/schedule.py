"""Schedule of a repeated evaluation, and its runs."""

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
"""Five fields, or a predefined schedule. The operator validates the numbers."""


class EvalSchedule(KubeModel):
    """Schedule of an evaluation, as in a CronJob. Runs never overlap: a run that is due while
    another is active waits for it to finish."""

    cron: Annotated[str, Field(min_length=1, max_length=128)]
    """cron: minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly,
    @yearly."""
    time_zone: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", max_length=64)] | None
    ) = None
    """timeZone of cron by its IANA name (Europe/Berlin); default: UTC."""
    starting_deadline_seconds: Annotated[int, Field(ge=10, le=31_536_000)] | None = None
    """startingDeadlineSeconds: a run that is later than this is skipped; default: no deadline, with
    one run for all missed times."""
    history_limit: Annotated[int, Field(ge=1, le=20)] = 5
    """historyLimit: number of finished runs to keep, as Qwen3Evals and in status; their reports
    stay in the bucket."""

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
    """One finished run of a schedule."""

    name: DnsLabel
    """name of its Qwen3Eval."""
    scheduled_time: Timestamp
    """scheduledTime of the run."""
    completion_time: Timestamp | None = None
    """completionTime of its report."""
    verdict: ShortText
    """verdict of the run."""
    reason: ShortText | None = None
    """reason of the failure; only with verdict Error."""
    score: ShortText | None = None
    """score is the first metric of the first suite."""
    delta: ShortText | None = None
    """delta of the score against the first baseline."""
    samples: int | None = None
    """samples behind the score."""
    revision: ShortText | None = None
    """revision of the fine-tune in service at that time."""
    report_uri: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, alias="reportURI"
    )
    """reportURI of its report in the bucket."""


class ScheduleStatus(StatusModel):
    """State of a schedule."""

    next_time: Timestamp | None = None
    """nextTime at which a run is due; unset while suspended."""
    last_time: Timestamp | None = None
    """lastTime is the scheduled time of the last started run."""
    missed_time: Timestamp | None = None
    """missedTime: scheduled time of the last run skipped after its starting deadline."""
    active: DnsLabel | None = None
    """active: name of the active run's Qwen3Eval."""
    history: Annotated[list[RunStatus], Field(max_length=20), ListMap("name")] = []
    """history of finished runs, newest first."""
