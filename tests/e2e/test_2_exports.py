"""A model to take away: a trained adapter as GGUF, asked by llama.cpp's Python binding."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.export import Export
from support.export_runs import probe
from support.finetunes import Body, Tenant, is_true, stage
from support.quickstart import QUICKSTART, ask, service_url

QUESTIONS = 8


@pytest.fixture
def exported(quickstart: Body, tenant: Tenant) -> Iterator[Body]:
    """The fine-tune that serves, with an export; without it again afterwards."""
    trained = {j.metadata.uid for j in tenant.jobs(QUICKSTART)}
    tenant.patch(QUICKSTART, {"export": {"gguf": ["f16"]}})
    busy = tenant.wait(QUICKSTART, lambda b: stage(b) == "Exporting", "it exports", 180)
    assert is_true(busy, "Served")
    yield tenant.wait_ready(QUICKSTART, 180)
    tenant.patch(QUICKSTART, {"export": None})
    tenant.wait_ready(QUICKSTART, 180)
    assert {j.metadata.uid for j in tenant.jobs(QUICKSTART)} == trained, "it trained again"


def test_llama_cpp_answers_as_the_pool_does(
    exported: Body, tenant: Tenant, bucket: Any, heldout: list[Body], tmp_path: Path
) -> None:
    """Status names the folder; the file in it was made of the adapter that serves."""
    assert is_true(exported, "Exported")
    serving = exported["status"]["serving"]
    (told,) = exported["status"]["revisions"][0]["exports"]
    prefix = told["uri"].removeprefix("s3://qwen3/")
    manifest = f"{prefix.rsplit('/', 1)[0]}/{layout.EXPORT_MANIFEST}"
    body = bucket.get_object(Bucket="qwen3", Key=manifest)["Body"].read()
    export = Export.model_validate_json(body)
    assert (told["name"], told["digest"]) == ("gguf-f16", export.digest)
    assert told["sizeBytes"] == export.size
    assert export.adapter_digest == serving["digest"]

    gguf, questions = tmp_path / "model.gguf", tmp_path / "questions.json"
    bucket.download_file("qwen3", f"{prefix}/{QUICKSTART}-f16.gguf", str(gguf))
    asked = [row["question"] for row in heldout[:QUESTIONS]]
    questions.write_text(json.dumps(asked))
    answers = json.loads(probe("chat", gguf, questions).splitlines()[-1])
    url = service_url(tenant, exported)
    off: Body = {"chat_template_kwargs": {"enable_thinking": False}}
    served = [ask(url, serving["modelName"], question, **off).text for question in asked]
    same = sum(a == b for a, b in zip(answers, served, strict=True))
    # vLLM computes in bfloat16, where two tokens may come out as likely.
    assert same >= QUESTIONS - 2, list(zip(answers, served, strict=True))
