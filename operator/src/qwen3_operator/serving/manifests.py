"""The objects of a serving pool: ConfigMap, Deployment, Service, budget and network policy.

They belong to no single fine-tune, so they carry no owner reference: deleting one fine-tune must
not take the others down. The pool's reconcile removes them with its last member.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.train import ModelSource
from qwen3_api.serving import config as paths
from qwen3_api.serving.pool import AGENT_PORT, VLLM_PORT
from qwen3_api.v1alpha1.training import ALL_LINEAR
from qwen3_operator.resources.labels import LABEL_POOL, labels
from qwen3_operator.resources.pod import (
    CONTAINER_SECURITY,
    build_credentials_env,
    build_pod_base,
    empty_dir,
)
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.settings import ServingSettings, Settings

Manifest = dict[str, Any]
SHUTDOWN_SECONDS = 30
"""For vLLM itself, after the requests in flight had drain_seconds to finish."""


@dataclass(frozen=True)
class PoolSpec:
    """What a pool is, resolved."""

    namespace: str
    name: str
    base_model: str
    source: ModelSource
    storage: StorageTarget
    replicas: int
    hf_token_secret: str | None


def build_pool_objects(pool: PoolSpec, settings: Settings) -> tuple[Manifest, ...]:
    """All objects of a pool, in the order they must be applied."""
    config = _build_config_map(pool, settings)
    return (
        config,
        _build_service(pool),
        _build_budget(pool),
        _build_network_policy(pool, settings),
        _build_deployment(pool, config, settings),
    )


def _meta(pool: PoolSpec) -> Manifest:
    return {
        "name": pool.name,
        "namespace": pool.namespace,
        "labels": labels("server", **{LABEL_POOL: pool.name}),
    }


def _selector(pool: PoolSpec) -> dict[str, str]:
    return {LABEL_POOL: pool.name}


def _build_config_map(pool: PoolSpec, settings: Settings) -> Manifest:
    serving = settings.serving
    config = paths.ServerConfig(
        namespace=pool.namespace,
        pool=pool.name,
        base_model=pool.base_model,
        source=pool.source,
        index=pool.storage.location(
            layout.pool_index_key(pool.storage.prefix, pool.namespace, pool.name)
        ),
        max_rank=serving.max_lora_rank,
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(pool),
        "data": {"server.json": config.to_json().decode()},
    }


def _build_service(pool: PoolSpec) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(pool),
        "spec": {
            "selector": _selector(pool),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _build_budget(pool: PoolSpec) -> Manifest:
    """One pod at a time. Not minAvailable: 1, which would block the drain of a one-pod pool."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(pool),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selector(pool)}},
    }


def _build_network_policy(pool: PoolSpec, settings: Settings) -> Manifest:
    """The OpenAI port for the namespace and the operator, the sidecar's for the operator alone."""
    operator = {
        "namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": settings.operator_namespace}
        }
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(pool),
        "spec": {
            "podSelector": {"matchLabels": _selector(pool)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"podSelector": {}}, operator],
                    "ports": [{"port": VLLM_PORT, "protocol": "TCP"}],
                },
                {"from": [operator], "ports": [{"port": AGENT_PORT, "protocol": "TCP"}]},
            ],
        },
    }


def _build_deployment(pool: PoolSpec, config: Manifest, settings: Settings) -> Manifest:
    meta = _meta(pool)
    # A changed configuration must start new pods: the ConfigMap alone would not.
    digest = hashlib.sha256(json.dumps(config["data"]).encode()).hexdigest()[:16]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": pool.replicas,
            "selector": {"matchLabels": _selector(pool)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "progressDeadlineSeconds": settings.serving.startup_seconds + 60,
            "template": {
                "metadata": {
                    "labels": meta["labels"],
                    "annotations": {"qwen3.dev/config-digest": digest},
                },
                "spec": _build_pod(pool, settings),
            },
        },
    }


def _build_pod(pool: PoolSpec, settings: Settings) -> Manifest:
    serving = settings.serving
    pod = build_pod_base(settings) | {
        "terminationGracePeriodSeconds": serving.drain_seconds + SHUTDOWN_SECONDS,
        "initContainers": [_build_fetch(pool, settings), _build_agent(pool, settings)],
        "containers": [_build_vllm(pool, settings)],
        "volumes": [
            {"name": "config", "configMap": {"name": pool.name}},
            empty_dir("models"),
            empty_dir("adapters"),
            empty_dir("run", "16Mi", memory=True),
            empty_dir("cache"),
            empty_dir("tmp"),
            empty_dir("shm", serving.shared_memory, memory=True),
        ],
    }
    if serving.node_selector:
        pod["nodeSelector"] = serving.node_selector
    return pod


CONFIG_MOUNT: Manifest = {"name": "config", "mountPath": "/etc/qwen3", "readOnly": True}
TMP_MOUNT: Manifest = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108  the pod's own emptyDir
AGENT_RESOURCES: Manifest = {
    "requests": {"cpu": "50m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}


def _mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    return {"name": name, "mountPath": path, "readOnly": read_only}


def _build_fetch(pool: PoolSpec, settings: Settings) -> Manifest:
    """Init container: the base model into the pod."""
    env = build_credentials_env(pool.storage.secret)
    env.append({"name": "HOME", "value": "/tmp"})  # noqa: S108  the pod's own emptyDir
    if pool.hf_token_secret:
        key = {"name": pool.hf_token_secret, "key": "HF_TOKEN"}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": key}})
    return {
        "name": "fetch-base",
        "image": settings.images.server,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python3", "-m", "qwen3_server", "fetch-base"],
        "args": ["--config", paths.SERVER_CONFIG_FILE],
        "env": env,
        "resources": AGENT_RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [CONFIG_MOUNT, TMP_MOUNT, _mount("models", paths.MODELS_DIR)],
    }


def _build_agent(pool: PoolSpec, settings: Settings) -> Manifest:
    """Native sidecar: it outlives every restart of vLLM, and owns readiness."""
    pod_name = {
        "name": paths.ENV_POD_NAME,
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
    }
    return {
        "name": "agent",
        "restartPolicy": "Always",
        "image": settings.images.server,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python3", "-m", "qwen3_server", "agent"],
        "args": ["--config", paths.SERVER_CONFIG_FILE],
        "env": [
            pod_name,
            *build_credentials_env(pool.storage.secret),
            {"name": "HOME", "value": "/tmp"},  # noqa: S108  the pod's own emptyDir
        ],
        "ports": [{"name": "agent", "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "resources": AGENT_RESOURCES,
        # Native sidecars start in order: vLLM's container starts when this one answers.
        "startupProbe": {
            "httpGet": {"path": "/healthz", "port": "agent"},
            "periodSeconds": 1,
            "failureThreshold": 60,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "agent"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            CONFIG_MOUNT,
            TMP_MOUNT,
            _mount("adapters", paths.ADAPTERS_DIR),
            _mount("run", paths.RUN_DIR),
        ],
    }


def _build_vllm(pool: PoolSpec, settings: Settings) -> Manifest:
    """The server. Readiness is the sidecar's to tell: vLLM alone doesn't know what it must hold."""
    serving = settings.serving
    gpu = {settings.training.gpu_resource: str(serving.gpus)} if serving.gpus else {}
    return {
        "name": "vllm",
        "image": settings.images.server,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
        "args": build_vllm_args(pool, serving),
        "env": [{"name": k, "value": v} for k, v in build_vllm_env(serving).items()],
        "ports": [{"name": "http", "containerPort": VLLM_PORT, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": serving.cpu, "memory": serving.memory, **gpu},
            "limits": {"memory": serving.memory, **gpu},
        },
        "startupProbe": {
            "httpGet": {"path": "/health", "port": "http"},
            "periodSeconds": 5,
            "failureThreshold": max(1, serving.startup_seconds // 5),
        },
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": "http"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": AGENT_PORT},
            "periodSeconds": 2,
            # The sidecar asks vLLM before it answers, with 3 s of patience for each question.
            "timeoutSeconds": 8,
            # One late answer of a starved node is no reason to leave a Service without its only
            # endpoint. A vLLM that restarts is unready at once all the same: its container is.
            "failureThreshold": 3,
        },
        # A terminating pod gets no new requests once its endpoint is gone; those in flight, and
        # those from clients that haven't heard yet, are still answered.
        "lifecycle": {"preStop": {"sleep": {"seconds": serving.drain_seconds}}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            _mount("models", paths.MODELS_DIR, read_only=True),
            _mount("adapters", paths.ADAPTERS_DIR, read_only=True),
            _mount("run", paths.RUN_DIR, read_only=True),
            _mount("cache", "/cache"),
            _mount("shm", "/dev/shm"),  # noqa: S108
            TMP_MOUNT,
        ],
    }


def build_vllm_args(pool: PoolSpec, serving: ServingSettings) -> list[str]:
    """Command line of vLLM."""
    limits = serving.limits
    return [
        f"--model={paths.BASE_MODEL_DIR}",
        f"--served-model-name={pool.base_model}",
        f"--port={VLLM_PORT}",
        "--enable-lora",
        f"--max-loras={serving.max_loras}",
        f"--max-cpu-loras={max(serving.max_cpu_loras, serving.max_loras)}",
        f"--max-lora-rank={serving.max_lora_rank}",
        f"--middleware={paths.GATEWAY_CLASS}",
        f"--reasoning-parser-plugin={paths.REASONING_PARSER_MODULE}",
        f"--reasoning-parser={paths.REASONING_PARSER}",
        "--enable-auto-tool-choice",
        f"--tool-call-parser={paths.TOOL_PARSER}",
        # For requests that name no limit; the gateway refuses a larger one.
        f"--override-generation-config={json.dumps({'max_new_tokens': limits.max_tokens})}",
        # The seven projections that training knows, and not lm_head: wrapped for LoRA, it makes
        # prompt_logprobs wrong on a GPU and crash on the CPU (vllm#16668, #51594).
        "--lora-target-modules",
        *ALL_LINEAR,
        "--disable-fastapi-docs",
        "--disable-uvicorn-access-log",
        *serving.args,
    ]


def build_vllm_env(serving: ServingSettings) -> dict[str, str]:
    """Environment of vLLM. The load endpoints are on because the sidecar needs them; the gateway
    lets nobody else reach them."""
    return {
        "HOME": "/cache",
        # The user has no entry in /etc/passwd, which torch's caches ask for by name.
        "USER": "qwen3",
        "TORCHINDUCTOR_CACHE_DIR": "/cache/inductor",
        "TRITON_CACHE_DIR": "/cache/triton",
        "XDG_CACHE_HOME": "/cache",
        "VLLM_CACHE_ROOT": "/cache/vllm",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        # FlashInfer compiles its sampler when the first request names top_k or top_p. The image has
        # neither CUDA's compiler nor a C++ one, so the pool would die in its warm-up; PyTorch's
        # own sampler needs none.
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        paths.ENV_REQUEST_LIMITS: serving.limits.model_dump_json(),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # A path that isn't there would be taken for a hub repository and downloaded.
        "HF_HUB_OFFLINE": "1",
        **serving.env,
    }
