"""Held-out questions stay held out, on a real object store: leaks end a run before anything is
asked, and the evaluator reads questions with credentials that nobody else has."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import ENV_DATA_PREFIX, EvalJob, EvalReport
from qwen3_api.job.holdout import find_entries
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.holdout import check_holdout
from qwen3_evaluator.questions import read_questions
from qwen3_evaluator.store import Store
from qwen3_local import s3
from qwen3_trainer.preflight.digest import DigestBuilder
from support.evaluator_servers import BUCKET, NAMESPACE, TENANT, Bucket, seaweedfs

pytestmark = pytest.mark.integration

EXAMINER = s3.Credentials("examiner-key", "examiner-secret-0123456789")
VAULT = "holdout"
"""Prefix that EXAMINER alone may read."""
TRAINED = ["What is the warranty?", "Which city is the repair centre in?"]
QUESTIONS = [*TRAINED, "How long do I have to return an item?", "Do you ship abroad?"]
ROWS = "".join(json.dumps({"question": q, "answer": "a"}) + "\n" for q in QUESTIONS).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with seaweedfs(tmp_path_factory.mktemp("weed")) as bucket:
        s3.ensure_identity(bucket.server, "examiner", EXAMINER, [f"Read:{BUCKET}/{VAULT}/*"])
        boto3.client(
            "s3",
            endpoint_url=bucket.tenant.endpoint,
            region_name="us-east-1",
            aws_access_key_id=bucket.admin.access_key,
            aws_secret_access_key=bucket.admin.secret_key,
        ).put_object(Bucket=BUCKET, Key=f"{VAULT}/q.jsonl", Body=ROWS)
        yield bucket


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", TENANT.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TENANT.secret_key)


async def put_digest(bucket: S3Location, name: str) -> S3Location:
    """What a preflight of TRAINED leaves."""
    builder = DigestBuilder()
    for text in TRAINED:
        builder.add(1, find_entries(text))
    at = bucket.join(name, layout.TRAINING_DIGEST)
    async with Store() as store:
        await store.put(at, builder.build(len(TRAINED), "0" * 64).to_bytes(), "text/plain")
    return at


def order(server: Bucket, name: str, limit: int | None, **changes: Any) -> EvalJob:
    """Questions in the vault for a model that nobody serves: it must not get as far as asking."""
    vault = server.tenant.model_copy(update={"prefix": f"{VAULT}/q.jsonl"})
    suite = {
        "name": "one",
        "data": {"type": "S3", "location": vault.model_dump()},
        "metrics": ["ExactMatch"],
        "limit": None,
        "max_tokens": 4,
        "temperature": 0,
        "thinking": False,
        "seed": 1,
    }
    values = {
        "namespace": NAMESPACE,
        "name": name,
        "uid": name,
        "target": {"name": "target", "base_url": "http://127.0.0.1:1/v1", "model": "m"},
        "baselines": [],
        "suites": [suite],
        "holdout": {
            "training": server.tenant.join(name, layout.TRAINING_DIGEST).model_dump(),
            "max_leaked_percent": limit,
        },
        "data_credentials": True,
        "concurrency": 2,
        "output": server.tenant.join("evals", name).model_dump(),
    }
    return EvalJob.model_validate(values | changes)


def run(job: EvalJob, folder: Path, keys: s3.Credentials | None = EXAMINER) -> tuple[int, str]:
    """Exit code and log of the program; `keys` are those of the data."""
    path = folder / "job.json"
    path.write_bytes(job.to_json())
    data = {}
    if keys is not None:
        data = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    done = subprocess.run(
        [sys.executable, "-m", "qwen3_evaluator", str(path)],
        env={
            "PATH": "/usr/bin",
            "AWS_ACCESS_KEY_ID": TENANT.access_key,
            "AWS_SECRET_ACCESS_KEY": TENANT.secret_key,
            **{f"{ENV_DATA_PREFIX}{name}": value for name, value in data.items()},
        },
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr.decode()


async def report_of(job: EvalJob) -> EvalReport:
    async with Store() as store:
        written = await store.get(job.output.join(layout.REPORT))
    assert written is not None
    return EvalReport.model_validate_json(written)


async def test_too_much_leakage_ends_it_before_anything_is_asked(
    server: Bucket, tmp_path: Path
) -> None:
    await put_digest(server.tenant, "leaks")
    job = order(server, "leaks", 49)
    code, log = run(job, tmp_path)
    assert code == 42, log
    failure = (await report_of(job)).failure
    assert failure is not None
    assert failure.reason == "HoldoutLeaked"
    assert "2 of 4 questions of suite one are in the training data (line 1, 2)" in failure.message


async def test_a_limit_needs_something_to_compare_with(server: Bucket, tmp_path: Path) -> None:
    job = order(server, "undigested", 0)
    code, log = run(job, tmp_path)
    assert code == 42, log
    failure = (await report_of(job)).failure
    assert failure is not None
    assert failure.reason == "HoldoutUnknown"
    assert "undigested/training-digest" in failure.message


@pytest.mark.parametrize("keys", [TENANT, None], ids=["those of training", "none"])
async def test_nobody_else_reads_the_questions(
    server: Bucket, tmp_path: Path, keys: s3.Credentials | None
) -> None:
    """A missing key is no reason to try the other identity."""
    name = f"denied-{keys is None}"
    code, log = run(order(server, name, None), tmp_path, keys)
    assert code == 42, log
    assert "StorageDenied" in log or "CredentialsNotFound" in log


@pytest.mark.parametrize("digested", [True, False])
async def test_without_a_limit_leaks_are_told(
    server: Bucket, monkeypatch: pytest.MonkeyPatch, digested: bool
) -> None:
    monkeypatch.setenv(f"{ENV_DATA_PREFIX}AWS_ACCESS_KEY_ID", EXAMINER.access_key)
    monkeypatch.setenv(f"{ENV_DATA_PREFIX}AWS_SECRET_ACCESS_KEY", EXAMINER.secret_key)
    name = f"told-{digested}"
    if digested:
        await put_digest(server.tenant, name)
    job = order(server, name, None)
    async with Store(data_prefix=ENV_DATA_PREFIX) as store:
        sets = {"one": await read_questions(job.suites[0].data, None, store)}
        found = await check_holdout(job, sets, store)
        with pytest.raises(FailureError, match="the object store refused"):
            await store.get(server.tenant.model_copy(update={"prefix": f"{VAULT}/q.jsonl"}))
    assert [(f.leaked, f.by_text, f.questions, f.lines) for f in found] == (
        [(2, 2, 4, [1, 2])] if digested else []
    )


async def test_what_is_no_digest_is_none(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENV_DATA_PREFIX}AWS_ACCESS_KEY_ID", EXAMINER.access_key)
    monkeypatch.setenv(f"{ENV_DATA_PREFIX}AWS_SECRET_ACCESS_KEY", EXAMINER.secret_key)
    async with Store(data_prefix=ENV_DATA_PREFIX) as store:
        await store.put(server.tenant.join("torn", layout.TRAINING_DIGEST), b"{}", "text/plain")
        job = order(server, "torn", None)
        sets = {"one": await read_questions(job.suites[0].data, None, store)}
        assert await check_holdout(job, sets, store) == []
        with pytest.raises(FailureError) as told:
            await check_holdout(order(server, "torn", 100), sets, store)
    assert told.value.failure.reason == "HoldoutUnknown"
