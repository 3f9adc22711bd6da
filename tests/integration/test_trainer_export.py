"""Real exports: merged by the trainer, converted and quantised by llama.cpp, loaded again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import adapter_digest
from qwen3_local.layout import current_home
from qwen3_local.tiny_model import model_folder
from support.export_runs import ExportRun, export_job, make_adapter, probe, run_export
from support.trainer_runs import BUCKET, Store, running_store

pytestmark = pytest.mark.integration
PROMPTS = [
    "<|im_start|>user\nHow do I reset my password?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\n你们几点开门？<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "The order number is 20417, and it",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Qwen3 that can learn, in several files as large models are."""
    folder = tmp_path_factory.mktemp("base")
    probe("shard", model_folder(current_home()), folder)
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    make_adapter(base, folder)
    return folder


@pytest.fixture(scope="module")
def store(base: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with base and adapter, and what a pod left that was killed while it uploaded."""
    with running_store(tmp_path_factory.mktemp("s3")) as running:
        running.upload_folder(base, "models/tiny")
        running.upload_folder(adapter, "runs/r1/adapter")
        running.put("runs/r1/exports/merged/pod-0/model.safetensors", b"half")
        yield running


@pytest.fixture(scope="module")
def exported(
    base: Path, adapter: Path, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> ExportRun:
    folder = tmp_path_factory.mktemp("export") / "pod-1"
    run = run_export(export_job(store, base, adapter), folder, store)
    assert run.exit_code == ExitCode.SUCCEEDED, run.log
    return run


def test_every_artifact_is_what_its_manifest_says(
    exported: ExportRun, adapter: Path, base: Path, tmp_path: Path
) -> None:
    for artifact in exported.job.artifacts:
        export = exported.export(artifact)
        assert export.digest == adapter_digest(export.files)
        assert export.adapter_digest == exported.job.adapter.digest
        exported.download(artifact, tmp_path / artifact)
        stored = exported.store.keys(f"runs/r1/exports/{artifact}/")
        assert {key.rsplit("/", 1)[1] for key in stored} == {
            "EXPORT.json",
            *(file.path for file in export.files),
        }, "the leftovers of a dead pod are gone"
    merged = {p.name for p in (tmp_path / "merged").iterdir()}
    assert merged == {p.name for p in base.iterdir()} | {"README.md"}
    assert {p.name for p in (tmp_path / "gguf-f16").iterdir()} == {"bot-f16.gguf", "Modelfile"}


def test_blocks_that_do_not_divide_a_row_fall_back_and_say_so(exported: ExportRun) -> None:
    """128 columns hold no block of 256: llama.cpp takes Q5_0 for Q4_K and Q8_0 for Q6_K."""
    assert set(exported.export("gguf-f16").tensor_types) == {"F16", "F32"}
    assert (
        {"Q5_0", "Q8_0"}
        <= set(exported.export("gguf-q4_k_m").tensor_types)
        <= {
            *("Q5_0", "Q8_0", "Q4_K", "Q6_K", "F32"),
        }
    )
    assert exported.export("gguf-q4_k_m").size < exported.export("gguf-f16").size


def test_rows_of_qwen3_s_own_widths_are_cut_into_k_blocks(tmp_path: Path) -> None:
    """All of them are multiples of 256."""
    wide, adapter = tmp_path / "wide", tmp_path / "adapter"
    probe("wide", model_folder(current_home()), wide)
    make_adapter(wide, adapter)
    with running_store(tmp_path / "s3") as store:
        store.upload_folder(wide, "models/tiny")
        store.upload_folder(adapter, "runs/r1/adapter")
        job = export_job(store, wide, adapter, merged=False, gguf=["q4_k_m"])
        run = run_export(job, tmp_path / "pod-1", store)
        assert run.exit_code == ExitCode.SUCCEEDED, run.log
        assert set(run.export("gguf-q4_k_m").tensor_types) == {"Q4_K", "Q6_K", "F32"}


def test_llama_cpp_answers_as_transformers_does(
    exported: ExportRun, base: Path, adapter: Path, tmp_path: Path
) -> None:
    """Token by token, from the prompt's text to the last greedy choice."""
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps(PROMPTS))
    merged = exported.download("merged", tmp_path / "merged")
    files = [
        exported.download(f"gguf-{type_}", tmp_path / type_) / f"bot-{type_}.gguf"
        for type_ in ("f16", "q4_k_m")
    ]
    found: dict[str, Any] = json.loads(
        probe("answer", base, adapter, merged, prompts, *files).splitlines()[-1]
    )
    assert found["weights"] < 0.01, "PEFT merges to the same weights, but for rounding to 16 bits"
    assert found["merged"] != found["base"], "the adapter changes the answers"
    assert found["gguf"][0] == found["merged"]
    assert all(len(set(answer)) > 1 for answer in found["gguf"][1])


def test_what_is_there_is_not_made_again(
    exported: ExportRun, base: Path, adapter: Path, store: Store, tmp_path: Path
) -> None:
    before = exported.export("merged")
    again = run_export(export_job(store, base, adapter), tmp_path / "pod-2", store)
    assert again.exit_code == ExitCode.SUCCEEDED, again.log
    assert not (tmp_path / "pod-2" / "work" / "base").exists()
    assert again.export("merged") == before


def test_another_base_is_refused(base: Path, adapter: Path, store: Store, tmp_path: Path) -> None:
    job = export_job(
        store, base, adapter, base_commit="0" * 64, output=store.location.join("runs/other")
    )
    run = run_export(job, tmp_path / "pod-3", store)
    assert run.exit_code == ExitCode.EXPORT_FAILED
    assert "was trained on 000000000000" in run.failure().message
    assert store.keys("runs/other/") == []


def test_a_damaged_adapter_is_refused(
    base: Path, adapter: Path, store: Store, tmp_path: Path
) -> None:
    weights = bytearray((adapter / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    store.put("runs/damaged/adapter_model.safetensors", bytes(weights))
    config = (adapter / "adapter_config.json").read_bytes()
    store.put("runs/damaged/adapter_config.json", config)
    job = export_job(store, base, adapter, output=store.location.join("runs/damaged"))
    location = store.location.join("runs/damaged")
    damaged = job.model_copy(
        update={"adapter": job.adapter.model_copy(update={"location": location})}
    )
    run = run_export(damaged, tmp_path / "pod-4", store)
    assert run.exit_code == ExitCode.EXPORT_FAILED
    assert "adapter_model.safetensors" in run.failure().message
    assert BUCKET in run.failure().message
