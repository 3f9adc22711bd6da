"""The evaluator on a real object store: conditional writes, and each failure by its name."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import EvalReport
from qwen3_api.pod.failure import FailureError
from qwen3_evaluator.store import Store
from support.evaluator_servers import NAMESPACE, TENANT, Bucket, seaweedfs

pytestmark = pytest.mark.integration

GOOD = b'{"question": "2+2?", "answer": "4"}\n'
NO_FILE = {"type": "File", "path": "/nowhere/q", "source": "ConfigMap q"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with seaweedfs(tmp_path_factory.mktemp("weed")) as bucket:
        yield bucket


@pytest.fixture
def bucket(server: Bucket) -> S3Location:
    return server.tenant


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", TENANT.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TENANT.secret_key)


async def test_an_object_is_written_once(bucket: S3Location) -> None:
    at = bucket.join("once", "report.json")
    async with Store() as store:
        assert await store.get(at) is None
        assert await store.put_once(at, b"1", "application/json") is True
        assert await store.put_once(at, b"2", "application/json") is False
        assert await store.get(at) == b"1"
        await store.delete(at)
        await store.delete(at)
        assert await store.get(at) is None


async def test_listing_stays_in_the_folder(bucket: S3Location) -> None:
    folder = bucket.join("list")
    async with Store() as store:
        for name in ("a-2", "a-1", "b-1", "a-3/deeper"):
            await store.put(folder.join(name), b"", "text/plain")
        found = await store.list_keys(folder, "a-")
    assert [location.prefix for location in found] == [
        folder.join(name).prefix for name in ("a-1", "a-2")
    ]


async def test_a_store_that_is_away_is_retriable() -> None:
    nobody = S3Location(endpoint="http://127.0.0.1:1", region=None, bucket="b", prefix="k")
    async with Store(attempts=1) as store:
        with pytest.raises(FailureError) as caught:
            await store.get(nobody)
    assert (caught.value.failure.reason, caught.value.exit_code) == ("StorageUnavailable", 46)


def order(bucket: S3Location, name: str, data: dict[str, Any]) -> dict[str, Any]:
    """A job whose models nobody serves: it must not get as far as asking."""
    return {
        "namespace": NAMESPACE,
        "name": name,
        "uid": name,
        "target": {"name": "target", "base_url": "http://127.0.0.1:1/v1", "model": "m"},
        "baselines": [],
        "suites": [
            {
                "name": "one",
                "data": data,
                "metrics": ["ExactMatch"],
                "limit": None,
                "max_tokens": 4,
                "temperature": 0,
                "thinking": False,
                "seed": 1,
            }
        ],
        "concurrency": 2,
        "output": bucket.join("evals", name).model_dump(),
    }


def run(job: dict[str, Any], folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and log entries of the program."""
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, "-m", "qwen3_evaluator", str(path)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


@dataclass(frozen=True)
class BadData:
    """An object of questions and what is said about it."""

    key: str
    content: bytes | None
    reason: str
    words: str


@pytest.mark.parametrize(
    "bad",
    [
        BadData(
            "none.jsonl",
            None,
            "DatasetNotFound",
            "team-a/none.jsonl doesn't exist",
        ),
        BadData(
            "empty.jsonl",
            b"\n",
            "DatasetEmpty",
            "team-a/empty.jsonl has no rows",
        ),
        BadData(
            "broken.jsonl",
            GOOD * 2 + b'{"question": "x"}\n',
            "DatasetInvalid",
            "line 3 of s3://tenants/qwen3/team-a/broken.jsonl: field answer is missing",
        ),
        BadData("rows.parquet", GOOD, "DatasetInvalid", "neither .jsonl nor .jsonl.gz"),
    ],
    ids=lambda bad: bad.key,
)
async def test_bad_data_ends_with_a_report_before_anything_is_asked(
    bucket: S3Location, tmp_path: Path, bad: BadData
) -> None:
    async with Store() as store:
        if bad.content is not None:
            await store.put(bucket.join(bad.key), bad.content, "text/plain")
        location = bucket.join(bad.key).model_dump()
        job = order(bucket, bad.key, {"type": "S3", "location": location})
        code, entries = run(job, tmp_path)
        written = await store.get(bucket.join("evals", bad.key, "report.json"))
    assert code == 42
    assert [e for e in entries if e["level"] == "error" and bad.words in e["message"]]
    assert written is not None
    report = EvalReport.model_validate_json(written)
    assert (report.outcome, report.results) == ("Failed", [])
    assert report.failure is not None
    assert report.failure.reason == bad.reason
    assert bad.words in report.failure.message
    # A second attempt finds the report and ends the same way.
    assert run(job, tmp_path)[0] == 42


async def test_a_missing_bucket_is_named(
    server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenant's key is refused there, as in any bucket that isn't its own.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.admin.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.admin.secret_key)
    elsewhere = server.tenant.model_copy(update={"bucket": "nobodys"})
    code, entries = run(order(elsewhere, "e", NO_FILE), tmp_path)
    assert code == 42
    assert "BucketNotFound: bucket nobodys doesn't exist" in entries[-1]["message"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "wrong")],
)
async def test_refused_credentials_are_named(
    bucket: S3Location,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv(variable, value)
    code, entries = run(order(bucket, "e", NO_FILE), tmp_path)
    assert code == 42
    assert "StorageDenied" in entries[-1]["message"]


async def test_the_data_of_others_is_refused(bucket: S3Location, tmp_path: Path) -> None:
    theirs = bucket.model_copy(update={"prefix": "qwen3/team-b/q.jsonl"})
    code, entries = run(
        order(bucket, "theirs", {"type": "S3", "location": theirs.model_dump()}), tmp_path
    )
    assert code == 42
    assert "StorageDenied" in entries[-1]["message"]
    assert theirs.uri in entries[-1]["message"]


async def test_missing_credentials_are_named(
    bucket: S3Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    code, entries = run(order(bucket, "e", NO_FILE), tmp_path)
    assert code == 42
    assert "CredentialsNotFound" in entries[-1]["message"]


def test_an_order_of_another_contract_is_refused(bucket: S3Location, tmp_path: Path) -> None:
    job = order(bucket, "e", NO_FILE) | {"contract": 2}
    code, entries = run(job, tmp_path)
    assert code == 42
    assert "BadConfig" in entries[-1]["message"]
