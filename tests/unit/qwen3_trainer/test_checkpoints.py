"""Local checkpoints: which files count, which folders stay."""

import errno
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qwen3_api.job.report import SavedCheckpoint
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.checkpoints import (
    STATE_FILES,
    CheckpointUploader,
    Origin,
    best_step,
    changes,
    is_state_file,
    missing_files,
    origin_of,
)
from support.train_jobs import LOCATION, train_job

ONE_PROCESS = STATE_FILES - {"scaler.pt"}
TWO_PROCESSES = (ONE_PROCESS - {"rng_state.pth"}) | {"rng_state_0.pth", "rng_state_1.pth"}


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (ONE_PROCESS, set()),
        (TWO_PROCESSES, set()),
        (ONE_PROCESS - {"optimizer.pt"}, {"optimizer.pt"}),
        (ONE_PROCESS - {"rng_state.pth"}, {"rng_state.pth"}),
        (set(), STATE_FILES - {"scaler.pt"}),
    ],
)
def test_what_a_checkpoint_lacks(names: set[str], missing: set[str]) -> None:
    assert missing_files(names) == missing


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("optimizer.pt", True),
        ("origin.json", True),
        ("rng_state_17.pth", True),
        ("rng_state_x.pth", False),
        ("training_args.bin", False),
        ("pytorch_model.bin", False),
    ],
)
def test_which_files_belong_into_it(name: str, expected: bool) -> None:
    assert is_state_file(name) is expected


def _origin(data: str = "0", base: str = "b", start: str | None = None) -> Origin:
    digest = (
        {"location": LOCATION.model_dump(), "files": [], "digest": start * 64} if start else None
    )
    return origin_of(train_job(**{"adapter.start": digest}), data * 64, base)


@pytest.mark.parametrize(
    ("then", "today", "expected"),
    [
        (_origin(), _origin(), None),
        (_origin(start="a"), _origin(start="a"), None),
        (_origin("1"), _origin(), "the data set"),
        (_origin(base="c"), _origin(), "the base model"),
        (_origin(start="a"), _origin(start="b"), "the adapter to start from"),
        (_origin("1"), _origin(start="b"), "the data set and the adapter to start from"),
    ],
)
def test_a_checkpoint_is_gone_on_from_only_with_what_it_began_from(
    then: Origin, today: Origin, expected: str | None
) -> None:
    assert changes(then, today) == expected


def test_a_checkpoint_of_an_earlier_release_counts_for_a_new_adapter_only() -> None:
    old = Origin.model_validate({"dataset_sha256": "0" * 64, "base_commit": "b"})
    assert changes(old, _origin()) is None
    assert changes(old, _origin(start="a")) == "the adapter to start from"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"best_global_step": 5}', 5),
        ('{"best_global_step": null}', None),
        ('{"best_global_step": 0}', None),
        ('{"best_global_step": "5"}', None),
        ("{}", None),
        ("[]", None),
        ("{", None),
        (None, None),
    ],
)
def test_the_best_step_is_what_transformers_noted(
    tmp_path: Path, text: str | None, expected: int | None
) -> None:
    if text is not None:
        (tmp_path / "trainer_state.json").write_text(text)
    assert best_step(tmp_path) == expected


def _saved(folder: Path, step: int, best: int | None = None) -> Path:
    target = folder / f"checkpoint-{step}"
    target.mkdir()
    (target / "trainer_state.json").write_text(json.dumps({"best_global_step": best}))
    return target


class Save:
    """Uploads when it is let; remembers what."""

    def __init__(self, error: Exception | None = None) -> None:
        self.leave = threading.Event()
        self.leave.set()
        self.steps: list[int] = []
        self._error = error

    def __call__(self, folder: Path, step: int) -> SavedCheckpoint:
        assert self.leave.wait(20)
        assert folder.is_dir()
        self.steps.append(step)
        if self._error is not None:
            raise self._error
        return SavedCheckpoint(step=step, prefix="p", time="t")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_newest_and_the_best_stay_on_the_disk(tmp_path: Path) -> None:
    save = Save()
    uploader = CheckpointUploader(save, lambda _: None)
    uploader.start()
    for step, best in ((5, 5), (10, 5), (15, 5), (20, 20), (25, 20)):
        uploader.submit(_saved(tmp_path, step, best), step)
        _until(lambda step=step: step in save.steps)
        newest = uploader.newest
        assert newest is not None
        assert newest.name == f"checkpoint-{step}"
        expected = {f"checkpoint-{step}", f"checkpoint-{best}"}
        _until(lambda expected=expected: {p.name for p in tmp_path.iterdir()} == expected)
    uploader.close()
    assert save.steps == [5, 10, 15, 20, 25]
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-20", "checkpoint-25"}


def test_the_best_is_uploaded_though_newer_ones_overtake_it(tmp_path: Path) -> None:
    save = Save()
    save.leave.clear()
    uploader = CheckpointUploader(save, lambda _: None)
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2)):
        uploader.submit(_saved(tmp_path, step, best), step)
    uploader.start()
    save.leave.set()
    uploader.close()
    assert save.steps == [2, 4]


def test_a_best_that_is_beaten_is_overtaken_like_any_other(tmp_path: Path) -> None:
    save = Save()
    uploader = CheckpointUploader(save, lambda _: None)
    for step, best in ((1, 1), (2, 1), (3, 3), (4, 3)):
        uploader.submit(_saved(tmp_path, step, best), step)
    uploader.start()
    uploader.close()
    assert save.steps == [3, 4]


def test_a_best_that_fails_while_a_newer_waits_is_not_tried_without_a_pause(
    tmp_path: Path,
) -> None:
    save = Save(FailureError(Reason.STORAGE_UNAVAILABLE, "away"))
    uploader = CheckpointUploader(save, lambda _: None, retry_seconds=3600)
    for step in (1, 2):
        uploader.submit(_saved(tmp_path, step, 1), step)
    uploader.start()
    _until(lambda: save.steps == [1])
    uploader.close()
    # Once more each, since the run ends.
    assert save.steps == [1, 1, 2]


def test_a_folder_stays_while_it_is_uploaded_or_waits(tmp_path: Path) -> None:
    save = Save()
    save.leave.clear()
    uploader = CheckpointUploader(save, lambda _: None)
    uploader.start()
    for step in (1, 2, 3):
        uploader.submit(_saved(tmp_path, step), step)
    # 1 is on its way or was overtaken before it began; Save asserts that what it reads is there
    assert (tmp_path / "checkpoint-3").is_dir()
    save.leave.set()
    uploader.close()
    assert save.steps[-1] == 3
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-3"}


def test_a_full_disk_under_the_uploader_ends_the_run(tmp_path: Path) -> None:
    save = Save(OSError(errno.ENOSPC, "No space left on device"))
    uploader = CheckpointUploader(save, lambda _: None, retry_seconds=0.01)
    uploader.start()
    uploader.submit(_saved(tmp_path, 1), 1)
    _until(lambda: len(save.steps) > 1)
    with pytest.raises(FailureError) as caught:
        uploader.submit(_saved(tmp_path, 2), 2)
    assert caught.value.reason == Reason.DISK_FULL
    uploader.close()
