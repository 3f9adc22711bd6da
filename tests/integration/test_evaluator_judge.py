"""A whole evaluation on a real object store, with repeats, judges, gates and both reports.

Models and judges answer on loopback, so that what is asked, lost and paid can be counted.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import EvalJob, EvalReport, EvalSample
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.report import PARTIAL_START, USAGE_START, parse_samples
from qwen3_evaluator.run import run_evaluation
from qwen3_evaluator.store import Store
from support.chat_server import serve_chat
from support.evaluator_servers import NAMESPACE, TENANT, Bucket, seaweedfs
from support.judge_server import Asked, JudgeServer, error, fair, serve_judge

pytestmark = pytest.mark.integration

QUESTIONS = 24
SAMPLES = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with seaweedfs(tmp_path_factory.mktemp("weed")) as bucket:
        yield bucket


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", TENANT.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TENANT.secret_key)
    monkeypatch.setenv("QWEN3_KEY_TARGET", "sk-target")


@dataclass
class ModelServer:
    """Knows every answer as `good`, and those to even questions as `base`; thinks aloud."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["model"] == "good" and request.headers.get("Authorization") != "Bearer sk-target":
            return error(401, "no key")
        self.asked.append(body)
        n = int(body["messages"][-1]["content"].removeprefix("Question "))
        said = f"<{n}>" if body["model"] == "good" or n % 2 == 0 else f"not {body['seed']}"
        return web.json_response(
            {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "content": f"<think>\nhm\n</think>\n\n{said}",
                        }
                    }
                ]
            }
        )


@asynccontextmanager
async def serve_models() -> AsyncIterator[ModelServer]:
    server = ModelServer()
    async with serve_chat(server.answer) as server.url:
        yield server


async def make_job(
    bucket: S3Location, name: str, models: ModelServer, judge: JudgeServer, **judging: Any
) -> EvalJob:
    rows = [
        {"question": f"Question {n}", "answer": f"<{n}>", "pattern": f"^<{n}>$"}
        for n in range(1, QUESTIONS + 1)
    ]
    data = bucket.join(name, "questions.jsonl")
    async with Store() as store:
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        await store.put(data, content, "application/jsonl")
    suite = {
        "name": "one",
        "data": {"type": "S3", "location": data.model_dump()},
        "metrics": ["ExactMatch", "RegexMatch", "JudgeScore", "JudgeWin"],
        "limit": None,
        "max_tokens": 16,
        "temperature": 0.7,
        "thinking": True,
        "seed": 100,
        "samples": SAMPLES,
        "judge": {
            "endpoints": [{"name": "j", "base_url": judge.url, "model": "any/judge"}],
            "rubric": None,
            "swap_positions": True,
            "max_requests": 1000,
        }
        | judging,
    }
    gate = {"name": "better", "suite": "one", "metric": "ExactMatch", "confidence": 0.95}
    return EvalJob.model_validate(
        {
            "namespace": NAMESPACE,
            "name": name,
            "uid": name,
            "target": {
                "name": "target",
                "base_url": models.url,
                "model": "good",
                "api_key_env": "QWEN3_KEY_TARGET",
            },
            "baselines": [{"name": "base", "base_url": models.url, "model": "base"}],
            "suites": [suite],
            "gates": [
                gate | {"baseline": "base", "minimum_effect": 0.1},
                gate | {"name": "wins", "baseline": None, "metric": "JudgeWin", "minimum": 0.5},
            ],
            "concurrency": 4,
            "output": bucket.join("evals", name).model_dump(),
            "progress_seconds": 3600,
        }
    )


async def read(job: EvalJob, name: str) -> bytes | None:
    async with Store() as store:
        return await store.get(job.output.join(name))


async def list_partials(job: EvalJob) -> list[S3Location]:
    async with Store() as store:
        found = [await store.list_keys(job.output, start) for start in (PARTIAL_START, USAGE_START)]
    return [location for locations in found for location in locations]


async def read_samples(job: EvalJob) -> list[EvalSample]:
    return parse_samples(await read(job, "samples.jsonl") or b"")


def check(report: EvalReport, samples: list[EvalSample]) -> None:
    """Numbers that follow from what models and judge are like."""
    values = {(r.metric, r.model, r.baseline): (r.value, r.samples) for r in report.results}
    assert values == {
        ("ExactMatch", "target", None): (1.0, QUESTIONS),
        ("RegexMatch", "target", None): (1.0, QUESTIONS),
        ("JudgeScore", "target", None): (1.0, QUESTIONS),
        ("JudgeWin", "target", "base"): (0.75, QUESTIONS),
        ("ExactMatch", "base", None): (0.5, QUESTIONS),
        ("RegexMatch", "base", None): (0.5, QUESTIONS),
        ("JudgeScore", "base", None): (0.5, QUESTIONS),
    }
    assert [(c.metric, c.delta, c.better, c.worse) for c in report.comparisons] == [
        (metric, 0.5, QUESTIONS // 2, 0) for metric in ("ExactMatch", "RegexMatch", "JudgeScore")
    ]
    assert [(g.name, g.verdict) for g in report.gates] == [("better", "Passed"), ("wins", "Passed")]
    assert report.verdict == "Passed"
    assert [(s.line, s.sample, s.model) for s in samples[:4]] == [
        (1, 0, "target"),
        (1, 0, "base"),
        (1, 1, "target"),
        (1, 1, "base"),
    ]
    assert len(samples) == QUESTIONS * SAMPLES * 2
    assert {s.reasoning for s in samples} == {"hm"}
    assert [s.answer for s in samples[:4]] == ["<1>", "not 100", "<1>", "not 101"]
    assert [(o.baseline, o.score) for o in samples[0].opinions] in (
        [(None, 1), ("base", 1)],
        [("base", 1), (None, 1)],
    )
    assert [(o.baseline, o.score) for o in samples[1].opinions] == [(None, 0)]


async def test_from_questions_to_a_verdict(server: Bucket) -> None:
    async with serve_models() as models, serve_judge() as judge:
        job = await make_job(server.tenant, "whole", models, judge)
        await run_evaluation(job)
    report = EvalReport.model_validate_json(await read(job, "report.json") or b"")
    check(report, await read_samples(job))
    assert Counter((b["model"], b["seed"]) for b in models.asked) == {
        (model, seed): QUESTIONS for model in ("good", "base") for seed in (100, 101)
    }
    assert report.judge is not None
    assert report.judge.requests == len(judge.asked)
    assert (report.judge.prompt_tokens, report.judge.completion_tokens) == (
        100 * len(judge.asked),
        7 * len(judge.asked),
    )
    html = await read(job, "report.html")
    assert html is not None
    assert b"<html" in html
    assert await list_partials(job) == []


async def test_what_the_judges_said_survives_the_attempt(server: Bucket) -> None:
    async with serve_models() as models, serve_judge() as judge:
        whole = await make_job(server.tenant, "reference", models, judge)
        await run_evaluation(whole)
        needed = len(judge.asked)
        assert needed > 60

    half = asyncio.Event()

    def mind(asked: Asked) -> str:
        if len(judge.asked) >= needed // 2:
            half.set()
        return fair(asked)

    async with serve_models() as models, serve_judge(mind) as judge:
        job = await make_job(server.tenant, "killed", models, judge)
        attempt = asyncio.create_task(run_evaluation(job))
        await asyncio.wait_for(half.wait(), 240)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert await read(job, "report.json") is None
        kept = [location.prefix.rsplit("/", 1)[1] for location in await list_partials(job)]
        assert [name.startswith(USAGE_START) for name in kept].count(True) == 1
        before = len(judge.asked)
        answers = len(models.asked)
        assert before < needed
        assert answers == QUESTIONS * SAMPLES * 2

        await run_evaluation(job)
        report = EvalReport.model_validate_json(await read(job, "report.json") or b"")
        check(report, await read_samples(job))
        # No question twice; of the judge's replies only those of the 4 workers were lost, a pair
        # being two.
        assert len(models.asked) == answers
        assert len(judge.asked) <= needed + 8
        # And both attempts are on the bill.
        assert report.judge is not None
        assert before <= report.judge.requests <= len(judge.asked)
        assert report.judge.requests >= needed


async def test_a_judge_that_is_away_costs_no_answer(server: Bucket) -> None:
    # It wants more quiet than any attempt waits, so an attempt ends at once and by no clock.
    away = [lambda: error(429, **{"Retry-After": "86400"})] * 100
    async with serve_models() as models, serve_judge(fair, *away) as judge:
        job = await make_job(server.tenant, "away", models, judge)
        with pytest.raises(FailureError, match="judge j ") as caught:
            await run_evaluation(job)
        assert (caught.value.failure.reason, caught.value.exit_code) == ("JudgeUnavailable", 1)
        assert await read(job, "report.json") is None
        answers = len(models.asked)
        assert answers == QUESTIONS * SAMPLES * 2
        with pytest.raises(FailureError, match="judge j "):
            await run_evaluation(job)
        assert len(models.asked) == answers


async def test_too_many_requests_to_judges_end_before_anything_is_asked(server: Bucket) -> None:
    async with serve_models() as models, serve_judge() as judge:
        job = await make_job(server.tenant, "costly", models, judge, max_requests=100)
        with pytest.raises(FailureError, match=r"one may take 192 requests") as caught:
            await run_evaluation(job)
    assert (models.asked, judge.asked) == ([], [])
    assert (caught.value.failure.reason, caught.value.exit_code) == ("InvalidSpec", 42)
    report = EvalReport.model_validate_json(await read(job, "report.json") or b"")
    assert (report.outcome, report.failure) == ("Failed", caught.value.failure)
    assert await read(job, "report.html") is not None
