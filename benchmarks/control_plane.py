"""`make bench`: fine-tunes in a burst against a real API server, pods played by KWOK.

What is real: etcd, kube-apiserver, controllers, scheduler, the object store, the operator. What is
not: the nodes, whose pods KWOK runs and completes, and the trainer in them; this program writes the
results that the trainers would have committed.

Beside the operator's figure stands the API server's own ceiling, measured in the same run on the
same cores by the operator's own client without any operator: Jobs by server-side apply.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from kubernetes import client

from qwen3_api.job import layout
from qwen3_api.job.report import Commit, FileDigest, Metrics, Provenance, adapter_digest
from qwen3_api.job.train import TrainJob
from qwen3_local import kwok, s3
from qwen3_local.programs import stop_recorded
from qwen3_operator.controller.client import ApiServer, Client
from qwen3_operator.controller.connection import from_kubeconfig
from qwen3_operator.resources.kinds import FINE_TUNE, KINDS
from qwen3_operator.resources.labels import ANNOTATION_ORDER

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.control_plane import ControlPlane, running_control_plane
from support.finetunes import Tenant, is_true
from support.operator_process import running_operator
from support.preflights import write_preflights
from support.waiting import wait_for

NAMESPACE = "bench"
CONTENT = b"{}"
TRAINING = "app.kubernetes.io/component=trainer"
THREADS = 16
NODES = 4


@dataclass(frozen=True)
class Figures:
    """What one burst showed."""

    fine_tunes: int
    jobs_seconds: float
    """From the first CR sent to the last preflight Job there."""
    training_jobs_seconds: float
    """From the last preflight's result to the last training Job there."""
    created_seconds: float
    """Part of that: until the last CR was accepted."""
    trained_seconds: float
    """Until every fine-tune was Ready."""
    writes: float
    writes_by_kind: dict[str, float]
    ceiling_per_second: float
    """Jobs per second by server-side apply, without an operator."""
    memory_mib: float


def build_settings(store: s3.S3Server, credentials: Path) -> dict[str, Any]:
    """Settings of an operator outside the cluster."""
    credentials.mkdir(parents=True, exist_ok=True)
    (credentials / "AWS_ACCESS_KEY_ID").write_text(store.credentials.access_key)
    (credentials / "AWS_SECRET_ACCESS_KEY").write_text(store.credentials.secret_key)
    return {
        "operatorNamespace": "default",
        "images": {"trainer": "none", "server": "none", "evaluator": "none"},
        "storage": {
            "default": {
                "endpoint": store.endpoint,
                "bucket": s3.BUCKET,
                "credentialsDir": str(credentials),
            }
        },
        "catalogue": [{"name": "Qwen/Qwen3-8B", "source": {"type": "HuggingFace"}}],
        "training": {"cpu": "1m", "memory": "1Mi"},
    }


def commit_results(tenant: Tenant, bucket: Any) -> None:
    """Play the trainers: one tiny verified result for each order that a Job's pod would read."""
    for job in tenant.batch.list_namespaced_job(tenant.namespace, label_selector=TRAINING).items:
        annotations = job.spec.template.metadata.annotations
        _commit(bucket, TrainJob.model_validate_json(annotations[ANNOTATION_ORDER]))


def _commit(bucket: Any, job: TrainJob) -> None:
    files = [
        FileDigest(path=name, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
        for name in ("adapter_config.json", "adapter_model.safetensors")
    ]
    folder = f"{layout.attempt_prefix(job.output.prefix, 'bench')}/{layout.ADAPTER}"
    for file in files:
        bucket.put_object(Bucket=job.output.bucket, Key=f"{folder}/{file.path}", Body=CONTENT)
    zero = "0" * 64
    commit = Commit(
        spec_hash=job.spec_hash,
        revision=job.revision,
        attempt="bench",
        prefix=folder,
        files=files,
        digest=adapter_digest(files),
        rank=job.adapter.rank,
        metrics=Metrics(
            final_loss=0.0,
            train_loss=0.0,
            steps=1,
            epochs=1,
            tokens=1,
            train_seconds=0,
            rows=1,
            truncated_rows=0,
        ),
        provenance=Provenance(
            base_model=job.base_model.name,
            base_commit="bench",
            dataset_sha256=zero,
            chat_template_sha256=zero,
            seed=1,
            image="bench",
            versions={},
        ),
        committed="2026-01-01T00:00:00Z",
    )
    bucket.put_object(
        Bucket=job.output.bucket,
        Key=f"{job.output.prefix}/{layout.COMMIT}",
        Body=commit.to_json(),
        IfNoneMatch="*",
    )


async def _ceiling(kubeconfig: Path, count: int) -> float:
    """Jobs per second by server-side apply, THREADS at a time, in the operator's own client."""
    gate = asyncio.Semaphore(THREADS)
    async with ApiServer(from_kubeconfig([kubeconfig])) as api:
        writer = Client(api, KINDS, fence=lambda: True)

        async def one(number: int) -> None:
            async with gate:
                await writer.apply(_plain_job(number))

        started = time.perf_counter()
        await asyncio.gather(*(one(n) for n in range(count)))
        return count / (time.perf_counter() - started)


async def _create(kubeconfig: Path, names: list[str], spec: dict[str, Any]) -> None:
    """The fine-tunes, THREADS at a time, by the cheapest client at hand: what it takes of the
    processors is missing to what is measured."""
    gate = asyncio.Semaphore(THREADS)
    async with ApiServer(from_kubeconfig([kubeconfig])) as api:

        async def one(name: str) -> None:
            body = {
                "apiVersion": FINE_TUNE.api_version,
                "kind": FINE_TUNE.name,
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": spec,
            }
            async with gate:
                await api.request("create", FINE_TUNE, NAMESPACE, body=body)

        await asyncio.gather(*(one(name) for name in names))


def _plain_job(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"ceiling-{number}", "namespace": "ceiling"},
        "spec": {
            "suspend": True,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "c", "image": "none"}],
                }
            },
        },
    }


def run_burst(count: int, folder: Path) -> Figures:
    """One burst of `count` fine-tunes, from nothing to all Ready."""
    store = s3.start(address="127.0.0.1", port=18433, folder=folder / "s3")
    try:
        with running_control_plane(scheduler=True) as plane:
            kwok.play_nodes(plane.cluster, NODES, gpus=count, completes=False)
            core = client.CoreV1Api(plane.api)
            for name in (NAMESPACE, "ceiling"):
                core.create_namespace({"metadata": {"name": name}})
            wait_for(
                lambda: core.list_namespaced_service_account(NAMESPACE).items, bool, "account", 30
            )
            ceiling = asyncio.run(_ceiling(plane.kubeconfig, count))
            settings = build_settings(store, folder / "credentials")
            with running_operator(plane.kubeconfig, settings, folder) as operator:
                return _burst(count, plane, store, operator, ceiling)
    finally:
        stop_recorded(folder / "s3" / "run" / "seaweedfs.json")


def _burst(
    count: int, plane: ControlPlane, store: s3.S3Server, operator: Any, ceiling: float
) -> Figures:
    tenant = Tenant(plane.api, NAMESPACE)
    bucket = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=store.credentials.access_key,
        aws_secret_access_key=store.credentials.secret_key,
    )
    spec = {
        "baseModel": {"name": "Qwen/Qwen3-8B"},
        "dataset": {"train": {"type": "S3", "s3": {"uri": "s3://qwen3/datasets/x.jsonl"}}},
    }
    names = [f"burst-{n}" for n in range(count)]
    started = time.perf_counter()
    asyncio.run(_create(plane.kubeconfig, names, spec))
    created = time.perf_counter() - started
    _wait_jobs(tenant, "app.kubernetes.io/component=preflight", count)
    jobs = time.perf_counter() - started
    write_preflights(tenant.batch, bucket, set())
    passed = time.perf_counter()
    _wait_jobs(tenant, TRAINING, count)
    training_jobs = time.perf_counter() - passed
    commit_results(tenant, bucket)
    kwok.play_nodes(plane.cluster, NODES, gpus=count)
    wait_for(
        lambda: sum(
            is_true(b, "Ready")
            for b in tenant.custom.list_namespaced_custom_object(
                "qwen3.dev", "v1alpha1", NAMESPACE, "qwen3finetunes"
            )["items"]
        ),
        lambda ready: ready == count,
        "all Ready",
        300,
    )
    trained = time.perf_counter() - started
    metrics = operator.metrics()
    writes = {k: v for k, v in metrics.items() if k.startswith("qwen3_operator_api_writes_total{")}
    return Figures(
        fine_tunes=count,
        jobs_seconds=jobs,
        training_jobs_seconds=training_jobs,
        created_seconds=created,
        trained_seconds=trained,
        writes=sum(writes.values()),
        writes_by_kind={k.partition("{")[2].rstrip("}"): v / count for k, v in writes.items()},
        ceiling_per_second=ceiling,
        memory_mib=metrics.get("process_resident_memory_bytes", 0.0) / 2**20,
    )


def _wait_jobs(tenant: Tenant, selector: str, count: int) -> None:
    wait_for(
        lambda: _count_jobs(tenant, selector),
        lambda found: found >= count,
        f"all Jobs with {selector}",
        120,
        pause=0.1,
    )


def _count_jobs(tenant: Tenant, selector: str) -> int:
    """Names and labels alone, out of the API server's cache: the typed list of 200 Jobs takes the
    measured machine's processors for a second."""
    query = {"labelSelector": selector, "resourceVersion": "0"}
    answer = tenant.api.rest_client.GET(
        f"{tenant.api.configuration.host}/apis/batch/v1/namespaces/{NAMESPACE}/jobs",
        query_params=query,
        headers={
            "Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            **tenant.api.default_headers,
        },
    )
    return len(json.loads(answer.data)["items"] or ())


def render(figures: Figures) -> str:
    """The table."""
    rate = figures.fine_tunes / figures.jobs_seconds
    rows = [
        ("fine-tunes applied at once", f"{figures.fine_tunes}"),
        ("CRs accepted", f"{figures.created_seconds:.2f} s"),
        ("all preflight Jobs exist", f"{figures.jobs_seconds:.2f} s  ({rate:.0f}/s)"),
        ("all training Jobs exist, after that", f"{figures.training_jobs_seconds:.2f} s"),
        ("API server's own ceiling (Jobs by SSA)", f"{figures.ceiling_per_second:.0f}/s"),
        ("part of the ceiling", f"{rate / figures.ceiling_per_second:.0%}"),
        ("all Ready", f"{figures.trained_seconds:.2f} s"),
        ("API writes per fine-tune", f"{figures.writes / figures.fine_tunes:.2f}"),
        *((f"  {kind}", f"{n:.2f}") for kind, n in sorted(figures.writes_by_kind.items())),
        ("operator's memory", f"{figures.memory_mib:.0f} MiB"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control_plane", description=__doc__)
    parser.add_argument("--fine-tunes", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qwen3-bench-") as folder:
        print(render(run_burst(options.fine_tunes, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
