"""When a schedule falls due, over changes of the clock too."""

from datetime import UTC, datetime
from typing import Any

import pytest

from qwen3_api.v1alpha1.schedule import EvalSchedule
from qwen3_operator.evaluation.cron import WORDS, Cron, CronError

NOW = datetime(2026, 3, 1, 12, 0, 30, 500_000, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def cron(text: str, zone: str | None = None) -> Cron:
    return Cron(EvalSchedule(cron=text, time_zone=zone))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "zone", "now", "latest", "following"),
    [
        ("0 3 * * *", None, NOW, "2026-03-01T03:00Z", "2026-03-02T03:00Z"),
        ("0 3 * * *", "Asia/Shanghai", NOW, "2026-02-28T19:00Z", "2026-03-01T19:00Z"),
        ("*/15 * * * *", None, NOW, "2026-03-01T12:00Z", "2026-03-01T12:15Z"),
        ("0 0 29 2 *", None, NOW, "2024-02-29T00:00Z", "2028-02-29T00:00Z"),
        ("@weekly", None, NOW, "2026-03-01T00:00Z", "2026-03-08T00:00Z"),
        # To the second itself: a time that is now is due, not coming.
        ("0 3 * * *", None, at("2026-03-01T03:00:00Z"), "2026-03-01T03:00Z", "2026-03-02T03:00Z"),
        # 29 March 2026: 2:00 becomes 3:00 in Berlin. 2:30 doesn't exist and runs at 3:00.
        ("30 2 * * *", BERLIN, at("2026-03-28T12:00Z"), "2026-03-28T01:30Z", "2026-03-29T01:00Z"),
        ("30 2 * * *", BERLIN, at("2026-03-29T12:00Z"), "2026-03-29T01:00Z", "2026-03-30T00:30Z"),
        # 25 October 2026: 3:00 becomes 2:00. 2:30 comes twice and runs once, at its first.
        ("30 2 * * *", BERLIN, at("2026-10-25T00:10Z"), "2026-10-24T00:30Z", "2026-10-25T00:30Z"),
        ("30 2 * * *", BERLIN, at("2026-10-25T01:10Z"), None, "2026-10-26T01:30Z"),
        ("30 2 * * *", BERLIN, at("2026-10-25T03:00Z"), "2026-10-25T00:30Z", "2026-10-26T01:30Z"),
        # What repeats goes on by elapsed time.
        ("30 * * * *", BERLIN, at("2026-10-25T01:10Z"), "2026-10-25T00:30Z", "2026-10-25T01:30Z"),
    ],
)
def test_latest_and_following(
    text: str, zone: str | None, now: datetime, latest: str | None, following: str
) -> None:
    found = cron(text, zone)
    assert found.following(now) == at(following)
    if latest is not None:
        assert found.latest(now) == at(latest)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_that_the_api_takes_is_known(word: str) -> None:
    found = cron(word)
    following = found.following(NOW)
    assert following is not None
    assert found.latest(following) == following


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cron": "61 * * * *"}, ("spec.schedule.cron", "minute", "'61 * * * *'")),
        ({"cron": "0 0 * * MONDAY"}, ("spec.schedule.cron", "day-of-week")),
        ({"cron": "*/0 * * * *"}, ("spec.schedule.cron", "minute")),
        ({"cron": "0 0 30 2 *"}, ("spec.schedule.cron",)),
        ({"cron": "0 0 31 4,6 *"}, ("spec.schedule.cron",)),
        ({"cron": "@daily", "time_zone": "Europe/Bonn"}, ("spec.schedule.timeZone", "Europe/Bonn")),
        ({"cron": "@daily", "time_zone": "Europe"}, ("spec.schedule.timeZone", "Europe")),
    ],
)
def test_what_the_shape_lets_through_is_refused_with_its_field(
    fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(CronError) as told:
        Cron(EvalSchedule(**fields))
    assert [w for w in words if w not in str(told.value)] == []
