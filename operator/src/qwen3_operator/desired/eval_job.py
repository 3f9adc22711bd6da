"""The evaluation Job, and the order that its pod reads."""

from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalEndpoint, EvalJob, EvalSuite
from qwen3_api.v1alpha1.evaluation import KIND, EvalSpec
from qwen3_api.v1alpha1.meta import API_VERSION
from qwen3_operator.desired.job import (
    ORDER_MOUNT,
    build_order_config_map,
    build_order_volume,
    build_single_run,
    mounted_data,
    resolve_data,
)
from qwen3_operator.desired.names import LABEL_EVAL, StorageTarget, eval_job_name, labels
from qwen3_operator.desired.pod import (
    CONTAINER_SECURITY,
    build_credentials_env,
    build_owner,
    build_pod_base,
    build_pod_identity_env,
    empty_dir,
)
from qwen3_operator.observed import Meta
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
CONTAINER = "evaluator"


def resolve_eval_job(
    meta: Meta,
    spec: EvalSpec,
    target: EvalEndpoint,
    baselines: list[EvalEndpoint],
    storage: StorageTarget,
) -> EvalJob:
    """The whole order of one evaluation."""
    return EvalJob(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        target=target,
        baselines=baselines,
        suites=[
            EvalSuite(
                name=suite.name,
                data=resolve_data(suite.name, suite.questions.data, storage),
                metrics=[m.value for m in suite.questions.metrics],
                limit=suite.questions.limit,
                max_tokens=suite.generation.max_tokens,
                temperature=float(suite.generation.temperature),
                thinking=suite.generation.thinking,
                seed=suite.generation.seed,
            )
            for suite in spec.suites
        ],
        concurrency=spec.runner.concurrency,
        output=storage.location(layout.eval_prefix(storage.prefix, meta.namespace, meta.uid)),
    )


def build_eval_objects(
    meta: Meta, spec: EvalSpec, order: EvalJob, storage: StorageTarget, settings: Settings
) -> tuple[Manifest, Manifest]:
    """ConfigMap and Job of an evaluation, in the order they must be applied."""
    name = eval_job_name(meta.name)
    tags = labels("evaluator", **{LABEL_EVAL: meta.name})
    owner = build_owner(KIND, meta.name, meta.uid, API_VERSION)
    job: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": tags,
            "ownerReferences": [owner],
        },
        "spec": build_single_run(
            CONTAINER,
            tags,
            _build_pod(name, spec, storage, settings),
            retries=spec.runner.max_retries,
            activeDeadlineSeconds=spec.runner.active_deadline_seconds,
        ),
    }
    return build_order_config_map(name, meta.namespace, order.to_json(), tags, owner), job


def _build_pod(
    config_map: str, spec: EvalSpec, storage: StorageTarget, settings: Settings
) -> Manifest:
    mounts = [m for s in spec.suites if (m := mounted_data(s.name, s.questions.data)) is not None]
    memory = spec.runner.memory or settings.evaluation.memory
    return build_pod_base(settings) | {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.images.evaluator,
                "imagePullPolicy": settings.images.pull_policy,
                "env": [
                    *build_pod_identity_env(),
                    *build_credentials_env(storage.secret),
                    {"name": "HOME", "value": layout.WORK_DIR},
                ],
                "resources": {
                    "requests": {
                        "cpu": spec.runner.cpu or settings.evaluation.cpu,
                        "memory": memory,
                    },
                    "limits": {"memory": memory},
                },
                "securityContext": CONTAINER_SECURITY,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    ORDER_MOUNT,
                    {"name": "work", "mountPath": layout.WORK_DIR},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own emptyDir
                    *(m.build_mount() for m in mounts),
                ],
            }
        ],
        "volumes": [
            build_order_volume(config_map),
            empty_dir("work"),
            empty_dir("tmp"),
            *(m.build_volume() for m in mounts),
        ],
    }
