"""An adapter to go on from must be the committed one, and of the order's shape."""

from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.adapter_files import MAX_CONFIG_BYTES
from qwen3_api.job.base import FileDigest
from qwen3_api.job.report import adapter_digest
from qwen3_api.job.train import JobAdapter
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.start_adapter import fetch, misfits
from qwen3_trainer.store import Buckets
from support.start_adapters import CONFIG, OVERSIZE, commit_adapter
from support.train_jobs import LOCATION, train_job

FILES = ("README.md", "adapter_config.json", "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({}, []),
        ({"r": 16}, ["rank is 16, the order's 8"]),
        ({"lora_alpha": 32}, ["alpha is 32, the order's 8"]),
        ({"use_rslora": True}, ["use_rslora is True, the order's False"]),
        (
            {"target_modules": ["v_proj"]},
            ["target modules are v_proj, the order's gate_proj, q_proj, v_proj"],
        ),
        ({"r": 4, "lora_alpha": 4}, ["rank is 4, the order's 8", "alpha is 4, the order's 8"]),
        ({"r": None, "target_modules": "all-linear"}, 2),
    ],
)
def test_the_shape_must_be_the_orders(changes: dict[str, Any], problems: Any) -> None:
    found = misfits({**CONFIG, **changes}, train_job().adapter)
    assert found == problems or len(found) == problems


def _adapter(names: tuple[str, ...], digest: str | None = None) -> JobAdapter:
    files = [FileDigest(path=name, size=1, sha256="0" * 64) for name in names]
    start = {
        "location": LOCATION.join("adapter").model_dump(),
        "files": [file.model_dump() for file in files],
        "digest": digest or adapter_digest(files),
    }
    return train_job(**{"adapter.start": start}).adapter


def test_a_new_adapter_needs_no_files(tmp_path: Path) -> None:
    assert fetch(train_job().adapter, Buckets(), tmp_path) is None


@pytest.mark.parametrize(
    ("adapter", "problem"),
    [
        (_adapter(FILES, digest="1" * 64), "another digest"),
        (_adapter((*FILES, "adapter_model.bin")), "other files"),
        (_adapter(FILES[:2]), "other files"),
    ],
)
def test_nothing_is_fetched_for_a_doubtful_order(
    tmp_path: Path, adapter: JobAdapter, problem: str
) -> None:
    with pytest.raises(FailureError, match=problem) as caught:
        fetch(adapter, Buckets(), tmp_path)
    assert caught.value.reason == Reason.START_ADAPTER_NOT_FOUND
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [*OVERSIZE.values(), ({"adapter_config.json": b"[" * MAX_CONFIG_BYTES}, "not JSON")],
    ids=[*OVERSIZE, "nesting"],
)
def test_a_commit_that_nothing_should_parse_is_no_start(
    tmp_path: Path, changes: dict[str, bytes], words: str
) -> None:
    start, buckets = commit_adapter(changes)
    with pytest.raises(FailureError, match=words) as caught:
        fetch(train_job(**{"adapter.start": start.model_dump()}).adapter, buckets, tmp_path)
    assert caught.value.reason == Reason.START_ADAPTER_NOT_FOUND


def test_an_adapter_of_the_orders_shape_is_fetched(tmp_path: Path) -> None:
    start, buckets = commit_adapter({})
    adapter = train_job(**{"adapter.start": start.model_dump()}).adapter
    assert fetch(adapter, buckets, tmp_path) == tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {file.path for file in start.files}
