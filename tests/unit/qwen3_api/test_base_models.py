"""Which models are bases for adapters, by what their files say."""

from typing import Any

import pytest

from qwen3_api.base_models import find_unsupported

DENSE: dict[str, Any] = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}


@pytest.mark.parametrize(
    ("config", "files", "task"),
    [
        (DENSE, (), None),
        (DENSE, ("config.json", "model.safetensors", "generation_config.json"), "text-generation"),
        ({"model_type": "qwen3"}, (), None),
        ({"model_type": "qwen3", "architectures": None}, (), None),
        (DENSE | {"quantization_config": None}, (), None),
        (DENSE, (), "a task of tomorrow"),
    ],
)
def test_a_dense_qwen3_in_16_bits_is_a_base(
    config: dict[str, Any], files: tuple[str, ...], task: str | None
) -> None:
    assert find_unsupported("Qwen/Qwen3-8B", config, files, task) is None


@pytest.mark.parametrize(
    ("name", "architecture", "model_type"),
    [
        ("Qwen/Qwen3-30B-A3B", "Qwen3MoeForCausalLM", "qwen3_moe"),
        ("Qwen/Qwen3-VL-8B-Instruct", "Qwen3VLForConditionalGeneration", "qwen3_vl"),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen3NextForCausalLM", "qwen3_next"),
        ("Qwen/Qwen3-Omni-30B", "Qwen3OmniMoeForConditionalGeneration", "qwen3_omni_moe"),
        ("Qwen/Qwen3.5-9B", "Qwen3_5ForConditionalGeneration", "qwen3_5"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen2ForCausalLM", "qwen2"),
        ("meta-llama/Llama-3.1-8B", "LlamaForCausalLM", "llama"),
        # Its weights are a Qwen3's, what it does with them isn't.
        ("a/Qwen3-Reranker-0.6B-seq-cls", "Qwen3ForSequenceClassification", "qwen3"),
        ("a/Qwen3-8B", "Qwen3Model", "qwen3"),
        ("a/Qwen3-8B", "Qwen3ForCausalLM", "my_qwen3"),
    ],
)
def test_another_architecture_is_named_with_the_supported_one(
    name: str, architecture: str, model_type: str
) -> None:
    config = {"architectures": [architecture], "model_type": model_type, "text_config": DENSE}
    found = find_unsupported(name, config)
    assert found is not None
    assert found.message == (
        f"{name} is {architecture} (model_type {model_type}): only dense Qwen3 models "
        "(Qwen3ForCausalLM, model_type qwen3) are supported"
    )
    assert "Qwen/Qwen3-8B" in found.hint


@pytest.mark.parametrize(
    ("settings", "files", "sign"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, (), "config.json: awq"),
        ({"quantization_config": {"quant_method": "gptq"}}, (), "config.json: gptq"),
        ({"quantization_config": {"quant_method": "fp8"}}, (), "config.json: fp8"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            (),
            "config.json: bitsandbytes",
        ),
        ({"quantization_config": {}}, (), "quantization_config in its config.json"),
        ({"quantization_config": "?"}, (), "quantization_config in its config.json"),
        ({"compression_config": {"format": "int"}}, (), "compression_config in its config.json"),
        ({"quantization": {"bits": 4}}, (), "quantization in its config.json"),
        ({}, ("quantize_config.json",), "quantize_config.json"),
        ({}, ("hf_quant_config.json",), "hf_quant_config.json"),
    ],
)
def test_a_quantised_base_is_refused_for_the_16_bit_one(
    settings: dict[str, Any], files: tuple[str, ...], sign: str
) -> None:
    found = find_unsupported("Qwen/Qwen3-8B-X", DENSE | settings, files)
    assert found is not None
    assert f"is already quantized ({sign}" in found.message or f"{sign})" in found.message
    assert "16-bit model" in found.hint
    assert "adapter.type: QLoRA" in found.hint


@pytest.mark.parametrize(
    ("files", "task", "sign"),
    [
        (("modules.json",), None, "(modules.json)"),
        ((), "text-ranking", "(pipeline_tag text-ranking in its model card)"),
        ((), "feature-extraction", "(pipeline_tag feature-extraction in its model card)"),
    ],
)
def test_a_model_that_ranks_or_embeds_is_no_base(
    files: tuple[str, ...], task: str | None, sign: str
) -> None:
    found = find_unsupported("Qwen/Qwen3-Reranker-0.6B", DENSE, files, task)
    assert found is not None
    assert sign in found.message


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architectures": {}},
        {"architectures": [None, 3, {"a": 1}]},
        {"architectures": "x" * 9999, "model_type": "\n\x1b[31m" * 9999},
        {"architectures": ["y" * 9999] * 9999, "model_type": ["qwen3"]},
    ],
)
def test_whatever_a_config_holds_the_message_is_one_short_line(config: dict[str, Any]) -> None:
    found = find_unsupported("a/b", config)
    assert found is not None
    assert found.message.isprintable()
    assert len(found.message) < 512
