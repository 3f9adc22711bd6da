"""Which adapters a pod accepts: one good one, and a corpus of bad ones that must all be refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from qwen3_api.job.base import FileDigest
from qwen3_api.serving.pool import PoolAdapter
from qwen3_server.checks.verify import (
    MAX_TENSORS,
    check_content,
    check_declared,
    check_files,
    check_listing,
)
from qwen3_server.errors import AdapterError
from support.adapters import describe_adapter, make_adapter, make_huge_header, make_tensors

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
LIMIT = 10 * 1024**2


def check_all(folder: Path, adapter: PoolAdapter) -> None:
    """The checks in the order of a pull; the folder stands for the bucket too."""
    check_declared(adapter, LIMIT)
    check_listing({p.name: p.lstat().st_size for p in folder.iterdir()}, adapter.files)
    check_files(folder, adapter)
    check_content(folder, adapter, base_model="test/tiny", max_rank=16)


def reason_of(folder: Path, adapter: PoolAdapter) -> tuple[str, str]:
    with pytest.raises(AdapterError) as caught:
        check_all(folder, adapter)
    return str(caught.value.reason), caught.value.message


# Committed like this: the digests are right, the content breaks a rule.

Config = dict[str, Any]
BAD_CONFIGS: dict[str, tuple[Config, str]] = {
    "auto_map": ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
    "auto_map-null": ({"auto_map": None}, "auto_map"),
    "trust_remote_code": ({"trust_remote_code": False}, "trust_remote_code"),
    "unknown-key": ({"custom_loader": "evil.load"}, "custom_loader"),
    "peft-type": ({"peft_type": "IA3"}, "peft_type"),
    "task-type": ({"task_type": "SEQ_CLS"}, "task_type"),
    "other-base": ({"base_model_name_or_path": "unsloth/qwen3-bnb-4bit"}, "this pool serves"),
    "base-null": ({"base_model_name_or_path": None}, "this pool serves"),
    "rank-over-cap": ({"r": 32}, "up to 16"),
    "rank-differs": ({"r": 16}, "the commit says 8"),
    "rank-zero": ({"r": 0}, "not a rank"),
    "rank-bool": ({"r": True}, "not a rank"),
    "rank-text": ({"r": "8"}, "not a rank"),
    "bias": ({"bias": "all"}, "bias"),
    "modules-to-save": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "dora": ({"use_dora": True}, "use_dora"),
    "lora-bias": ({"lora_bias": True}, "lora_bias"),
    "qalora": ({"use_qalora": True}, "use_qalora"),
    "layer-replication": ({"layer_replication": [[0, 2]]}, "layer_replication"),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights"),
    "alora": ({"alora_invocation_tokens": [1, 2]}, "alora"),
    "other-target": ({"target_modules": ["q_proj", "lm_head"]}, "target_modules"),
    "target-regex": ({"target_modules": "(a+)+$"}, "target_modules"),
    "no-target": ({"target_modules": []}, "target_modules"),
    "rank-pattern": ({"rank_pattern": {"(a+)+$": 8}}, "rank_pattern"),
    "alpha-pattern": ({"alpha_pattern": {"(a+)+$": 8}}, "alpha_pattern"),
    "megatron": ({"megatron_core": "evil.core"}, "megatron_core"),
    "megatron-config": ({"megatron_config": {"x": 1}}, "megatron_config"),
    "token-training": ({"trainable_token_indices": [1]}, "trainable_token_indices"),
    "foreign-mapping": (
        {"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}},
        "auto_mapping",
    ),
    "alpha-text": ({"lora_alpha": "16"}, "lora_alpha"),
}


@pytest.mark.parametrize(("config", "words"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_configuration_that_breaks_a_rule_is_refused(
    tmp_path: Path, config: Config, words: str
) -> None:
    make_adapter(tmp_path, config=config)
    reason, message = reason_of(tmp_path, describe_adapter(tmp_path))
    assert reason == "ArtifactRefused"
    assert words in message


def _raw_config(content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / CONFIG).write_text(content)


def _edit_tensors(edit: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        edit(tensors)
        save_file(tensors, folder / WEIGHTS)

    return change


Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def _add_embedding(tensors: dict[str, np.ndarray]) -> None:
    tensors["base_model.model.model.embed_tokens.weight"] = np.zeros((4, 4), np.float32)


def _add_dora(tensors: dict[str, np.ndarray]) -> None:
    tensors[Q_A.replace("lora_A.weight", "lora_magnitude_vector")] = np.zeros(4, np.float32)


def _widen(tensors: dict[str, np.ndarray]) -> None:
    tensors[Q_A] = np.zeros((9, 64), np.float32)


def _to_integers(tensors: dict[str, np.ndarray]) -> None:
    tensors[Q_A] = np.zeros((8, 64), np.int64)


def _drop_half(tensors: dict[str, np.ndarray]) -> None:
    del tensors[Q_A]


def _drop_all(tensors: dict[str, np.ndarray]) -> None:
    tensors.clear()


def _empty_widths(tensors: dict[str, np.ndarray]) -> None:
    for name in tensors:
        tensors[name] = np.zeros((8, 0) if ".lora_A." in name else (0, 8), np.float32)


def _add_layers(tensors: dict[str, np.ndarray]) -> None:
    for layer in range(MAX_TENSORS // 2):
        tensors[Q_A.replace(".0.", f".{layer}.")] = np.zeros((8, 1), np.float32)
        tensors[Q_A.replace(".0.", f".{layer}.").replace("_A.", "_B.")] = np.zeros((1, 8), "f4")


def _write_notes(folder: Path) -> None:
    save_file(make_tensors(8, 1), folder / WEIGHTS, metadata={"notes": "x" * 70_000})


def _symlink(folder: Path) -> None:
    real = folder.parent / "elsewhere.safetensors"
    (folder / WEIGHTS).rename(real)
    (folder / WEIGHTS).symlink_to(real)


BAD_CONTENT: dict[str, tuple[Callable[[Path], object], str]] = {
    "not-json": (_raw_config("{"), "not valid JSON"),
    "a-list": (_raw_config("[]"), "not a JSON object"),
    "a-key-twice": (_raw_config('{"r": 8, "r": 8}'), "comes twice"),
    "deep-json": (_raw_config("[" * 30_000), "not valid JSON"),
    "huge-config": (_raw_config("{" + " " * 70_000 + "}"), "allowed"),
    "weights-are-a-pickle": (
        lambda f: (f / WEIGHTS).write_bytes(b"\x80\x04K\x01."),
        "safetensors",
    ),
    "weights-empty": (lambda f: (f / WEIGHTS).write_bytes(b""), "safetensors"),
    "header-lies": (
        lambda f: (f / WEIGHTS).write_bytes(b"\xff" * 8 + b"{}"),
        "safetensors",
    ),
    "truncated": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-4]),
        "safetensors",
    ),
    "embedding-inside": (_edit_tensors(_add_embedding), "not a LoRA matrix"),
    "magnitude-inside": (_edit_tensors(_add_dora), "not a LoRA matrix"),
    "other-rank-inside": (_edit_tensors(_widen), "the rank is 8"),
    "integers-inside": (_edit_tensors(_to_integers), "I64"),
    "half-a-pair": (_edit_tensors(_drop_half), "no counterpart"),
    "no-tensor": (_edit_tensors(_drop_all), "no tensor"),
    "no-width": (_edit_tensors(_empty_widths), "it holds nothing"),
    "many-tensors": (_edit_tensors(_add_layers), f"{MAX_TENSORS} are allowed"),
    "long-notes": (_write_notes, "bytes of notes"),
    "long-header": (
        lambda f: (f / WEIGHTS).write_bytes(make_huge_header(5 * 1024**2)),
        "its header has 5242872 bytes, 4194304 are allowed",
    ),
    "a-symlink": (_symlink, "not a plain file"),
}


@pytest.mark.parametrize(("change", "words"), BAD_CONTENT.values(), ids=BAD_CONTENT)
def test_content_that_breaks_a_rule_is_refused(
    tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    folder = tmp_path / "adapter"
    make_adapter(folder)
    change(folder)
    adapter = describe_adapter(folder)
    if change is _symlink:
        sizes = {f.path: f.size for f in adapter.files}
        check_listing(sizes, adapter.files)
        with pytest.raises(AdapterError, match=words):
            check_files(folder, adapter)
        return
    reason, message = reason_of(folder, adapter)
    assert reason == "ArtifactRefused"
    assert words in message


CHECK_IN_1_GIB = """
import pathlib, resource, sys, time
from qwen3_api.serving.pool import PoolAdapter
from qwen3_server.errors import AdapterError
from qwen3_server.checks.verify import check_content
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
adapter = PoolAdapter.model_validate_json(sys.stdin.read())
started = time.process_time()
try:
    check_content(pathlib.Path(sys.argv[1]), adapter, base_model="test/tiny", max_rank=16)
except AdapterError as error:
    print(error.reason, error.message, sep="\\n")
print(time.process_time() - started)
"""


def test_a_header_of_97_mb_is_refused_in_a_containers_memory(tmp_path: Path) -> None:
    make_adapter(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(make_huge_header())
    ended = subprocess.run(
        [sys.executable, "-c", CHECK_IN_1_GIB, str(tmp_path)],
        input=describe_adapter(tmp_path).to_json().decode(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    reason, message, seconds = ended.stdout.splitlines()
    assert reason == "ArtifactRefused"
    assert "its header has 96999992 bytes, 4194304 are allowed" in message
    assert float(seconds) < 1


# Changed after the commit: the digests don't fit any more.


def _flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


CHANGED_LATER: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "flipped-byte": (_flip_a_byte, "ArtifactCorrupt", "sha256"),
    "missing-file": (lambda f: (f / WEIGHTS).unlink(), "ArtifactCorrupt", "missing"),
    "longer": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes() + b"x"),
        "ArtifactCorrupt",
        "bytes",
    ),
    "pickle-added": (
        lambda f: (f / "adapter_model.bin").write_bytes(b"x"),
        "ArtifactRefused",
        "adapter_model.bin",
    ),
    "code-added": (lambda f: (f / "x.py").write_text("x"), "ArtifactRefused", "x.py"),
}


@pytest.mark.parametrize(("change", "reason", "words"), CHANGED_LATER.values(), ids=CHANGED_LATER)
def test_what_differs_from_the_commit_is_not_loaded(
    tmp_path: Path, change: Callable[[Path], object], reason: str, words: str
) -> None:
    make_adapter(tmp_path)
    adapter = describe_adapter(tmp_path)
    change(tmp_path)
    found, message = reason_of(tmp_path, adapter)
    assert found == reason
    assert words in message


# Bad commits.


@pytest.mark.parametrize(
    "name",
    [
        "adapter_model.bin",
        "adapter_model.pt",
        "modeling_qwen3.py",
        "sub/adapter_model.safetensors",
        "a/../../x.safetensors",
        "tokenizer.json",
        "x.safetensors.bin",
        "safetensors",
    ],
)
def test_a_committed_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    make_adapter(tmp_path)
    good = describe_adapter(tmp_path)
    extra = FileDigest(path=name, size=1, sha256="0" * 64)
    with pytest.raises(AdapterError, match="not allowed") as caught:
        check_declared(good.model_copy(update={"files": [*good.files, extra]}), LIMIT)
    assert caught.value.reason == "ArtifactRefused"


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_commit_without_a_needed_file_is_corrupt(tmp_path: Path, name: str) -> None:
    make_adapter(tmp_path)
    good = describe_adapter(tmp_path)
    files = [file for file in good.files if file.path != name]
    with pytest.raises(AdapterError, match="missing"):
        check_declared(good.model_copy(update={"files": files}), LIMIT)


def test_a_digest_of_other_files_is_corrupt(tmp_path: Path) -> None:
    make_adapter(tmp_path)
    other = describe_adapter(tmp_path).model_copy(update={"digest": "0" * 64})
    with pytest.raises(AdapterError, match="digest"):
        check_declared(other, LIMIT)


def test_more_files_than_a_commit_has_are_refused(tmp_path: Path) -> None:
    make_adapter(tmp_path)
    good = describe_adapter(tmp_path)
    more = [FileDigest(path=f"x{n}.safetensors", size=1, sha256="0" * 64) for n in range(62)]
    with pytest.raises(AdapterError, match="65 files, 64 are allowed"):
        check_declared(good.model_copy(update={"files": [*good.files, *more]}), LIMIT)


def test_a_file_named_twice_and_a_huge_adapter_are_refused(tmp_path: Path) -> None:
    make_adapter(tmp_path)
    good = describe_adapter(tmp_path)
    twice = good.model_copy(update={"files": [*good.files, good.files[0]]})
    with pytest.raises(AdapterError, match="twice"):
        check_declared(twice, LIMIT)
    with pytest.raises(AdapterError, match="this pool takes"):
        check_declared(good, 1000)


# Good ones.


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_rslora": True},
        {"a_flag_of_a_later_peft": False, "another": None, "third": {}},
        {
            "auto_mapping": {
                "base_model_class": "Qwen3ForCausalLM",
                "parent_library": "transformers.models.qwen3.modeling_qwen3",
                "unsloth_fixed": True,
            }
        },
    ],
)
def test_a_good_adapter_is_accepted(tmp_path: Path, config: Config) -> None:
    make_adapter(tmp_path, config=config)
    check_all(tmp_path, describe_adapter(tmp_path))


def test_half_precision_weights_are_accepted(tmp_path: Path) -> None:
    make_adapter(tmp_path)
    tensors = {k: v.astype(np.float16) for k, v in load_file(tmp_path / WEIGHTS).items()}
    save_file(tensors, tmp_path / WEIGHTS)
    check_all(tmp_path, describe_adapter(tmp_path))


def test_bfloat16_weights_are_accepted(tmp_path: Path) -> None:
    """numpy has no bfloat16: the header must do without it."""
    make_adapter(tmp_path)
    names = {name: list(t.shape) for name, t in load_file(tmp_path / WEIGHTS).items()}
    header, offset = {}, 0
    for name, shape in names.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    (tmp_path / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + bytes(offset))
    check_all(tmp_path, describe_adapter(tmp_path))


def test_what_a_tenant_wrote_is_one_short_printable_line(tmp_path: Path) -> None:
    make_adapter(tmp_path, config={"custom": "x\n\x1b[31m" * 1000})
    _, message = reason_of(tmp_path, describe_adapter(tmp_path))
    assert len(message) <= 512
    assert message.isprintable()
