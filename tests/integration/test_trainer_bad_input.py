"""Each bad input of a run: its reason, its exit code, without a retry, before torch is imported.

The interpreter of these runs has no torch at all.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import TrainReport
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_local import s3
from support.train_jobs import train_job
from support.trainer_runs import Store, rows, running_store, start_attempt

pytestmark = pytest.mark.integration
GOOD = rows(3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with good data, a base model that is none, and broken data."""
    with running_store(tmp_path_factory.mktemp("s3")) as running:
        line = GOOD.splitlines()
        running.put("data/train.jsonl", GOOD)
        running.put("data/empty.jsonl", b"\n")
        running.put("data/line-3.jsonl", b"\n".join([line[0], line[1], b'{"messages": [', line[2]]))
        running.put(
            "data/no-answer.jsonl",
            line[0] + b'\n{"messages": [{"role": "user", "content": "hi"}]}\n',
        )
        running.put("data/table.csv", b"a,b\n1,2\n")
        running.put("models/pickle/config.json", b'{"model_type": "qwen3"}')
        running.put("models/pickle/pytorch_model.bin", b"pickle")
        yield running


CASES: dict[str, tuple[dict[str, Any], Reason, str]] = {
    "no such object": (
        {"dataset.train.location.prefix": "data/none.jsonl"},
        Reason.DATASET_NOT_FOUND,
        "s3://qwen3/data/none.jsonl doesn't exist",
    ),
    "no such mounted file": (
        {"dataset.train": {"type": "File", "path": "/nowhere", "source": "ConfigMap d, key k"}},
        Reason.DATASET_NOT_FOUND,
        "ConfigMap d, key k doesn't exist",
    ),
    "no rows": (
        {"dataset.train.location.prefix": "data/empty.jsonl"},
        Reason.DATASET_EMPTY,
        "no rows",
    ),
    "a broken line 3": (
        {"dataset.train.location.prefix": "data/line-3.jsonl"},
        Reason.DATASET_INVALID,
        "line 3: not JSON",
    ),
    "a row without an answer": (
        {"dataset.train.location.prefix": "data/no-answer.jsonl"},
        Reason.DATASET_INVALID,
        "line 2: messages: no assistant answer",
    ),
    "an unknown kind of file": (
        {"dataset.train.location.prefix": "data/table.csv"},
        Reason.DATASET_INVALID,
        "unknown kind of file",
    ),
    "a base model of pickles": (
        {"base_model.source.location.prefix": "models/pickle"},
        Reason.BASE_MODEL_NOT_FOUND,
        "pickles are refused",
    ),
    "no such bucket": (
        {"output.bucket": "no-such-bucket"},
        Reason.BUCKET_NOT_FOUND,
        "bucket no-such-bucket doesn't exist",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_input_ends_the_run_at_once(store: Store, tmp_path: Path, case: str) -> None:
    changes, reason, words = CASES[case]
    prefix = f"runs/{case.replace(' ', '-')}"
    job = train_job(store.location, **{"output.prefix": prefix, **changes})
    attempt = start_attempt(job, "pod-1", tmp_path / "run", store)

    assert attempt.wait(240) == ExitCode.USER_ERROR, attempt.log
    assert "trying again" not in attempt.log
    failure = attempt.failure()
    assert failure.reason == reason
    assert words in failure.message
    assert failure.hint
    body = store.get(f"{prefix}/attempts/pod-1/report.json")
    if reason not in (Reason.BUCKET_NOT_FOUND, Reason.INVALID_SPEC):
        report = TrainReport.model_validate_json(body or b"")
        assert (report.outcome, report.failure) == ("Failed", failure)
    assert all(json.loads(line) for line in attempt.log.splitlines())


@pytest.mark.parametrize("kind", ["wrong key", "foreign prefix", "no key"])
def test_refused_credentials(store: Store, tmp_path: Path, kind: str) -> None:
    tenant = s3.Credentials("other-tenant", "other-tenant-secret")
    s3.ensure_identity(store.server, "other", tenant, s3.tenant_actions("team-b"))
    environ = {
        "wrong key": {"AWS_SECRET_ACCESS_KEY": "wrong"},
        "foreign prefix": {
            "AWS_ACCESS_KEY_ID": tenant.access_key,
            "AWS_SECRET_ACCESS_KEY": tenant.secret_key,
        },
        "no key": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
    }[kind]
    job = train_job(store.location)
    attempt = start_attempt(job, "pod-1", tmp_path / "run", store, environ=environ)

    assert attempt.wait(240) == ExitCode.USER_ERROR, attempt.log
    assert attempt.failure().reason == Reason.STORAGE_DENIED


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "Invalid JSON"),
        ('{"contract": 2}', "contract: Input should be 1"),
        ("{}", "namespace: Field required"),
        (None, "No such file"),
    ],
)
def test_an_order_of_another_release_is_refused(
    store: Store, tmp_path: Path, document: str | None, words: str
) -> None:
    attempt = start_attempt(
        train_job(store.location), "pod-1", tmp_path / "run", store, document=document
    )
    assert attempt.wait(240) == ExitCode.USER_ERROR, attempt.log
    assert attempt.failure().reason == Reason.BAD_CONFIG
    assert words in attempt.failure().message


def test_an_attempt_without_an_id_is_refused(store: Store, tmp_path: Path) -> None:
    attempt = start_attempt(train_job(store.location), "", tmp_path / "run", store)
    assert attempt.wait(240) == ExitCode.USER_ERROR
    assert attempt.failure().reason == Reason.BAD_CONFIG


def test_a_committed_revision_is_left_alone(store: Store, tmp_path: Path) -> None:
    store.put("runs/done/COMMIT.json", b"{}")
    job = train_job(store.location, **{"output.prefix": "runs/done"})
    attempt = start_attempt(job, "pod-1", tmp_path / "run", store)
    assert attempt.wait(240) == ExitCode.SUCCEEDED, attempt.log
    assert attempt.report().outcome == "AlreadyCommitted"
    assert store.get("runs/done/COMMIT.json") == b"{}"
    assert not (tmp_path / "run" / "termination-log").exists()


def test_waiting_for_an_absent_store_ends_with_sigterm(store: Store, tmp_path: Path) -> None:
    job = train_job(store.location, **{"output.endpoint": "http://127.0.0.1:9"})
    attempt = start_attempt(job, "pod-1", tmp_path / "run", store)
    attempt.wait_until(lambda a: "; trying again" in a.log)
    attempt.terminate()
    assert attempt.wait(300) == ExitCode.INTERRUPTED, attempt.log
