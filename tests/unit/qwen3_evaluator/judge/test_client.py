"""Judges that are away, slow, busy, or refuse; and keys."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from aiohttp import web

from qwen3_api.job.evaluate import EvalEndpoint, EvalJudge, JudgeOpinion
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.endpoint.client import RetryPolicy
from qwen3_evaluator.judge.jury import Jury
from qwen3_evaluator.questions import Question
from support.judge_server import JudgeServer, error, fair, serve_judge

PATIENT = RetryPolicy(first_pause=0.01, longest_pause=0.05)
# For judges that stay away: with it a stall of this process ends an attempt just the same.
QUICK = RetryPolicy(endpoint_away=0.5, first_pause=0.01, longest_pause=0.05)
QUESTION = Question(7, "2+2?", "4")
KEY_ENV = "QWEN3_KEY_JUDGE_0_0"
KEY = "sk-very-secret-0123456789"


def order(url: str, api_key_env: str | None = None) -> EvalJudge:
    endpoint = EvalEndpoint(name="wise", base_url=url, model="m", api_key_env=api_key_env)
    return EvalJudge(endpoints=[endpoint], rubric=None, swap_positions=True, max_requests=1000)


async def score(
    url: str, *answers: str, key_env: str | None = None, retry_policy: RetryPolicy = PATIENT
) -> list[list[JudgeOpinion]]:
    async with aiohttp.ClientSession() as http:
        jury = Jury(order(url, key_env), http, retry_policy)
        return await asyncio.gather(*(jury.score(QUESTION, a) for a in answers or ("4",)))


async def refused(
    server: JudgeServer, key_env: str | None = None, retry_policy: RetryPolicy = PATIENT
) -> FailureError:
    with pytest.raises(FailureError) as caught:
        await asyncio.wait_for(score(server.url, key_env=key_env, retry_policy=retry_policy), 30)
    assert caught.value.failure.reason == "JudgeUnavailable"
    assert caught.value.failure.message.startswith(f"judge wise (m at {server.url}/chat/")
    return caught.value


async def test_a_judge_that_fails_is_asked_again() -> None:
    script: list[Callable[[], web.StreamResponse]] = [
        lambda: error(500),
        lambda: error(429),
        lambda: web.Response(status=502, text="<html>bad gateway</html>"),
        lambda: error(408),
    ]
    async with serve_judge(fair, *script) as server:
        ((opinion,),) = await score(server.url)
    assert (opinion.score, len(server.asked)) == (1, 5)


async def test_a_judge_that_stays_away_ends_the_attempt_and_not_the_evaluation() -> None:
    retry_policy = RetryPolicy(endpoint_away=2, first_pause=0.01, longest_pause=0.2)
    async with serve_judge(fair, *[lambda: error(503, "no GPU left")] * 1000) as server:
        failure = await refused(server, retry_policy=retry_policy)
    assert failure.exit_code == 1
    assert "the last try: 503: no GPU left" in str(failure)
    assert "judge wise runs" in failure.failure.hint
    assert len(server.asked) > 1


async def test_pauses_grow_up_to_the_longest() -> None:
    retry_policy = RetryPolicy(first_pause=0.01, longest_pause=0.2)
    async with serve_judge(fair, *[lambda: error(503)] * 8) as server:
        await score(server.url, retry_policy=retry_policy)
    gaps = [b.at - a.at for a, b in zip(server.asked, server.asked[1:], strict=False)]
    # At least half of 10, 20, 40, ... ms; how long a gap is beyond its pause, the machine tells.
    assert all(gap >= min(0.005 * 2**i, 0.1) for i, gap in enumerate(gaps))
    assert min(gaps[:3]) < 0.1


async def test_nobody_at_the_address(caplog: pytest.LogCaptureFixture) -> None:
    async with serve_judge(fair) as server:
        pass
    failure = await refused(server, retry_policy=QUICK)
    assert failure.exit_code == 1
    # In every try but the last, if just that one met a stall.
    assert "ClientConnectorError" in caplog.text + str(failure)


async def test_a_judge_that_never_answers_is_away() -> None:
    async with serve_judge(fair, held=asyncio.Event()) as server:
        failure = await refused(server, retry_policy=QUICK)
    assert failure.exit_code == 1
    assert "no answer in time" in str(failure)
    assert len(server.asked) <= 1, "it is asked again"


async def test_a_slow_judge_is_waited_for() -> None:
    held = asyncio.Event()
    async with serve_judge(fair, held=held) as server:
        asking = asyncio.create_task(score(server.url, retry_policy=RetryPolicy()))
        await asyncio.wait([asking], timeout=0.2)
        assert not asking.done()
        held.set()
        assert (await asking)[0][0].score == 1
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "wants a key"),
        (403, "wants a key"),
        (404, "its url (with the version of the API, as in https://models.example.com/v1), its m"),
    ],
)
async def test_a_refusal_needs_the_user_at_once(status: int, hint: str) -> None:
    async with serve_judge(fair, *[lambda: error(status, "go away")] * 9) as server:
        failure = await refused(server)
    assert failure.exit_code == 42
    assert len(server.asked) == 1
    assert f"refused the request with {status}: go away" in str(failure)
    assert hint in failure.failure.hint
    assert "OPENAI_API_KEY" in failure.failure.hint


async def test_a_request_that_is_refused_tells_the_judges_words() -> None:
    async with serve_judge(fair, lambda: error(400, "8000 tokens is too long")) as server:
        failure = await refused(server)
    assert failure.exit_code == 42
    assert "400: 8000 tokens is too long" in str(failure)
    assert "context" in failure.failure.hint


async def test_a_redirect_is_not_followed_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serve_judge(fair) as elsewhere:
        target = f"{elsewhere.url}/chat/completions"
        moved = lambda: web.Response(status=307, headers={"Location": target})  # noqa: E731
        async with serve_judge(fair, moved) as server:
            failure = await refused(server, KEY_ENV)
    assert "307" in str(failure)
    assert elsewhere.asked == []


async def test_the_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    # `echo key | base64` puts a newline into the Secret.
    monkeypatch.setenv(KEY_ENV, f"{KEY}\n")
    async with serve_judge(fair, key=KEY) as server:
        ((opinion,),) = await score(server.url, key_env=KEY_ENV)
    assert opinion.score == 1
    assert server.asked[0].authorization == f"Bearer {KEY}"


async def test_a_wrong_key_is_told_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    caplog.set_level(logging.DEBUG)
    script = [lambda: web.Response(status=500, text=f"bad key {KEY}")]
    async with serve_judge(fair, key="another") as server:
        failure = await refused(server, KEY_ENV)
    async with serve_judge(fair, *script, lambda: web.Response(text=f"key {KEY}")) as server:
        await score(server.url, key_env=KEY_ENV)
    assert "Incorrect API key provided: Bearer …" in str(failure)
    assert "OPENAI_API_KEY in the Secret" in failure.failure.hint
    assert failure.exit_code == 42
    assert "bad key …" in caplog.text
    assert "key …" in caplog.text
    assert KEY not in caplog.text + str(failure) + failure.failure.hint


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "missing or empty"),
        (" \n", "missing or empty"),
        ("a\nb", "no HTTP header"),
        ("clé", "no HTTP header"),
    ],
)
async def test_a_key_that_cannot_be_sent_ends_it_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, value: str | None, words: str
) -> None:
    if value is not None:
        monkeypatch.setenv(KEY_ENV, value)
    async with serve_judge(fair) as server:
        with pytest.raises(FailureError, match=f"key of wise .*{words}") as caught:
            await score(server.url, key_env=KEY_ENV)
    assert (caught.value.failure.reason, caught.value.exit_code) == ("CredentialsNotFound", 42)
    assert "OPENAI_API_KEY" in caught.value.failure.hint
    assert server.asked == []


async def test_a_busy_judge_says_when_to_come_back_and_all_keep_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    busy = lambda: error(429, "slow down", **{"Retry-After": "1"})  # noqa: E731
    async with serve_judge(fair, busy) as server, aiohttp.ClientSession() as http:
        jury = Jury(order(server.url), http, PATIENT)
        first = asyncio.create_task(jury.score(QUESTION, "4"))
        while "asking again in" not in caplog.text:  # noqa: ASYNC110  # the log has no event
            await asyncio.sleep(0.01)
        await asyncio.gather(first, *(jury.score(QUESTION, f"4 {i}") for i in range(4)))
    assert len(server.asked) == 6
    assert all(a.at - server.asked[0].at >= 1 for a in server.asked[1:])


async def test_a_date_to_come_back_at() -> None:
    def busy() -> web.Response:
        # Whole seconds, so 2 to 3 of them.
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        return error(503, **{"Retry-After": date})

    async with serve_judge(fair, busy) as server:
        await score(server.url)
    first, second = server.asked
    assert second.at - first.at >= 1.5


@pytest.mark.parametrize("value", ["0", "0.001", "-1", "nan", "inf", "soon", ""])
async def test_an_odd_time_to_come_back_is_an_ordinary_pause(value: str) -> None:
    async with serve_judge(fair, lambda: error(429, **{"Retry-After": value})) as server:
        await score(server.url)
    first, second = server.asked
    assert second.at - first.at >= 0.005


async def test_a_judge_that_wants_more_quiet_than_there_is_patience_is_away() -> None:
    async with serve_judge(fair, lambda: error(429, **{"Retry-After": "3600"})) as server:
        failure = await refused(server)
    assert "wants 3600 s of quiet" in str(failure)
    assert (failure.exit_code, len(server.asked)) == (1, 1)
