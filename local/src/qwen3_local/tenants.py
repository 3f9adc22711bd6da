"""What a platform team sets up around the operator: namespaces, Secrets, the chart's values."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml

from qwen3_local import s3
from qwen3_local.cluster import Cluster
from qwen3_local.digests import digest_files, source_files
from qwen3_local.images import BuiltImage
from qwen3_local.layout import REPOSITORY, Home
from qwen3_local.programs import run

SYSTEM = "qwen3-system"
RELEASE = "qwen3-operator"
CHART = REPOSITORY / "helm" / "qwen3-operator"
OPERATOR_SECRET = "qwen3-operator-s3"  # noqa: S105  names of Secrets
TENANT_SECRET = "qwen3-s3"  # noqa: S105
TINY_MODEL = "qwen3-dev/Qwen3-Tiny"
TINY_PREFIX = "models/Qwen3-Tiny"


@dataclass(frozen=True)
class Platform:
    """Everything that is up: cluster, object store, images."""

    home: Home
    cluster: Cluster
    store: s3.S3Server
    images: dict[str, BuiltImage]


def apply(cluster: Cluster, *objects: dict[str, Any]) -> None:
    """Server-side apply of objects."""
    items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    cluster.kubectl_run(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items)
    )


def credentials_secret(name: str, namespace: str, pair: s3.Credentials) -> dict[str, Any]:
    """A Secret with the two keys that operator and pods read."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {
            "AWS_ACCESS_KEY_ID": pair.access_key,
            "AWS_SECRET_ACCESS_KEY": pair.secret_key,
        },
    }


def namespace_object(name: str) -> dict[str, Any]:
    """A namespace that admits restricted pods only."""
    enforce = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": enforce},
    }


def ensure_tenant(platform: Platform, namespace: str) -> s3.Credentials:
    """A namespace whose Secret opens its own prefix of the bucket, and models and data to read."""
    path = platform.home.state / "s3" / "tenants" / f"{namespace}.json"
    pair = s3.ensure_credentials(path)
    s3.ensure_identity(platform.store, f"tenant-{namespace}", pair, s3.tenant_actions(namespace))
    apply(
        platform.cluster,
        namespace_object(namespace),
        credentials_secret(TENANT_SECRET, namespace, pair),
    )
    return pair


def local_values(platform: Platform) -> dict[str, Any]:
    """The chart's values for a node without GPUs, where one is only advertised."""
    images = platform.images
    return {
        "imageRegistry": "localhost",
        "clusterWide": True,
        "image": {"digest": images["operator"].digest},
        "images": {
            name: {"digest": images[name].digest} for name in ("trainer", "server", "evaluator")
        },
        "storage": {
            "default": {
                "endpoint": platform.store.endpoint,
                "bucket": s3.BUCKET,
                "credentialsSecret": OPERATOR_SECRET,
            }
        },
        "catalogue": [
            {
                "name": TINY_MODEL,
                "source": {"type": "S3", "s3": {"uri": f"s3://{s3.BUCKET}/{TINY_PREFIX}/"}},
            }
        ],
        "preflight": {"cpu": "200m", "memory": "1Gi", "scratch": "1Gi"},
        "export": {"cpu": "200m", "memory": "2Gi", "scratch": "2Gi"},
        "training": {
            "cpu": "500m",
            "memory": "4Gi",
            "sharedMemory": "256Mi",
            "scratch": "4Gi",
            "graceSeconds": 60,
            "progressSeconds": 5,
            "allowCpu": True,
        },
        "serving": {
            "gpus": 0,
            "cpu": "500m",
            "memory": "5Gi",
            "sharedMemory": "256Mi",
            # More slots than adapters: on the CPU, vLLM 0.32 gives a request to the base that
            # shares a batch with an adapter's the last slot's weights (vllm#48421).
            "maxLoras": 8,
            "maxCpuLoras": 16,
            "drainSeconds": 15,
            "startupSeconds": 600,
            "args": ["--dtype=bfloat16", "--enforce-eager", "--max-model-len=512",
                     "--max-num-seqs=16",
                # One process: half the imports on two cores.
                "--distributed-executor-backend=uni"],
            "env": {
                "VLLM_CPU_KVCACHE_SPACE": "1",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                "OMP_NUM_THREADS": "1",
                # Idle threads sleep instead of spinning: 12 steps took 0.8 s instead of 11 s on two
                # busy cores.
                "OMP_WAIT_POLICY": "PASSIVE",
                # vLLM compiles one small function for prompt_logprobs; the image has no g++.
                "TORCHDYNAMO_DISABLE": "1",
            },
        },
        "evaluation": {"cpu": "200m", "memory": "512Mi"},
    }  # fmt: skip


def install_chart(
    platform: Platform, values: dict[str, Any] | None = None, chart: Path = CHART
) -> None:
    """`helm upgrade --install`, waiting until the operator is ready. What is unchanged is skipped.

    `chart` may be another tree's; CRDs are always this one's, as upgrades apply them first.

    Raises ProgramError when the release doesn't get ready.
    """
    values = values or local_values(platform)
    folder = platform.home.state / "chart"
    folder.mkdir(parents=True, exist_ok=True)
    file, mark = folder / "values.yaml", folder / "installed"
    wanted = digest_files(source_files(chart), chart, json.dumps(values, sort_keys=True))
    apply(
        platform.cluster,
        namespace_object(SYSTEM),
        credentials_secret(OPERATOR_SECRET, SYSTEM, platform.store.credentials),
    )
    # Helm installs CRDs once and never updates them.
    platform.cluster.kubectl_run(
        "apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds")
    )
    if mark.exists() and mark.read_text() == wanted and is_available(platform.cluster):
        return
    file.write_text(yaml.safe_dump(values))
    helm = platform.home.bin / "helm"
    run(
        [helm, "upgrade", "--install", RELEASE, chart, f"--namespace={SYSTEM}",
         f"--values={file}", "--skip-crds", "--wait", "--timeout=3m",
         f"--kubeconfig={platform.cluster.kubeconfig}"]
    )  # fmt: skip
    mark.write_text(wanted)


def is_available(cluster: Cluster) -> bool:
    """The operator's Deployment has its replicas."""
    found = subprocess.run(
        [cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", f"--namespace={SYSTEM}",
         "rollout", "status", f"deployment/{RELEASE}", "--timeout=1s"],
        capture_output=True, check=False,
    )  # fmt: skip
    return found.returncode == 0


def put_object(platform: Platform, key: str, body: bytes) -> None:
    """Write an object into the bucket as the store's administrator."""
    client(platform).put_object(Bucket=s3.BUCKET, Key=key, Body=body)


def client(platform: Platform) -> Any:
    """A boto3 client with the administrator's keys."""
    return boto3.client(
        "s3",
        endpoint_url=platform.store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=platform.store.credentials.access_key,
        aws_secret_access_key=platform.store.credentials.secret_key,
    )


def upload_folder(platform: Platform, folder: Path, prefix: str) -> None:
    """Write all files of a folder below a prefix, those of equal size and ETag left alone."""
    store = client(platform)
    listed = store.list_objects_v2(Bucket=s3.BUCKET, Prefix=prefix + "/").get("Contents", [])
    there = {item["Key"]: item["ETag"].strip('"') for item in listed}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        key = f"{prefix}/{path.relative_to(folder).as_posix()}"
        body = path.read_bytes()
        if there.get(key) != hashlib.md5(body, usedforsecurity=False).hexdigest():
            store.put_object(Bucket=s3.BUCKET, Key=key, Body=body)
