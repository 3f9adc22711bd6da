"""Base models that fetch-base doesn't take."""

from pathlib import Path

import pytest

from qwen3_api.job.train import HuggingFaceModel
from qwen3_api.pod.failure import FailureError
from qwen3_server.base_model import check_base
from support.adapters import make_huge_header

MIB = 1024**2
SOURCE = HuggingFaceModel(repo="Qwen/Qwen3-8B")
CONFIG = '{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}'


def make_base(folder: Path, weights: bytes) -> None:
    (folder / "config.json").write_text(CONFIG)
    (folder / "model.safetensors").write_bytes(weights)


def test_a_base_with_a_header_that_no_model_has_is_refused(tmp_path: Path) -> None:
    make_base(tmp_path, make_huge_header(9 * MIB))
    with pytest.raises(
        FailureError, match=r"model.safetensors: its header has .* are allowed"
    ) as found:
        check_base(SOURCE, tmp_path)
    assert found.value.reason == "ArtifactRefused"


def test_a_base_may_have_more_tensors_than_an_adapter(tmp_path: Path) -> None:
    make_base(tmp_path, make_huge_header(5 * MIB))
    check_base(SOURCE, tmp_path)
