"""Small builders of what the operator's decisions look at: fine-tunes, Jobs, pods, commits, pools.

Everything has a good default; a test names only what it is about.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.base import FileDigest
from qwen3_api.job.export import Export
from qwen3_api.job.preflight import ModelShape, Preflight, TokenHistogram
from qwen3_api.job.report import (
    Commit,
    Metrics,
    Progress,
    Provenance,
    Sizing,
    adapter_digest,
    adapter_id,
)
from qwen3_api.serving.pool import AgentAdapter, AgentStatus, CurrentAlias
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.evaluation.views import Evaluation, parse_evaluation
from qwen3_operator.finetune.promotion import evaluation as desired_evaluation
from qwen3_operator.finetune.views import Alias, FineTune, ReadableFineTune, parse_finetune
from qwen3_operator.resources.identity import export_digest, spec_hash
from qwen3_operator.resources.names import export_name, job_name, preflight_name
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import JobView, Meta, PodView
from qwen3_operator.serving.views import PoolPod, PoolView
from qwen3_operator.settings import Settings

NAMESPACE, NAME, UID = "team-a", "bot", "uid-bot"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MODEL = "Qwen/Qwen3-8B"
SETTINGS = Settings.model_validate(
    {
        "images": {"trainer": "trainer:1", "server": "server:1", "evaluator": "evaluator:1"},
        "storage": {"default": {"endpoint": "http://s3.test:8333", "bucket": "qwen3"}},
        "catalogue": [{"name": MODEL, "source": {"type": "HuggingFace"}, "revision": "abc"}],
    }
)


SIZING = Sizing(
    micro_batch_size=2,
    gradient_accumulation_steps=8,
    gradient_checkpointing=True,
    quantized=False,
)
QWEN3_8B = ModelShape(
    hidden_size=4096,
    intermediate_size=12288,
    num_hidden_layers=36,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=128,
    vocab_size=151936,
    tie_word_embeddings=False,
)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge; a None removes the key."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merge(before if isinstance(before, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def build_settings(changes: Mapping[str, Any]) -> Settings:
    """SETTINGS with `changes` merged in, in wire names."""
    return Settings.model_validate(merge(SETTINGS.model_dump(by_alias=True), changes))


def build_spec(**changes: Any) -> dict[str, Any]:
    """A served fine-tune as a user writes it; `changes` are merged in, in wire names."""
    spec: dict[str, Any] = {
        "baseModel": {"name": MODEL},
        "dataset": {"train": {"type": "S3", "s3": {"uri": "s3://team-a/support.jsonl"}}},
        "serving": {"mode": "SharedBase"},
    }
    return merge(spec, changes)


def build_body(
    spec: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    *,
    name: str = NAME,
    uid: str = UID,
    generation: int = 1,
    created: datetime = NOW,
    deleting: bool = False,
    finalizers: tuple[str, ...] = (),
) -> dict[str, Any]:
    """A Qwen3FineTune as the API server stores it."""
    metadata: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": name,
        "uid": uid,
        "generation": generation,
        "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resourceVersion": "1",
        "finalizers": list(finalizers),
    }
    if deleting:
        metadata["deletionTimestamp"] = metadata["creationTimestamp"]
    body: dict[str, Any] = {
        "apiVersion": "qwen3.dev/v1alpha1",
        "kind": "Qwen3FineTune",
        "metadata": metadata,
        "spec": dict(spec if spec is not None else build_spec()),
    }
    if status is not None:
        body["status"] = dict(status)
    return body


def build_finetune(
    spec: Mapping[str, Any] | None = None,
    status: FineTuneStatus | None = None,
    settings: Settings = SETTINGS,
    **meta: Any,
) -> ReadableFineTune:
    """The same, parsed over the platform's settings."""
    ft = build_any_finetune(spec, status, settings, **meta)
    assert isinstance(ft, ReadableFineTune), ft.error
    return ft


def build_any_finetune(
    spec: Mapping[str, Any] | None = None,
    status: FineTuneStatus | None = None,
    settings: Settings = SETTINGS,
    **meta: Any,
) -> FineTune:
    """The same, readable or not."""
    wire = status.to_wire() if status is not None else None
    return parse_finetune(build_body(spec, wire, **meta), settings)


EVALUATION: dict[str, Any] = {
    "suites": [
        {
            "name": "held-out",
            "questions": {
                "data": {"type": "ConfigMap", "configMap": {"name": "exam", "key": "exam.jsonl"}},
                "metrics": ["ExactMatch"],
            },
        }
    ],
    "gates": [
        {
            "name": "better", "suite": "held-out", "metric": "ExactMatch", "baseline": "base",
            "minimumEffect": "0.1",
        },
        {
            "name": "no-worse", "suite": "held-out", "metric": "ExactMatch",
            "baseline": "incumbent", "maxRegression": "0.05",
        },
    ],
}  # fmt: skip
"""spec.evaluation of a fine-tune, in wire names."""


def build_evaluation(
    ft: FineTune, revision: str, incumbent: str | None, status: Mapping[str, Any] | None = None
) -> Evaluation:
    """The fine-tune's own Qwen3Eval about a revision, with a status in wire names."""
    spec = spec_of(ft)
    assert spec.evaluation is not None
    wanted = desired_evaluation.resolve_evaluation(
        ft.meta, spec, spec.evaluation, revision, incumbent
    )
    body = desired_evaluation.build_evaluation(ft.meta, wanted, revision)
    body["metadata"] |= {"uid": f"uid-{revision}", "creationTimestamp": "2026-03-01T11:00:00Z"}
    wire = {k: v for k, v in (status or {}).items() if k != "revision"}
    return parse_evaluation({**body, "status": wire}, SETTINGS)


def spec_of(ft: FineTune) -> FineTuneSpec:
    """The spec, which must have been readable."""
    assert isinstance(ft, ReadableFineTune), ft.error
    return ft.spec


def revision_of(ft: FineTune) -> str:
    """The revision that the spec asks for."""
    assert isinstance(ft, ReadableFineTune), ft.error
    return ft.revision


def storage_of(ft: FineTune) -> StorageTarget:
    """Where its artifacts go."""
    assert ft.storage is not None
    return ft.storage


def build_meta(**changes: Any) -> Meta:
    """Metadata of a fine-tune."""
    values: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": NAME,
        "uid": UID,
        "generation": 1,
        "created": NOW,
        "deleting": False,
        "finalizers": (),
    }
    return Meta(**(values | changes))


def build_job(ft: FineTune, **changes: Any) -> JobView:
    """The running Job of a fine-tune's revision."""
    revision = str(changes.pop("revision", revision_of(ft)))
    values: dict[str, Any] = {
        "name": job_name(ft.meta.name, revision),
        "uid": f"uid-job-{revision}",
        "owner_uid": ft.meta.uid,
        "revision": revision,
        "suspended": False,
        "parked": False,
        "complete": False,
        "failed": False,
        "failed_reason": "",
        "failed_message": "",
        "failures": 0,
        "start_time": "2026-03-01T11:00:00Z",
        "ttl": None,
        "deleting": False,
    }
    return JobView(**(values | changes))


def build_pod(number: int = 0, **changes: Any) -> PodView:
    """A running training pod; a higher number is younger."""
    values: dict[str, Any] = {
        "name": f"pod-{number}",
        "uid": f"uid-pod-{number}",
        "phase": "Running",
        "created": NOW + timedelta(seconds=number),
        "deleting": False,
        "exit_code": None,
        "termination_message": "",
        "waiting_reason": "",
        "waiting_message": "",
        "unschedulable": "",
    }
    return PodView(**(values | changes))


def build_preflight(ft: FineTune, **changes: Any) -> Preflight:
    """What the preflight of a fine-tune's revision found."""
    return build_preflight_document(spec_hash(spec_of(ft)), **changes)


def build_preflight_document(digest: str, **changes: Any) -> Preflight:
    """preflight.json of 800 good rows."""
    values: dict[str, Any] = {
        "spec_hash": digest,
        "rows": 800,
        "tokens": 400_000,
        "lengths": TokenHistogram(
            counted_rows=800,
            mean=500.0,
            p50=480,
            p95=900,
            p99=1000,
            maximum=1024,
            buckets=[(512, 500), (1024, 300)],
        ),
        "truncated_percent": 0.0,
        "leaked_rows": 0,
        "dataset_sha256": "1" * 64,
        "chat_template_sha256": "2" * 64,
        "shape": QWEN3_8B,
        "seconds": 3.5,
        "finished": "2026-03-01T10:59:00Z",
    }
    return Preflight.model_validate(values | changes)


def build_preflight_job(ft: FineTune, **changes: Any) -> JobView:
    """The running preflight Job of a fine-tune's revision."""
    revision = revision_of(ft)
    name = preflight_name(ft.meta.name, revision)
    return build_job(ft, **{"name": name, "uid": f"uid-{name}", **changes})


def build_progress(**changes: Any) -> Progress:
    """Progress of `build_pod(0)` in mid-run."""
    values: dict[str, Any] = {
        "attempt": "uid-pod-0",
        "phase": "Training",
        "step": 42,
        "total_steps": 120,
        "epoch": 1.05,
        "loss": 0.51239,
        "learning_rate": 0.0002,
        "tokens_per_second": 1234.5,
        "eta_seconds": 90,
        "started": "2026-03-01T11:00:00Z",
        "updated": "2026-03-01T11:59:00Z",
    }
    return Progress.model_validate(values | changes)


def build_commit(
    ft: FineTune, revision: str | None = None, *, content: str = "", **changes: Any
) -> Commit:
    """The result of a revision; `content` makes its bytes, and so its digest, differ."""
    revision = revision or revision_of(ft)
    files = [
        FileDigest(path=path, size=3, sha256=sha256(f"{path} {revision} {content}".encode()))
        for path in ("adapter_config.json", "adapter_model.safetensors")
    ]
    folder = layout.revision_prefix("qwen3", ft.meta.namespace, ft.meta.uid, revision)
    values: dict[str, Any] = {
        "spec_hash": revision.ljust(64, "0"),
        "revision": revision,
        "attempt": "uid-pod-0",
        "prefix": f"{folder}/{layout.ATTEMPTS}/uid-pod-0/{layout.ADAPTER}",
        "files": files,
        "digest": adapter_digest(files),
        "rank": 16,
        "metrics": build_metrics(),
        "provenance": Provenance(
            base_model=MODEL,
            base_commit="abc",
            dataset_sha256="1" * 64,
            chat_template_sha256="2" * 64,
            seed=3407,
            image="trainer:1",
            versions={},
        ),
        "committed": "2026-03-01T11:59:30Z",
    }
    return Commit.model_validate(values | changes)


def build_export(ft: FineTune, artifact: str, **changes: Any) -> Export:
    """EXPORT.json of one artifact of a fine-tune's revision."""
    revision, suffix = revision_of(ft), "safetensors" if artifact == "merged" else "gguf"
    folder = layout.revision_prefix("qwen3", ft.meta.namespace, ft.meta.uid, revision)
    files = [FileDigest(path=f"model.{suffix}", size=2**33, sha256=sha256(artifact.encode()))]
    values: dict[str, Any] = {
        "artifact": artifact,
        "spec_hash": spec_hash(spec_of(ft)),
        "revision": revision,
        "attempt": "uid-export-0",
        "prefix": f"{layout.export_prefix(folder, artifact)}/uid-export-0",
        "files": files,
        "digest": adapter_digest(files),
        "adapter_digest": build_commit(ft).digest,
        "base_commit": "abc",
        "written": "2026-03-01T11:59:50Z",
    }
    return Export.model_validate(values | changes)


def build_export_job(ft: FineTune, **changes: Any) -> JobView:
    """The running export Job of a fine-tune's revision."""
    name = export_name(ft.meta.name, revision_of(ft))
    values = {"name": name, "uid": f"uid-{name}", "export": export_digest(spec_of(ft))}
    return build_job(ft, **(values | changes))


def build_metrics(**changes: Any) -> Metrics:
    """Numbers of a finished run."""
    values: dict[str, Any] = {
        "final_loss": 0.25,
        "train_loss": 0.5,
        "steps": 120,
        "epochs": 3.0,
        "tokens": 1000,
        "train_seconds": 60.0,
        "rows": 100,
        "truncated_rows": 0,
    }
    return Metrics.model_validate(values | changes)


def sha256(content: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(content).hexdigest()


def id_of(ft: FineTune, commit: Commit) -> str:
    """The immutable id under which a commit is served."""
    return adapter_id(ft.meta.namespace, ft.meta.name, commit.digest)


def build_current(ft: FineTune, commit: Commit, **changes: Any) -> CurrentAlias:
    """The public name of a fine-tune, standing for a commit."""
    values: dict[str, Any] = {
        "alias": f"{ft.meta.namespace}.{ft.meta.name}",
        "owner_uid": ft.meta.uid,
        "owner_name": ft.meta.name,
        "revision": commit.revision,
        "id": id_of(ft, commit),
        "digest": commit.digest,
        "promoted": "2026-03-01T11:59:40Z",
    }
    return CurrentAlias.model_validate(values | changes)


def build_alias(ft: FineTune, commit: Commit, **changes: Any) -> Alias:
    """The same as it was read."""
    return Alias(build_current(ft, commit, **changes), '"etag"')


def build_agent(
    pod: str,
    loaded: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    *,
    failed: Mapping[str, str] | None = None,
    ready: bool = True,
) -> AgentStatus:
    """What a sidecar says. loaded: digests by id; failed: reasons by id."""
    adapters = [AgentAdapter(id=i, digest=d, state="Loaded") for i, d in (loaded or {}).items()]
    adapters += [
        AgentAdapter(id=i, digest="", state="Failed", reason=r, message="said so")
        for i, r in (failed or {}).items()
    ]
    return AgentStatus(
        pod=pod, ready=ready, serial=1, adapters=adapters, aliases=dict(aliases or {})
    )


def build_pool_pod(
    name: str = "server-0",
    loaded: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    *,
    ready: bool = True,
    failed: Mapping[str, str] | None = None,
    silent: bool = False,
) -> PoolPod:
    """A pod of a pool. silent: its sidecar doesn't answer."""
    agent = build_agent(name, loaded, aliases, failed=failed, ready=ready)
    return PoolPod(name, ready, None if silent else agent)


def build_pool(*pods: PoolPod, replicas: int = 1, **changes: Any) -> PoolView:
    """A pool with these pods."""
    values: dict[str, Any] = {
        "name": "pool-qwen3-8b-abc123",
        "exists": True,
        "desired_replicas": replicas,
        "pods": pods,
    }
    return PoolView(**(values | changes))


def serving_pod(ft: FineTune, commit: Commit, name: str = "server-0", **changes: Any) -> PoolPod:
    """A ready pod that answers the fine-tune's public name from a commit."""
    id_ = id_of(ft, commit)
    alias = f"{ft.meta.namespace}.{ft.meta.name}"
    return build_pool_pod(name, {id_: commit.digest}, {alias: id_}, **changes)
