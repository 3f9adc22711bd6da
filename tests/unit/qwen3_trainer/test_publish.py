"""The adapter as others see it: config, card, digests."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from qwen3_api.job.report import Metrics, Provenance, Sizing
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.card import render_card, render_plain_card, resolved_configuration
from qwen3_trainer.publish import ADAPTER_FILES, finish_adapter, served_config
from support.train_jobs import LOCATION, train_job

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
    configuration=resolved_configuration(train_job(), None),
    license="apache-2.0",
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
    with pytest.raises(FailureError) as caught:
        finish_adapter(folder, "b/m", "card")
    assert caught.value.reason == Reason.ADAPTER_UNUSABLE


def _parts(card: str) -> tuple[dict[str, Any], str]:
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_card_has_front_matter_and_the_numbers() -> None:
    front, body = _parts(render_card(train_job(), METRICS, PROVENANCE))
    index = front.pop("model-index")
    assert front == {
        "base_model": "local/tiny-qwen3",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "license": "apache-2.0",
        "pipeline_tag": "text-generation",
        "tags": ["qwen3", "lora", "sft", "trl", "unsloth"],
    }
    assert index[0]["results"][0]["metrics"][0]["value"] == 0.75
    for text in (
        *("0" * 64, "1" * 64, "1.2500 (mean), 0.5000 (last)", "0.7500", "| Seed | 7 |", "30 rows"),
        *("| Thinking | AsInData |", "| peft | 0.21.0 |", "| Start | a new adapter |", "at `abc`"),
    ):
        assert text in body


def test_the_card_tells_what_was_in_force_and_where_it_began() -> None:
    job = train_job(
        method="DPO",
        dpo={"beta": 0.1, "loss_type": "ipo"},
        image="registry/trainer@sha256:beef",
        **{
            "adapter.start": {
                "location": LOCATION.join("secret-place").model_dump(),
                "files": [],
                "digest": "d" * 64,
            }
        },
    )
    sizing = Sizing(
        micro_batch_size=1,
        gradient_accumulation_steps=4,
        gradient_checkpointing=True,
        quantized=True,
    )
    provenance = PROVENANCE.model_copy(
        update={
            "sizing": sizing,
            "configuration": resolved_configuration(job, sizing),
            "license": None,
            "started_from": "d" * 64,
            "image": job.image,
            "validation_sha256": "e" * 64,
            "thinking": "Disabled",
        }
    )
    metrics = METRICS.model_copy(update={"best_step": 8, "eval_loss": None})
    front, body = _parts(render_card(job, metrics, provenance))
    assert (front["license"], front["license_name"]) == ("other", "that-of-the-base-model")
    assert "dpo" in front["tags"]
    assert "model-index" not in front
    for text in (
        *("DPO (beta 0.1, ipo loss), QLoRA (nf4)", "d" * 64, "e" * 64, "| Thinking | Disabled |"),
        *("| Batch | 1 x 4 rows x 1 |", "`registry/trainer@sha256:beef`", "8 of 12, the best"),
    ):
        assert text in body


def test_card_and_manifest_say_the_same() -> None:
    document = json.loads(PROVENANCE.model_dump_json())
    front, body = _parts(render_card(train_job(), METRICS, PROVENANCE))
    assert front["license"] == document["license"] == "apache-2.0"
    written = body.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(written) == document["configuration"]
    assert document["configuration"]["hyperparameters"]["learning_rate"] == 1e-2


def test_a_manifest_of_an_earlier_release_is_read_and_a_large_one_refused() -> None:
    old = PROVENANCE.model_dump(exclude={"configuration", "license"})
    assert Provenance.model_validate(old).configuration is None
    with pytest.raises(ValidationError, match="8192 characters"):
        Provenance.model_validate({**old, "configuration": {"x": "y" * 8192}})


def test_the_configuration_holds_values_and_no_places() -> None:
    configuration = resolved_configuration(train_job(), None)
    assert configuration["hyperparameters"]["learning_rate"] == 1e-2
    assert configuration["checkpoint"]["load_best"] is True
    assert configuration["dataset"] == {
        "format": "Auto",
        "max_sequence_length": 160,
        "thinking": "AsInData",
    }
    assert "start" not in configuration["adapter"]
    card = render_card(train_job(), METRICS, PROVENANCE)
    assert yaml.safe_load(card.split("```yaml\n")[1].split("```")[0]) == configuration
    assert LOCATION.endpoint is not None
    assert LOCATION.endpoint not in card


@pytest.mark.parametrize(
    ("license_name", "problem", "row"),
    [
        ("apache-2.0", "", "| Its license | apache-2.0 |"),
        (None, "its front matter is not UTF-8", "| unknown: its front matter is not UTF-8 |"),
    ],
)
def test_the_card_says_why_a_license_is_unknown(
    license_name: str | None, problem: str, row: str
) -> None:
    provenance = PROVENANCE.model_copy(update={"license": license_name})
    front, body = _parts(render_card(train_job(), METRICS, provenance, problem))
    assert row in body
    assert front["license"] == (license_name or "other")


def test_the_plain_card_is_one_too() -> None:
    front, body = _parts(render_plain_card(train_job()))
    assert (front["base_model"], front["license"]) == ("local/tiny-qwen3", "other")
    assert "COMMIT.json of the revision r1 of team-a/bot" in body


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_leaves_the_commit_readable(number: float) -> None:
    metrics = METRICS.model_copy(update={"final_loss": number, "eval_loss": number})
    read = Metrics.model_validate_json(metrics.to_json())
    assert str(read.final_loss) == str(read.eval_loss) == str(number)
    assert render_card(train_job(), metrics, PROVENANCE)
