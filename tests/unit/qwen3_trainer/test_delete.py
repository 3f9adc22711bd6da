"""A key without the right to delete: the store answers 200 and keeps every object."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_api.job.base import S3Location
from qwen3_api.job.preflight import Preflight
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.checkpoints import STATE_FILES, CheckpointStore, Origin
from qwen3_trainer.environment import Paths
from qwen3_trainer.preflight import run as preflight
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.store import Bucket
from support.preflight_runs import preflight_job
from support.undeletable_store import UndeletableStore, undeletable_store

RIGHT = "s3:DeleteObject is needed"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[UndeletableStore]:
    """Running, with a key in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with undeletable_store() as running:
        yield running


def test_the_missing_right_is_named(store: UndeletableStore) -> None:
    bucket = Bucket(store.endpoint, None, "b")
    bucket.put("x", b"1")
    with pytest.raises(FailureError) as caught:
        bucket.delete(["x"])
    assert caught.value.reason == Reason.STORAGE_DENIED
    assert "refused to delete x (AccessDenied)" in caught.value.message
    assert RIGHT in caught.value.hint


def test_a_checkpoint_that_is_stored_counts_though_none_is_pruned(
    store: UndeletableStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = CheckpointStore(
        Bucket(store.endpoint, None, "b"),
        revision="r",
        attempt="a",
        spec_hash="s",
        origin=Origin(dataset_sha256="0" * 64, base_commit="base"),
        keep_last=1,
    )
    for step in (5, 10):
        folder = tmp_path / str(step)
        folder.mkdir()
        for name in STATE_FILES:
            (folder / name).write_text("{}")
        assert checkpoints.save(folder, step).step == step
    assert "older checkpoints stay in the bucket" in caplog.text
    assert RIGHT in caplog.text


def _preflight(store: UndeletableStore, tmp_path: Path) -> tuple[FailureError, Preflight]:
    job = preflight_job(S3Location(endpoint=store.endpoint, region=None, bucket="b"))
    run = preflight.Run(job, "pod-1", Paths(tmp_path, tmp_path / "termination-log"), Shutdown())
    with pytest.raises(FailureError) as caught:
        preflight.look_and_tell(run)
    return caught.value, Preflight.model_validate_json(store.objects[run.key])


def test_the_preflight_finds_it_out_before_any_gpu(store: UndeletableStore, tmp_path: Path) -> None:
    error, told = _preflight(store, tmp_path)
    assert error.reason == Reason.STORAGE_DENIED
    assert told.failure is not None
    assert RIGHT in told.failure.hint


def test_a_refusal_that_can_t_be_removed_is_not_told_again(
    store: UndeletableStore, tmp_path: Path
) -> None:
    _, first = _preflight(store, tmp_path)
    assert first.failure is not None
    stale = first.model_copy(
        update={"failure": first.failure.model_copy(update={"reason": "DatasetInvalid"})}
    )
    (key,) = [key for key in store.objects if key.endswith("preflight.json")]
    store.objects[key] = stale.to_json()

    _, told = _preflight(store, tmp_path)

    assert told.failure is not None
    assert told.failure.reason == Reason.STORAGE_DENIED
