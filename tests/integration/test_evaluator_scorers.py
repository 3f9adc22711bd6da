"""Suites scored by classes of weave.scorers with the evaluator image's Python, a real store, and
the real Weave client at its stand-in.

Needs QWEN3_EVALUATOR_PYTHON. The model answers on loopback, thinks aloud, and is right where told.
"""

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from qwen3_api.job import layout
from qwen3_api.job.evaluate import (
    ENV_WEAVE_API_KEY,
    EvalJob,
    EvalReport,
    EvalSample,
    TrackingReport,
)
from qwen3_evaluator.report.documents import parse_samples
from qwen3_evaluator.store import Store
from support import evaluator_runs
from support.chat_server import serve_chat
from support.evaluator_runs import finish
from support.evaluator_servers import NAMESPACE, TENANT, Bucket, seaweedfs
from support.weave_server import ENTITY, PROJECT, recording_proxy, running_weave

pytestmark = pytest.mark.integration

QUESTIONS = 40
GOOD = '{"order": 7, "note": null}'
NESTED = "[" * 100_000
METRICS = ["ExactMatch", "ValidJSONScorer", "ValidXMLScorer", "PydanticScorer", "StringMatchScorer"]
FIELDS = [
    {"name": "order", "type": "Integer"},
    {"name": "note", "type": "String", "required": False},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with seaweedfs(tmp_path_factory.mktemp("weed")) as bucket:
        yield bucket


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", TENANT.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TENANT.secret_key)


@dataclass
class ModelServer:
    """`good` answers what its questions expect; `base` does so for every fourth, else in XML."""

    url: str = ""
    first: str | None = None
    """Instead of `good`'s answer to the first question."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        n = int(body["messages"][-1]["content"].removeprefix("Order "))
        said = GOOD if body["model"] == "good" or n % 4 == 0 else f"<order>{n}</order>"
        if n == 1 and body["model"] == "good" and self.first is not None:
            said = self.first
        # What is thought is no JSON, and would be found in no expected answer.
        message = {"role": "assistant", "content": f"<think>\n<hm>\n</think>\n\n{said}"}
        return web.json_response({"choices": [{"message": message}]})


@asynccontextmanager
async def serve_models(first: str | None = None) -> AsyncIterator[ModelServer]:
    server = ModelServer(first=first)
    async with serve_chat(server.answer) as server.url:
        yield server


async def make_job(server: Bucket, name: str, models: ModelServer, **more: Any) -> EvalJob:
    rows = [{"question": f"Order {n}", "answer": GOOD} for n in range(1, QUESTIONS + 1)]
    data = server.tenant.join(name, "questions.jsonl")
    async with Store() as store:
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        await store.put(data, content, "application/jsonl")
    gate = {"suite": "orders", "confidence": 0.95}
    return EvalJob.model_validate(
        {
            "namespace": NAMESPACE,
            "name": name,
            "uid": name,
            "target": {"name": "target", "base_url": models.url, "model": "good"},
            "baselines": [{"name": "base", "base_url": models.url, "model": "base"}],
            "suites": [
                {
                    "name": "orders",
                    "data": {"type": "S3", "location": data.model_dump()},
                    "metrics": METRICS,
                    "limit": None,
                    "max_tokens": 16,
                    "temperature": 0,
                    "thinking": True,
                    "seed": 1,
                    "pydantic_fields": FIELDS,
                }
            ],
            "gates": [
                gate | {"name": "forms", "metric": "PydanticScorer", "baseline": "base"}
                | {"minimum_effect": 0.1},
                gate | {"name": "xml", "metric": "ValidXMLScorer", "baseline": None}
                | {"minimum": 0.9},
            ],
            "concurrency": 4,
            "output": server.tenant.join("evals", name).model_dump(),
            "progress_seconds": 3600,
            **more,
        }
    )  # fmt: skip


async def evaluate(job: EvalJob, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """The program in the image's file system."""
    program = await evaluator_runs.start(job, folder, os.environ["QWEN3_EVALUATOR_PYTHON"])
    return await finish(program)


async def read(job: EvalJob, name: str) -> bytes:
    async with Store() as store:
        return await store.get(job.output.join(name)) or b""


async def test_scores_reach_report_gates_page_and_weave(
    server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_weave() as weave, recording_proxy() as (proxy, asked):
        for name, value in {
            ENV_WEAVE_API_KEY: "0123456789abcdef0123456789abcdef01234567",
            "HTTPS_PROXY": proxy,
            "HTTP_PROXY": proxy,
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        project = {"project": PROJECT, "entity": None, "base_url": weave.url, "trace_url": None}
        async with serve_models() as models:
            job = await make_job(server, "whole", models, tracking={"weave": project})
            code, log = await evaluate(job, tmp_path)
    assert code == 0, log
    assert asked == [], "nobody but the tracker that was asked for"
    report = EvalReport.model_validate_json(await read(job, layout.REPORT))
    check_report(report)
    check_samples(parse_samples(await read(job, layout.SAMPLES)))
    page = (await read(job, layout.REPORT_HTML)).decode()
    assert page.count("by this class of weave.scorers") == 4
    assert "由 weave.scorers 的同名类判定" in page

    told = TrackingReport.model_validate_json(await read(job, layout.TRACKING))
    assert told.failures == []
    assert [e.url.split("/r/")[0] for e in told.evaluations] == [
        f"{weave.url}/{ENTITY}/{PROJECT}"
    ] * 2
    # The evaluations at Weave have the scores; no call is one of a scorer itself.
    of_target, of_base = weave.named("Evaluation.evaluate")
    assert of_target["output"]["PydanticScorer"]["mean"] == 1.0
    assert of_base["output"]["PydanticScorer"]["mean"] == 0.25
    assert [c["op_name"] for c in weave.calls.values() if "Scorer" in c["op_name"]] == []


def check_report(report: EvalReport) -> None:
    """Numbers that follow from what the models are like."""
    values = {(r.metric, r.model): (r.value, r.samples) for r in report.results}
    assert values == {
        ("ExactMatch", "target"): (1.0, QUESTIONS),
        ("ValidJSONScorer", "target"): (1.0, QUESTIONS),
        ("ValidXMLScorer", "target"): (0.0, QUESTIONS),
        ("PydanticScorer", "target"): (1.0, QUESTIONS),
        ("StringMatchScorer", "target"): (1.0, QUESTIONS),
        ("ExactMatch", "base"): (0.25, QUESTIONS),
        ("ValidJSONScorer", "base"): (0.25, QUESTIONS),
        ("ValidXMLScorer", "base"): (0.75, QUESTIONS),
        ("PydanticScorer", "base"): (0.25, QUESTIONS),
        ("StringMatchScorer", "base"): (0.25, QUESTIONS),
    }
    assert {(c.metric, c.better, c.worse) for c in report.comparisons} == {
        ("ValidXMLScorer", 0, 30),
        *((metric, 30, 0) for metric in METRICS if metric != "ValidXMLScorer"),
    }
    assert [(g.name, g.verdict) for g in report.gates] == [("forms", "Passed"), ("xml", "Failed")]
    assert report.verdict == "Failed"
    assert report.versions["weave"] == "0.54.0"


def check_samples(samples: list[EvalSample]) -> None:
    assert len(samples) == 2 * QUESTIONS
    assert {s.reasoning for s in samples} == {"<hm>"}
    target, base = samples[:2]
    assert (target.answer, base.answer) == (GOOD, "<order>1</order>")
    right = dict.fromkeys(METRICS, 1.0) | {"ValidXMLScorer": 0.0}
    assert target.scores == right
    assert base.scores == {metric: 1.0 - score for metric, score in right.items()}


async def test_a_scorer_that_fails_ends_it_with_a_report(server: Bucket, tmp_path: Path) -> None:
    async with serve_models(first=NESTED) as models:
        job = await make_job(server, "nested", models)
        code, log = await evaluate(job, tmp_path)
    assert code == 42, log
    report = EvalReport.model_validate_json(await read(job, layout.REPORT))
    assert (report.outcome, report.results) == ("Failed", [])
    assert report.failure is not None
    assert report.failure.reason == "EvaluatorFailed"
    assert report.failure.message.startswith(
        "suite orders, line 1, model target: ValidJSONScorer of weave.scorers failed: Recursion"
    )
