"""The adapter as others see it: config, card, digests."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwen3_api.job.report import Metrics, Provenance
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.card import read_license, render_card
from qwen3_trainer.failures import TrainerError
from qwen3_trainer.publish import ADAPTER_FILES, finish_adapter, served_config
from support.train_jobs import train_job

PEFT_CONFIG = {
    "base_model_name_or_path": "/work/base",
    "auto_mapping": {"base_model_class": "x"},
    "auto_map": {"AutoModel": "evil.py"},
    "revision": "main",
    "peft_type": "LORA",
    "r": 8,
    "target_modules": ["v_proj", "q_proj"],
}
METRICS = Metrics(
    final_loss=0.5,
    train_loss=1.25,
    eval_loss=0.75,
    steps=12,
    epochs=1.5,
    tokens=100,
    train_seconds=3.0,
    rows=30,
    truncated_rows=1,
)
PROVENANCE = Provenance(
    base_model="local/tiny-qwen3",
    base_commit="abc",
    dataset_sha256="0" * 64,
    chat_template_sha256="1" * 64,
    seed=7,
    image="",
    versions={"peft": "0.21.0"},
)


def test_the_config_names_the_served_base_and_no_code() -> None:
    served = served_config(PEFT_CONFIG, "Qwen/Qwen3-8B")
    assert served == {
        "base_model_name_or_path": "Qwen/Qwen3-8B",
        "revision": None,
        "peft_type": "LORA",
        "r": 8,
        "target_modules": ["q_proj", "v_proj"],
    }


def _adapter(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_equal_adapters_have_equal_digests(tmp_path: Path) -> None:
    shuffled = {**PEFT_CONFIG, "target_modules": ["q_proj", "v_proj"]}
    one = finish_adapter(_adapter(tmp_path / "a", PEFT_CONFIG), "b/m", "card")
    two = finish_adapter(_adapter(tmp_path / "b", dict(reversed(shuffled.items()))), "b/m", "card")
    assert one == two
    assert tuple(file.path for file in one) == ADAPTER_FILES


def test_an_adapter_without_safetensors_is_unusable(tmp_path: Path) -> None:
    folder = _adapter(tmp_path / "a", PEFT_CONFIG)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(TrainerError) as caught:
        finish_adapter(folder, "b/m", "card")
    assert caught.value.reason == Reason.ADAPTER_UNUSABLE


def test_the_card_has_front_matter_and_the_numbers() -> None:
    card = render_card(train_job(), METRICS, PROVENANCE, "apache-2.0")
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": "local/tiny-qwen3",
        "library_name": "peft",
        "license": "apache-2.0",
        "pipeline_tag": "text-generation",
        "tags": ["qwen3", "lora", "sft"],
    }
    for text in ("0" * 64, "1.2500 (mean), 0.5000 (last)", "0.7500", "| Seed | 7 |", "30 rows"):
        assert text in body


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n# Qwen3", "apache-2.0"),
        ("---\nlicense: [a]\n---\n", None),
        ("---\n: : :\n---\n", None),
        ("---\n- a\n---\n", None),
        ("# no front matter", None),
        ("", None),
    ],
)
def test_the_license_is_that_of_the_base(readme: str, expected: str | None) -> None:
    assert read_license(readme) == expected
