"""The results at W&B and Weave: what reaches a server, that nobody else is told anything, and that
the verdict needs neither.

wandb and weave are real. The servers are stand-ins that speak their wire formats
(support/wandb_server.py, support/weave_server.py); the offline run is read back by `wandb sync`.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import (
    ENV_WEAVE_API_KEY,
    EvalJob,
    EvalReport,
    EvalSample,
    EvalTracking,
    EvalWeave,
    TrackingReport,
)
from qwen3_api.job.train import JobWandb
from qwen3_evaluator.report.documents import render_samples
from qwen3_evaluator.report.html import render_html
from qwen3_evaluator.run import run_evaluation
from qwen3_evaluator.store import Store
from qwen3_evaluator.trackers.tracking import track
from qwen3_evaluator.training import read_training
from support.eval_reports import build_job, build_report, build_samples, build_training
from support.evaluator_servers import TENANT, seaweedfs
from support.wandb_server import running_wandb
from support.weave_server import ENTITY, PROJECT, WeaveServer, recording_proxy, running_weave

pytestmark = pytest.mark.integration

KEY = "0123456789abcdef0123456789abcdef01234567"
OTHER_KEY = "fedcba9876543210fedcba9876543210fedcba98"
HTML = b"<!doctype html><title>Passed</title>"
QUESTIONS = 6


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Location]:
    with seaweedfs(tmp_path_factory.mktemp("weed")) as found:
        yield found.tenant


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", TENANT.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TENANT.secret_key)


@pytest.fixture
async def store(bucket: S3Location) -> AsyncIterator[Store]:
    async with Store() as opened:
        yield opened


def ordered(bucket: S3Location, name: str, **tracking: Any) -> EvalJob:
    """The made-up evaluation, kept in the bucket under a folder of its own."""
    return build_job().model_copy(
        update={
            "uid": name,
            "output": bucket.join("evals", name),
            "tracking": EvalTracking(**tracking),
        }
    )


def results(job: EvalJob) -> tuple[EvalReport, list[EvalSample]]:
    samples = build_samples(job, QUESTIONS)
    return build_report(job, samples), samples


def wandb(url: str | None, *, offline: bool = False, entity: str | None = None) -> JobWandb:
    return JobWandb(project=PROJECT, entity=entity, offline=offline, base_url=url)


def weave(url: str, entity: str | None = ENTITY) -> EvalWeave:
    return EvalWeave(project=PROJECT, entity=entity, base_url=url, trace_url=None)


def environment(**more: str) -> dict[str, str]:
    """Of the pod: with the keys of bucket and models, that no tracker may see."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "AWS_SECRET_ACCESS_KEY": TENANT.secret_key,
        "API_KEY_TARGET": "sk-target",
        "WANDB_API_KEY": KEY,
        ENV_WEAVE_API_KEY: OTHER_KEY,
        **more,
    }


async def send(job: EvalJob, store: Store, seconds: float = 60, **env: str) -> TrackingReport:
    """Track; what is told is what lies in the bucket."""
    report, samples = results(job)
    told = await track(
        job, report, samples, HTML, store, environ=environment(**env), seconds=seconds
    )
    assert await read_told(job, store) == told
    assert told is not None
    return told


async def read_told(job: EvalJob, store: Store) -> TrackingReport:
    content = await store.get(job.output.join(layout.TRACKING))
    assert content is not None
    return TrackingReport.model_validate_json(content)


def proxied(proxy: str) -> dict[str, str]:
    return {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1"}


async def test_a_run_is_at_wandb(bucket: S3Location, store: Store) -> None:
    with running_wandb() as server, recording_proxy() as (proxy, asked):
        job = ordered(bucket, "online", wandb=wandb(server.url))
        told = await send(job, store, **proxied(proxy))
    assert told.failures == []
    assert told.run_url == f"{server.url}/{ENTITY}/{PROJECT}/runs/online"
    assert asked == []
    assert server.keys == {KEY}
    assert server.runs[0]["name"] == "online"
    report, samples = results(job)
    found = {r.metric: r.value for r in report.results if r.model == "target"}
    assert server.summary["support/F1/target"] == pytest.approx(found["F1"])
    assert server.summary["verdict"] == "Inconclusive"
    assert server.summary["gates/sums-kept"] == "Inconclusive"
    assert server.files["report.html"] == HTML
    table = _table(server.files)
    assert len(table["data"]) == len(samples)
    row = dict(zip(table["columns"], table["data"][0], strict=True))
    assert (row["suite"], row["model"], row["line"]) == ("support", "target", 1)
    assert (row["question"], row["answer"]) == (samples[0].question, samples[0].answer)
    assert row["F1"] == samples[0].scores["F1"]


def _table(files: dict[str, bytes]) -> dict[str, Any]:
    (name,) = [name for name in files if name.endswith(".table.json")]
    table: dict[str, Any] = json.loads(files[name])
    return table


async def test_an_offline_run_is_read_back(
    bucket: S3Location, store: Store, tmp_path: Path
) -> None:
    """By `wandb sync`, from the bucket and nowhere else."""
    with recording_proxy() as (proxy, asked):
        job = ordered(bucket, "offline", wandb=wandb(None, offline=True))
        told = await send(job, store, **proxied(proxy))
    assert asked == []
    assert (told.failures, told.run_url) == ([], None)
    assert told.offline_run is not None
    assert told.offline_run.startswith(job.output.join("wandb/offline-run-").uri)
    folder = tmp_path / told.offline_run.rpartition("/")[2]
    start = job.output.join("wandb", folder.name).prefix
    for location in await store.list_keys(job.output, "wandb/", recursive=True):
        path = folder / location.prefix.removeprefix(f"{start}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await store.get(location) or b"")
        assert TENANT.secret_key.encode() not in path.read_bytes()
    with running_wandb() as server:
        done = subprocess.run(  # noqa: ASYNC221  # the server has a thread of its own
            [sys.executable, "-m", "wandb", "sync", "--yes", str(folder)],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "WANDB_API_KEY": KEY}
            | {"WANDB_BASE_URL": server.url, "WANDB_ERROR_REPORTING": "false"},
            cwd=tmp_path,  # where it writes its log
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert server.runs[0]["name"] == "offline"
    assert server.summary["support/F1/target"] > server.summary["support/F1/base"]
    assert server.files["report.html"] == HTML
    assert len(_table(server.files)["data"]) == len(results(job)[1])


async def test_every_model_is_an_evaluation_of_the_same_dataset(
    bucket: S3Location, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent by an attempt that finds the report of an earlier one, which was killed before it could;
    the attempt after it finds nothing to do."""
    with running_weave() as server, recording_proxy() as (proxy, asked):
        for name, value in (environment() | proxied(proxy)).items():
            monkeypatch.setenv(name, value)
        job = ordered(bucket, "weave", weave=weave(server.url, entity=None))
        report, samples = results(job)
        await store.put(job.output.join(layout.SAMPLES), render_samples(samples), "a/b")
        await store.put(job.output.join(layout.REPORT_HTML), HTML, "text/html")
        await store.put(job.output.join(layout.REPORT), report.to_json(), "application/json")
        await run_evaluation(job)
        told = await read_told(job, store)
        await run_evaluation(job)
    assert told.failures == []
    assert asked == [], "weave asks nobody else: not pypi.org, not Sentry"
    assert server.keys == {OTHER_KEY}
    evaluations = server.named("Evaluation.evaluate")
    assert [f"{server.url}/{ENTITY}/{PROJECT}/r/call/{c['id']}" for c in evaluations] == [
        e.url for e in told.evaluations
    ]
    assert [(e.suite, e.model) for e in told.evaluations] == [
        (suite, model) for suite in ("support", "sums") for model in ("target", "base", "incumbent")
    ]
    _check_dataset(server, evaluations, samples)
    _check_answers(server, evaluations, samples)
    f1 = next(r for r in report.results if (r.metric, r.model) == ("F1", "base"))
    of_base = evaluations[1]["output"]
    assert of_base["F1"]["mean"] == pytest.approx(f1.value)
    assert of_base["output"]["report"]["F1"]["value"] == f1.value
    assert evaluations[1]["attributes"]["role"] == "base"


def _check_dataset(
    server: WeaveServer, evaluations: list[dict[str, Any]], samples: list[EvalSample]
) -> None:
    for suite, calls in (("support", evaluations[:3]), ("sums", evaluations[3:])):
        datasets = {server.objects[c["inputs"]["self"]]["dataset"] for c in calls}
        assert len(datasets) == 1
        rows = server.tables[server.objects[datasets.pop()]["rows"]]
        assert {row["line"] for row in rows} == {s.line for s in samples if s.suite == suite}
        models = [server.objects[c["inputs"]["model"]]["model"] for c in calls]
        assert models[1:] == ["Qwen/Qwen3-8B", "team-a.support-bot.1f0c2d3e"]


def _check_answers(
    server: WeaveServer, evaluations: list[dict[str, Any]], samples: list[EvalSample]
) -> None:
    found = [
        c
        for c in server.named("Evaluation.predict_and_score")
        if c["parent_id"] == evaluations[0]["id"]
    ]
    mine = [s for s in samples if (s.suite, s.model) == ("support", "target")]
    assert len(found) == len(mine)
    for call, sample in zip(found, mine, strict=True):
        assert call["inputs"]["example"]["question"] == sample.question
        assert call["output"]["output"]["answer"] == sample.answer
        scores = call["output"]["scores"]
        assert scores["F1"] == sample.scores["F1"]
        assert sample.loss is not None
        assert sample.answer_tokens is not None
        assert scores["AssistantLoss"] == pytest.approx(sample.loss / sample.answer_tokens)
        assert scores["JudgeWin_base"] in (0.0, 0.5, 1.0)


async def test_trackers_that_are_down_or_silent_are_done_without(
    bucket: S3Location, store: Store
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        job = ordered(bucket, "silent", wandb=wandb("http://127.0.0.1:9"), weave=weave(url))
        async with asyncio.timeout(180):
            told = await send(job, store, seconds=3)
    assert told.failures == [
        "W&B: not everything was sent within 3 s",
        "Weave: not everything was sent within 3 s",
    ]
    assert (told.run_url, told.evaluations) == (None, [])


async def test_what_a_server_refuses_is_told(bucket: S3Location, store: Store) -> None:
    with running_weave() as server:
        server.refuses = 400
        job = ordered(bucket, "refused", weave=weave(server.url))
        told = await send(job, store)
    (failure,) = told.failures
    assert failure.startswith("Weave: ")
    assert len(told.evaluations) == 6
    assert server.calls == {}


async def test_a_missing_key_is_told(bucket: S3Location, store: Store) -> None:
    with running_weave() as server:
        job = ordered(bucket, "no-key", weave=weave(server.url))
        told = await send(job, store, **{ENV_WEAVE_API_KEY: " \n"})
        assert server.paths == set()
    assert told.failures == [
        "Weave: no key: the Secret that tracking.weave.secretRef names must be in this namespace "
        "and hold WANDB_API_KEY"
    ]


async def test_the_training_is_read_from_the_revision_s_folder(
    bucket: S3Location, store: Store
) -> None:
    """The curves are those of the last checkpoint, whichever attempt left it."""
    made = build_job()
    assert made.training is not None
    training = made.training.model_copy(update={"folder": bucket.join("uid/revisions/r1")})
    job = made.model_copy(update={"training": training})
    assert await read_training(job, store) is None
    commit = training.folder.join(layout.COMMIT)
    await store.put(commit, b'{"contract": 1}', "application/json")
    assert await read_training(job, store) is None
    expected = build_training().commit
    await store.put(commit, expected.to_json(), "application/json")
    record = await read_training(job, store)
    assert record is not None
    assert (record.commit, record.loss) == (expected, [])
    for attempt, step in (("a", 8), ("b", 16), ("c", 12)):
        state = {"log_history": [{"step": step, "loss": 2.0}, {"step": step, "eval_loss": 1.5}]}
        await store.put(
            training.folder.join(f"attempts/{attempt}/checkpoints/step-{step}/trainer_state.json"),
            json.dumps(state).encode(),
            "application/json",
        )
    record = await read_training(job, store)
    assert record is not None
    assert (record.loss, record.eval_loss) == ([(16, 2.0)], [(16, 1.5)])
    html = render_html(job, *results(job), record)
    assert 'id="training"' in html
