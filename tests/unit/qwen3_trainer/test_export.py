"""The export's pure parts: failures with hints that fit, pre-tokenizers, the card."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwen3_api.families.qwen3 import PRE_TOKENIZER_SPLIT
from qwen3_api.job.base import S3Location
from qwen3_api.job.export import ExportJob, gguf_name
from qwen3_api.job.train import HuggingFaceModel, JobBaseModel, StartAdapter
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.export import Quantization
from qwen3_trainer.environment import Paths
from qwen3_trainer.export.card import render_card
from qwen3_trainer.export.run import DISK_HINT, MEMORY_HINT, Run, fetch_adapter, name_failure
from qwen3_trainer.failures import killed_for_memory, killed_without_proof
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.worker.gguf import read_pre_tokenizer
from support.start_adapters import OVERSIZE, commit_adapter

BUCKET = S3Location(endpoint=None, region=None, bucket="qwen3", prefix="runs/r1")
JOB = ExportJob(
    namespace="team-a",
    name="bot",
    uid="uid-1",
    revision="r1",
    spec_hash="abc",
    base_model=JobBaseModel(name="Qwen/Qwen3-8B", source=HuggingFaceModel(repo="Qwen/Qwen3-8B")),
    base_commit="c0ffee",
    adapter=StartAdapter(location=BUCKET, files=[], digest="4" * 64),
    merged=True,
    gguf=[Quantization.Q4_K_M],
    thinking="AsInData",
    output=BUCKET,
)


def test_artifacts_have_names_that_the_bucket_and_status_share() -> None:
    assert JOB.artifacts == ["merged", "gguf-q4_k_m"]
    assert {gguf_name(q) for q in Quantization} == {f"gguf-{q.value}" for q in Quantization}


UNPROVED = killed_without_proof("merge", counted=True)


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Reason.DISK_FULL, DISK_HINT),
        (MemoryError(), Reason.OUT_OF_MEMORY, MEMORY_HINT),
        # Of a training pod it would say resources.memory, which an export doesn't have.
        (killed_for_memory("merge"), Reason.OUT_OF_MEMORY, MEMORY_HINT),
        (UNPROVED, Reason.TRAINER_FAILED, UNPROVED.hint),
        (FailureError(Reason.GATED_MODEL, "gated", "Accept."), Reason.GATED_MODEL, "Accept."),
        (KeyError("r"), Reason.TRAINER_FAILED, "The log of the export's pod has the traceback."),
    ],
)
def test_a_failure_says_what_mends_an_export(error: Exception, reason: Reason, hint: str) -> None:
    named = name_failure(error)
    assert (named.reason, named.hint) == (reason, hint)


def pre_tokenizer(regex: str, **level: Any) -> dict[str, Any]:
    return {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, **level},
        ],
    }


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (pre_tokenizer(PRE_TOKENIZER_SPLIT), "qwen2"),
        (pre_tokenizer(PRE_TOKENIZER_SPLIT, use_regex=True), None),
        (pre_tokenizer(r"\s+"), None),
        ({"type": "ByteLevel"}, None),
        (None, None),
    ],
)
def test_qwens_pre_tokenizer_is_known_by_its_rule(
    tmp_path: Path, found: dict[str, Any] | None, name: str | None
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"pre_tokenizer": found}))
    assert read_pre_tokenizer(tmp_path) == name


def test_the_card_says_what_it_was_made_of() -> None:
    card = render_card(JOB)
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["base_model"] == "Qwen/Qwen3-8B"
    assert all(text in card for text in ("c0ffee", "4" * 64, "team-a/bot", "r1"))


@pytest.mark.parametrize(("changes", "words"), OVERSIZE.values(), ids=OVERSIZE)
def test_a_commit_that_nothing_should_parse_is_not_exported(
    tmp_path: Path, changes: dict[str, bytes], words: str
) -> None:
    adapter, buckets = commit_adapter(changes)
    job = JOB.model_copy(update={"adapter": adapter})
    run = Run(job, "uid", Paths(tmp_path, tmp_path / "log"), Shutdown(), {}, buckets)
    with pytest.raises(FailureError, match=words) as caught:
        fetch_adapter(run)
    assert caught.value.reason == Reason.EXPORT_FAILED
