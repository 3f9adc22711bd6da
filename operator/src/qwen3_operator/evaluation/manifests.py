"""The evaluation Job, and the order that its pod reads."""

from collections.abc import Iterator
from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.base import S3Location
from qwen3_api.job.evaluate import (
    ENV_DATA_PREFIX,
    ENV_WEAVE_API_KEY,
    EvalEndpoint,
    EvalGate,
    EvalHoldout,
    EvalJob,
    EvalJudge,
    EvalSuite,
    EvalTracking,
    EvalTraining,
    EvalWeave,
    JudgePrice,
    PydanticField,
)
from qwen3_api.v1alpha1.evaluation import KIND, EvalSpec
from qwen3_api.v1alpha1.holdout import HoldoutSpec
from qwen3_api.v1alpha1.meta import API_VERSION
from qwen3_api.v1alpha1.suites import (
    EndpointTarget,
    Gate,
    JudgeEndpoint,
    JudgeSpec,
    OnInsufficient,
    Suite,
)
from qwen3_api.v1alpha1.tracking import TrackingSpec, WandbMode
from qwen3_api.v1alpha1.weave_scorers import WeaveScorers
from qwen3_operator.evaluation.data import mounted_suites, resolve_benchmark
from qwen3_operator.resources.job import (
    ORDER_MOUNT,
    build_order_config_map,
    build_order_volume,
    build_single_run,
    resolve_data,
    resolve_wandb,
)
from qwen3_operator.resources.labels import LABEL_EVAL, labels
from qwen3_operator.resources.names import eval_job_name
from qwen3_operator.resources.pod import (
    CONTAINER_SECURITY,
    build_credentials_env,
    build_owner,
    build_pod_base,
    build_pod_identity_env,
    empty_dir,
)
from qwen3_operator.resources.storage import StorageTarget
from qwen3_operator.resources.views import Meta
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
CONTAINER = "evaluator"
SECRET_KEY = "OPENAI_API_KEY"  # noqa: S105  the key's name
"""Key of the Secret of an endpoint."""
TRACKING_KEY = "WANDB_API_KEY"
"""Key of the Secret of a tracker, and the variable of the one for W&B."""


def key_env(*place: str | int) -> str:
    """Environment variable of the evaluator with the key of an endpoint: API_KEY_TARGET,
    API_KEY_BASELINE_0, API_KEY_JUDGE_<suite>_<judge>."""
    return "_".join(("API_KEY", *map(str, place)))


def resolve_endpoint(name: str, endpoint: EndpointTarget, env: str) -> EvalEndpoint:
    """The contract's view of an endpoint. The key itself is put into `env` by the kubelet."""
    return EvalEndpoint(
        name=name,
        base_url=endpoint.url.rstrip("/"),
        model=endpoint.model,
        api_key_env=env if endpoint.secret_ref is not None else None,
    )


def resolve_eval_job(
    meta: Meta,
    spec: EvalSpec,
    target: EvalEndpoint,
    baselines: list[EvalEndpoint],
    storage: StorageTarget,
    *,
    digest: S3Location | None = None,
    training: EvalTraining | None = None,
) -> EvalJob:
    """The whole order of one evaluation.

    digest: of what the target was trained on, for its questions to be compared with.
    training: what the target came out of, for the report.
    """
    holdout = spec.holdout or HoldoutSpec()
    return EvalJob(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        target=target,
        baselines=baselines,
        suites=[_resolve_suite(n, suite, storage) for n, suite in enumerate(spec.suites)],
        gates=[_resolve_gate(gate) for gate in spec.gates],
        holdout=EvalHoldout(training=digest, max_leaked_percent=holdout.max_leaked_percent)
        if digest is not None
        else None,
        data_credentials=holdout.secret_ref is not None,
        concurrency=spec.runner.concurrency,
        output=storage.location(layout.eval_prefix(storage.prefix, meta.namespace, meta.uid)),
        tracking=_resolve_tracking(spec.tracking),
        training=training,
    )


def _resolve_tracking(tracking: TrackingSpec) -> EvalTracking:
    wandb, weave = tracking.wandb, tracking.weave
    return EvalTracking(
        wandb=resolve_wandb(wandb) if wandb else None,
        weave=EvalWeave(
            project=weave.project,
            entity=weave.entity,
            base_url=weave.base_url,
            trace_url=weave.trace_url,
        )
        if weave
        else None,
    )


def _resolve_suite(number: int, suite: Suite, storage: StorageTarget) -> EvalSuite:
    generation = suite.generation
    asked = suite.eval_scope or suite.questions
    if asked is None:
        raise ValueError(f"suite {suite.name} of type {suite.type} has no questions")
    questions = suite.questions
    return EvalSuite(
        name=suite.name,
        data=resolve_data(suite.name, asked.data, storage),
        benchmark=resolve_benchmark(number, suite.eval_scope, storage),
        metrics=suite.metrics,
        limit=asked.limit,
        max_tokens=generation.max_tokens,
        temperature=float(generation.temperature),
        thinking=generation.thinking,
        seed=generation.seed,
        samples=generation.samples,
        json_schema=questions.json_schema if questions is not None else None,
        pydantic_fields=_resolve_fields(questions.weave if questions is not None else None),
        judge=_resolve_judge(number, suite.judge) if suite.judge is not None else None,
    )


def _resolve_fields(weave: WeaveScorers | None) -> list[PydanticField]:
    fields = (weave.fields if weave is not None else None) or []
    return [PydanticField(name=f.name, type=f.type.value, required=f.required) for f in fields]


def _resolve_judge(suite: int, judge: JudgeSpec) -> EvalJudge:
    return EvalJudge(
        endpoints=[
            resolve_endpoint(e.name, e, key_env("JUDGE", suite, n))
            for n, e in enumerate(judge.endpoints)
        ],
        rubric=judge.rubric,
        swap_positions=judge.swap_positions,
        max_requests=judge.max_requests,
        prices=[_resolve_price(e) for e in judge.endpoints],
        max_cost=None if judge.max_cost is None else float(judge.max_cost),
    )


def _resolve_price(judge: JudgeEndpoint) -> JudgePrice | None:
    if judge.prompt_price is None or judge.completion_price is None:
        return None
    return JudgePrice(prompt=float(judge.prompt_price), completion=float(judge.completion_price))


def _resolve_gate(gate: Gate) -> EvalGate:
    def number(text: str | None) -> float | None:
        return None if text is None else float(text)

    return EvalGate(
        name=gate.name,
        suite=gate.suite,
        metric=gate.metric,
        baseline=gate.baseline,
        minimum=number(gate.minimum),
        maximum=number(gate.maximum),
        max_regression=number(gate.max_regression),
        minimum_effect=number(gate.minimum_effect),
        confidence=gate.confidence_percent / 100,
        fail_on_insufficient=gate.on_insufficient is OnInsufficient.FAIL,
    )


def _keyed_endpoints(spec: EvalSpec) -> Iterator[tuple[str, EndpointTarget]]:
    """Every endpoint of the spec, with the variable that its key goes into."""
    if spec.target.endpoint is not None:
        yield key_env("TARGET"), spec.target.endpoint
    for n, baseline in enumerate(spec.baselines):
        if baseline.endpoint is not None:
            yield key_env("BASELINE", n), baseline.endpoint
    for n, suite in enumerate(spec.suites):
        for m, endpoint in enumerate(suite.judge.endpoints if suite.judge is not None else ()):
            yield key_env("JUDGE", n, m), endpoint


def _build_keys_env(spec: EvalSpec) -> list[Manifest]:
    """Keys of endpoints, put in by the kubelet: the operator may not read Secrets."""
    return [
        {
            "name": env,
            "valueFrom": {"secretKeyRef": {"name": endpoint.secret_ref.name, "key": SECRET_KEY}},
        }
        for env, endpoint in _keyed_endpoints(spec)
        if endpoint.secret_ref is not None
    ]


def _build_data_env(spec: EvalSpec) -> list[Manifest]:
    """Credentials of the suites' data, if they have their own. No other pod gets them."""
    if spec.holdout is None or spec.holdout.secret_ref is None:
        return []
    return build_credentials_env(spec.holdout.secret_ref.name, ENV_DATA_PREFIX)


def _build_tracking_env(tracking: TrackingSpec) -> list[Manifest]:
    """Keys of the trackers. Optional: a missing Secret costs the tracking, not the verdict."""
    keys = []
    if tracking.wandb and tracking.wandb.secret_ref and tracking.wandb.mode is WandbMode.ONLINE:
        keys.append((TRACKING_KEY, tracking.wandb.secret_ref))
    if tracking.weave:
        keys.append((ENV_WEAVE_API_KEY, tracking.weave.secret_ref))
    return [
        {
            "name": env,
            "valueFrom": {
                "secretKeyRef": {"name": secret.name, "key": TRACKING_KEY, "optional": True}
            },
        }
        for env, secret in keys
    ]


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
    mounts = mounted_suites(spec.suites)
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
                    *_build_keys_env(spec),
                    *_build_data_env(spec),
                    *_build_tracking_env(spec.tracking),
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
