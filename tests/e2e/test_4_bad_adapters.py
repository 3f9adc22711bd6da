"""Damaged and hostile adapters in the bucket are never loaded; the incumbent serves on.

Each case edits the seed of the serving fine-tune while it is suspended, so that no trainer runs,
and writes a result for the new revision as a trainer would, but for the one thing that is wrong.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.report import Commit, FileDigest, adapter_digest
from qwen3_local import tenants
from support.adapters import make_huge_header
from support.finetunes import Body, Tenant, is_true
from support.quickstart import NAMESPACE, QUICKSTART, agent_status, ask, service_url

Files = dict[str, bytes]
BUCKET = "qwen3"


def flipped_byte(files: Files) -> tuple[Files, Files]:
    weights = bytearray(files["adapter_model.safetensors"])
    weights[-1] ^= 1
    return files, files | {"adapter_model.safetensors": bytes(weights)}


def missing_file(files: Files) -> tuple[Files, Files]:
    return files, {k: v for k, v in files.items() if k != "adapter_config.json"}


def pickle_file(files: Files) -> tuple[Files, Files]:
    both = files | {"adapter_model.bin": b"\x80\x04."}
    return both, both


def other_base(files: Files) -> tuple[Files, Files]:
    config = json.loads(files["adapter_config.json"])
    config["base_model_name_or_path"] = "Qwen/Qwen3-8B"
    changed = files | {"adapter_config.json": json.dumps(config).encode()}
    return changed, changed


def foreign_auto_map(files: Files) -> tuple[Files, Files]:
    config = json.loads(files["adapter_config.json"])
    config["auto_map"] = {"AutoModel": "evil/repo--modeling.Evil"}
    changed = files | {"adapter_config.json": json.dumps(config).encode()}
    return changed, changed


def huge_header(files: Files) -> tuple[Files, Files]:
    """Parsed, it takes 1.4 GiB; the sidecar has 1 GiB."""
    changed = files | {"adapter_model.safetensors": make_huge_header()}
    return changed, changed


CASES = [
    (flipped_byte, "ArtifactCorrupt"),
    (missing_file, "ArtifactCorrupt"),
    (pickle_file, "ArtifactRefused"),
    (other_base, "ArtifactRefused"),
    (foreign_auto_map, "ArtifactRefused"),
    (huge_header, "ArtifactRefused"),
]


@pytest.fixture(scope="module")
def good(quickstart: Body, tenant: Tenant, platform: Any) -> tuple[Commit, Files]:
    """The commit that serves, with its files."""
    store = tenants.client(platform)
    body = tenant.wait_ready(QUICKSTART)
    folder = layout.revision_prefix(
        "qwen3", NAMESPACE, body["metadata"]["uid"], body["status"]["currentRevision"]
    )

    def read(key: str) -> bytes:
        return bytes(store.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    commit = Commit.model_validate_json(read(f"{folder}/{layout.COMMIT}"))
    return commit, {f.path: read(f"{commit.prefix}/{f.path}") for f in commit.files}


@pytest.mark.parametrize(("damage", "reason"), CASES, ids=[c[0].__name__ for c in CASES])
def test_a_bad_adapter_is_never_served(
    damage: Callable[[Files], tuple[Files, Files]],
    reason: str,
    good: tuple[Commit, Files],
    tenant: Tenant,
    bucket: Any,
) -> None:
    commit, files = good
    incumbent = tenant.get(QUICKSTART)["status"]["serving"]
    before, starts = loaded(tenant), restarts(tenant)
    seed = 1000 + [c[0] for c in CASES].index(damage)
    tenant.patch(QUICKSTART, {"suspend": True, "hyperparameters": {"seed": seed}})
    body = tenant.wait(
        QUICKSTART,
        lambda b: (
            b["status"]["observedGeneration"] == b["metadata"]["generation"]
            and b["status"].get("candidateRevision") is not None
        ),
        "the new revision is known",
    )
    revision = body["status"]["candidateRevision"]
    write_result(bucket, body, revision, commit, *damage(dict(files)))
    # Nothing in the cluster tells that the bucket changed: a trainer's Job would have.
    tenant.custom.patch_namespaced_custom_object(
        "qwen3.dev", "v1alpha1", NAMESPACE, "qwen3finetunes", QUICKSTART,
        {"metadata": {"annotations": {"test/looked": revision}}},
    )  # fmt: skip
    body = tenant.wait_stalled(QUICKSTART, 180)
    failure = body["status"]["failure"]
    assert failure["reason"] == reason
    assert failure["message"]
    assert failure["hint"]
    assert not is_true(body, "Ready")
    assert is_true(body, "Served")
    assert body["status"]["serving"]["digest"] == incumbent["digest"]
    assert loaded(tenant) <= before
    assert restarts(tenant) == starts
    answer = ask(service_url(tenant, body), incumbent["modelName"], "Hello")
    assert answer.model_id == incumbent["modelID"]


def loaded(tenant: Tenant) -> set[tuple[str, str]]:
    """Id and digest of every adapter that the pool's pod holds."""
    said = agent_status(tenant.pool_pods()[0])
    assert said is not None
    return {(a.id, a.digest) for a in said.adapters if a.state == "Loaded"}


def restarts(tenant: Tenant) -> dict[str, int]:
    """Of the containers of the pool's pod: vLLM and its sidecar."""
    status = tenant.pool_pods()[0].status
    containers = [*status.container_statuses, *status.init_container_statuses]
    return {container.name: container.restart_count for container in containers}


def write_result(
    bucket: Any, body: Body, revision: str, commit: Commit, claimed: Files, stored: Files
) -> None:
    """A result of the revision: COMMIT.json tells of `claimed`, the bucket holds `stored`."""
    folder = layout.revision_prefix("qwen3", NAMESPACE, body["metadata"]["uid"], revision)
    prefix = f"{layout.attempt_prefix(folder, 'by-hand')}/{layout.ADAPTER}"
    digests = [
        FileDigest(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in claimed.items()
    ]
    digest = adapter_digest(digests)
    for name, data in stored.items():
        bucket.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=data)
    spec_hash = next(r for r in body["status"]["revisions"] if r["id"] == revision)["specHash"]
    changed = commit.model_copy(
        update={
            "spec_hash": spec_hash, "revision": revision, "attempt": "by-hand", "prefix": prefix,
            "files": digests, "digest": digest,
        }
    )  # fmt: skip
    bucket.put_object(
        Bucket=BUCKET, Key=f"{folder}/{layout.COMMIT}", Body=changed.to_json(), IfNoneMatch="*"
    )


def test_it_recovers_when_the_edit_is_taken_back(
    good: tuple[Commit, Files], tenant: Tenant
) -> None:
    """The last in this file: leaves the fine-tune as the others want it."""
    commit, _ = good
    tenant.patch(
        QUICKSTART,
        {"suspend": False, "hyperparameters": {"seed": commit.provenance.seed}},
    )
    body = tenant.wait_ready(QUICKSTART, 180)
    assert body["status"]["serving"]["digest"] == commit.digest
