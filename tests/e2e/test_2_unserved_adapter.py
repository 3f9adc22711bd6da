"""An adapter that does not serve is asked on the pool and unloaded; no public name notices."""

from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.report import Commit, adapter_id
from qwen3_local.tenants import TINY_MODEL
from support.finetunes import EVALS, Body, Tenant
from support.quickstart import NAMESPACE, QUICKSTART, agent_status, service_url, steady_stream
from support.waiting import wait_for

BUCKET = "qwen3"
FOLDER = f"qwen3/{NAMESPACE}/adapters/bought"
DATA = {"type": "ConfigMap", "configMap": {"name": "heldout", "key": "heldout.jsonl"}}


def spec(digest: str) -> Body:
    """A few questions to the adapter in FOLDER, against its base."""
    adapter = {
        "s3": {"uri": f"s3://{BUCKET}/{FOLDER}/"},
        "digest": digest,
        "baseModel": {"name": TINY_MODEL},
    }
    questions = {"data": DATA, "metrics": ["ExactMatch"], "limit": 5}
    return {
        "target": {"type": "Adapter", "adapter": adapter},
        "suites": [{"name": "few", "questions": questions, "generation": {"maxTokens": 48}}],
    }


def loaded(tenant: Tenant) -> set[str]:
    """Ids that pods of the pool have loaded."""
    said = [agent_status(pod) for pod in tenant.pool_pods()]
    return {a.id for status in said if status for a in status.adapters if a.state == "Loaded"}


@pytest.fixture(scope="module")
def digest(quickstart: Body, tenant: Tenant, bucket: Any) -> str:
    """The files of the revision that serves, copied as if they came from somewhere else."""
    body = tenant.wait_ready(QUICKSTART, 120)
    revision = body["status"]["serving"]["revision"]
    folder = layout.revision_prefix("qwen3", NAMESPACE, body["metadata"]["uid"], revision)
    found = bucket.get_object(Bucket=BUCKET, Key=f"{folder}/{layout.COMMIT}")["Body"].read()
    commit = Commit.model_validate_json(found)
    for file in commit.files:
        content = bucket.get_object(Bucket=BUCKET, Key=f"{commit.prefix}/{file.path}")[
            "Body"
        ].read()
        bucket.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{file.path}", Body=content)
    return commit.digest


def test_it_is_loaded_asked_and_unloaded(
    digest: str, quickstart: Body, tenant: Tenant, heldout: list[Body]
) -> None:
    serving = tenant.get(QUICKSTART)["status"]["serving"]
    model = adapter_id(NAMESPACE, "bought", digest)
    with steady_stream(service_url(tenant, quickstart), serving["modelName"]) as stream:
        tenant.create("bought", spec(digest), EVALS)
        wait_for(lambda: loaded(tenant), lambda ids: model in ids, "it is loaded", 180, 0.2)
        body = tenant.wait_ready("bought", 120, EVALS)
        wait_for(lambda: loaded(tenant), lambda ids: model not in ids, "it is unloaded", 180)
    status = body["status"]
    assert status["resolved"]["targetModel"] == model
    assert status["resolved"]["targetDigest"] == digest
    assert float(status["score"]) > float(status["results"][0]["baseline"])
    assert stream.failures == []
    assert stream.ids == [serving["modelID"]]


def test_other_files_than_those_of_the_digest_are_not_loaded(digest: str, tenant: Tenant) -> None:
    wrong = digest[::-1]
    tenant.create("forged", spec(wrong), EVALS)
    body = tenant.wait_stalled("forged", 60, EVALS)
    assert body["status"]["verdict"] == "Error"
    assert body["status"]["failure"]["reason"] == "ArtifactCorrupt"
    assert digest[:12] in body["status"]["failure"]["message"]
    assert adapter_id(NAMESPACE, "forged", wrong) not in loaded(tenant)
