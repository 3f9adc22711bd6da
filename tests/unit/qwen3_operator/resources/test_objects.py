"""The objects that the operator makes: what their pods may, and what they are told."""

import json
from dataclasses import replace
from typing import Any

import pytest

from qwen3_api.data_sources import FileData, S3Data
from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalEndpoint
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.train import TrainJob
from qwen3_api.serving.config import RequestLimits, ServerConfig
from qwen3_operator.evaluation.manifests import build_eval_objects, resolve_eval_job
from qwen3_operator.evaluation.views import parse_evaluation
from qwen3_operator.finetune.export.manifests import build_export_job
from qwen3_operator.finetune.preflight.manifests import build_preflight_job
from qwen3_operator.finetune.training.job_spec import (
    resolve_export_job,
    resolve_preflight_job,
    resolve_train_job,
)
from qwen3_operator.finetune.training.manifests import build_train_job
from qwen3_operator.resources.base_model import resolve_job_model
from qwen3_operator.resources.identity import resources_digest
from qwen3_operator.resources.labels import ANNOTATION_ORDER, LABEL_QUEUE
from qwen3_operator.serving.manifests import PoolSpec, build_pool_objects
from qwen3_operator.settings import RequestLimitSettings, Settings
from support.operator_world import (
    MODEL,
    NAMESPACE,
    SETTINGS,
    SIZING,
    build_body,
    build_commit,
    build_finetune,
    build_meta,
    build_spec,
    merge,
    revision_of,
    spec_of,
    storage_of,
)

Manifest = dict[str, Any]


def train_job(settings: Settings = SETTINGS, **changes: Any) -> Manifest:
    ft = build_finetune(build_spec(**changes), settings=settings)
    spec, storage = spec_of(ft), storage_of(ft)
    order = resolve_train_job(ft, storage, settings, SIZING)
    return build_train_job(ft.meta, spec, order, storage, settings)


def preflight_job(settings: Settings = SETTINGS, **changes: Any) -> Manifest:
    ft = build_finetune(build_spec(**changes), settings=settings)
    spec, storage = spec_of(ft), storage_of(ft)
    order = resolve_preflight_job(ft, storage, settings, None)
    return build_preflight_job(ft.meta, spec, order, storage, settings)


def export_job() -> Manifest:
    ft = build_finetune(build_spec(export={"gguf": ["f16"]}))
    spec, storage = spec_of(ft), storage_of(ft)
    order = resolve_export_job(ft, build_commit(ft), storage, SETTINGS)
    return build_export_job(ft.meta, spec, order, 2**30, storage, SETTINGS)


def train_pod(settings: Settings = SETTINGS, **changes: Any) -> Manifest:
    pod: Manifest = train_job(settings, **changes)["spec"]["template"]["spec"]
    return pod


def order_of(job: Manifest) -> TrainJob:
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    return TrainJob.model_validate_json(annotations[ANNOTATION_ORDER])


def eval_objects() -> tuple[Manifest, Manifest]:
    questions = {"data": {"type": "ConfigMap", "configMap": {"name": "q", "key": "q.jsonl"}}}
    spec = {
        "target": {"fineTune": {"name": "bot"}},
        "suites": [{"name": "quiz", "questions": questions}],
    }
    ev = parse_evaluation(build_body(spec, name="quiz", uid="uid-quiz"), SETTINGS)
    assert ev.spec is not None
    target = EvalEndpoint(name="target", base_url="http://pool/v1", model="x")
    storage = storage_of(build_finetune())
    order = resolve_eval_job(ev.meta, ev.spec, target, [], storage)
    return build_eval_objects(ev.meta, ev.spec, order, storage, SETTINGS)


def pool_objects(settings: Settings = SETTINGS, **changes: Any) -> dict[str, Manifest]:
    ft = build_finetune()
    storage = storage_of(ft)
    values: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": "pool-x",
        "base_model": MODEL,
        "source": resolve_job_model(spec_of(ft).base_model, storage, SETTINGS),
        "storage": storage,
        "replicas": 2,
        "hf_token_secret": None,
    }
    return {m["kind"]: m for m in build_pool_objects(PoolSpec(**(values | changes)), settings)}


def all_pods() -> dict[str, Manifest]:
    return {
        "trainer": train_pod(),
        "trainer with data": train_pod(
            dataset={"train": {"type": "ConfigMap", "s3": None, "configMap": {"name": "d"}}}
        ),
        "preflight": preflight_job()["spec"]["template"]["spec"],
        "export": export_job()["spec"]["template"]["spec"],
        "evaluator": eval_objects()[1]["spec"]["template"]["spec"],
        "server": pool_objects()["Deployment"]["spec"]["template"]["spec"],
    }


# --- every pod


@pytest.mark.parametrize("name", list(all_pods()))
def test_restricted_and_without_a_token(name: str) -> None:
    """The API server's own verdict on this is in tests/integration/test_job_lifecycle.py."""
    pod = all_pods()[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    mounts = {v["name"] for v in pod["volumes"]}
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {m["name"] for m in container["volumeMounts"]} <= mounts
        assert container["resources"]["limits"]["memory"]
        for variable in container["env"]:
            assert "KEY" not in variable["name"] or "value" not in variable, "only by reference"
    assert not any("hostPath" in v for v in pod["volumes"])


def test_a_training_pod_has_time_for_a_checkpoint() -> None:
    pod = train_pod()
    assert pod["terminationGracePeriodSeconds"] == SETTINGS.training.grace_seconds
    assert pod["restartPolicy"] == "Never"


def test_gpus_are_limits_and_requests_or_absent() -> None:
    resources = train_pod(resources={"gpus": 1})["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"
    none = train_pod(resources={"gpus": 0})["containers"][0]["resources"]
    assert "nvidia.com/gpu" not in json.dumps(none)
    server = pool_objects()["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert server["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_placement_is_the_specs() -> None:
    toleration = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    pod = train_pod(
        resources={
            "nodeSelector": {"gpu": "h100"},
            "tolerations": [toleration],
            "priorityClassName": "batch",
            "memory": "64Gi",
            "cpu": "8",
        }
    )
    assert pod["nodeSelector"] == {"gpu": "h100"}
    assert pod["tolerations"] == [toleration]
    assert pod["priorityClassName"] == "batch"
    assert pod["containers"][0]["resources"]["requests"]["cpu"] == "8"
    assert {"nodeSelector", "tolerations", "priorityClassName"}.isdisjoint(train_pod())


# --- Jobs


@pytest.mark.parametrize(
    "job",
    [train_job(), preflight_job(), export_job(), eval_objects()[1]],
    ids=["train", "preflight", "export", "eval"],
)
def test_never_two_pods_and_codes_that_mean_something(job: Manifest) -> None:
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"]) == (1, 1)
    assert spec["podReplacementPolicy"] == "Failed"
    rules = spec["podFailurePolicy"]["rules"]
    fail, ignore, disrupted = rules
    assert fail["onExitCodes"]["values"] == [42, 44, 45, 48, 49, 51, 52]
    assert ignore["onExitCodes"]["values"] == [int(ExitCode.INTERRUPTED)]
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    names = {c["name"] for c in spec["template"]["spec"]["containers"]}
    assert {fail["onExitCodes"]["containerName"], ignore["onExitCodes"]["containerName"]} <= names
    if job["spec"]["template"]["spec"]["containers"][0]["name"] != "preflight":
        assert "ttlSecondsAfterFinished" not in spec, "it could remove the evidence of a failure"
    assert "suspend" not in spec, "it belongs to the second field manager, or to a queue"
    owner = job["metadata"]["ownerReferences"][0]
    assert owner["controller"] is True


def test_kueue_gets_its_label_and_no_suspend() -> None:
    job = train_job(resources={"queueName": "gpus"})
    assert job["metadata"]["labels"][LABEL_QUEUE] == "gpus"
    assert "suspend" not in job["spec"]
    assert LABEL_QUEUE not in job["spec"]["template"]["metadata"]["labels"]
    assert LABEL_QUEUE not in train_job()["metadata"]["labels"]


def test_the_job_says_for_which_resources_it_was_made() -> None:
    job = train_job(resources={"memory": "64Gi"})
    ft = build_finetune(build_spec(resources={"memory": "64Gi"}))
    assert job["metadata"]["annotations"] == {"qwen3.dev/resources": resources_digest(spec_of(ft))}


def test_retries_are_the_specs() -> None:
    assert train_job(failurePolicy={"maxRetries": 0})["spec"]["backoffLimit"] == 0


# --- the order


def test_every_default_is_resolved() -> None:
    order = order_of(train_job())
    assert order.hyperparameters.epochs == 3
    assert order.hyperparameters.max_steps is None
    assert order.adapter.alpha == order.adapter.rank == 16
    assert order.hyperparameters.gradient_accumulation_steps == 8
    assert order.hyperparameters.learning_rate == 2e-4
    assert order.hyperparameters.assistant_only_loss is True
    assert order.base_model.source.type == "HuggingFace"
    ft = build_finetune()
    assert order.revision == revision_of(ft)
    assert order.output.prefix == f"qwen3/team-a/uid-bot/revisions/{order.revision}"


def test_steps_and_epochs_exclude_each_other() -> None:
    hyper = order_of(train_job(hyperparameters={"maxSteps": 5})).hyperparameters
    assert (hyper.epochs, hyper.max_steps) == (None, 5)


def test_the_catalogue_pins_what_the_spec_leaves_open() -> None:
    def revision(**base: Any) -> str | None:
        source = order_of(train_job(baseModel=base)).base_model.source
        assert source.type == "HuggingFace"
        return source.revision

    assert revision() == "abc"
    assert revision(revision="main") == "main"


def test_data_from_a_bucket_and_from_a_config_map() -> None:
    job = train_job(
        dataset={
            "validation": {"type": "ConfigMap", "configMap": {"name": "held-out", "key": "v.jsonl"}}
        }
    )
    data = order_of(job).dataset
    assert isinstance(data.train, S3Data)
    assert data.train.location.uri == "s3://team-a/support.jsonl"
    assert data.train.location.endpoint == "http://s3.test:8333", "the artifacts' endpoint"
    assert isinstance(data.validation, FileData)
    assert data.validation.path == "/etc/qwen3-data/validation/v.jsonl"
    pod = job["spec"]["template"]["spec"]
    volume = next(v for v in pod["volumes"] if v["name"] == "data-validation")
    assert volume["configMap"]["name"] == "held-out"
    assert volume["configMap"]["optional"] is True, "the trainer tells what is missing"
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "data-validation")
    assert mount["readOnly"] is True
    assert data.validation.path.startswith(mount["mountPath"] + "/")


@pytest.mark.parametrize("job", [train_job(), preflight_job(), export_job()])
def test_the_order_is_mounted_where_the_trainer_looks(job: Manifest) -> None:
    template = job["spec"]["template"]
    volume = next(v for v in template["spec"]["volumes"] if v["name"] == "order")
    (item,) = volume["downwardAPI"]["items"]
    (annotation,) = template["metadata"]["annotations"]
    assert item["fieldRef"]["fieldPath"] == f"metadata.annotations['{annotation}']"
    (mount,) = (
        m for m in template["spec"]["containers"][0]["volumeMounts"] if m["name"] == "order"
    )
    assert f"{mount['mountPath']}/{item['path']}" == layout.JOB_FILE


def test_the_order_of_an_evaluation_is_mounted_where_the_evaluator_looks() -> None:
    config_map, job = eval_objects()
    pod = job["spec"]["template"]["spec"]
    volume = next(v for v in pod["volumes"] if v["name"] == "order")
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    assert "immutable" not in config_map, "a second Job of the name may be told other things"


def test_a_shared_uid_is_nobodys() -> None:
    """The tenant can't choose the prefix: namespace and uid are the API server's."""
    ft = build_finetune()
    meta = build_meta(namespace="team-b", uid="uid-b")
    order = resolve_train_job(replace(ft, meta=meta), storage_of(ft), SETTINGS, SIZING)
    job = build_train_job(meta, spec_of(ft), order, storage_of(ft), SETTINGS)
    assert order_of(job).output.prefix.startswith("qwen3/team-b/uid-b/")


def test_tokens_and_cpu_training_only_when_asked() -> None:
    def names(pod: Manifest) -> set[str]:
        return {e["name"] for e in pod["containers"][0]["env"]}

    assert {"HF_TOKEN", "QWEN3_ALLOW_CPU"}.isdisjoint(names(train_pod()))
    assert "HF_TOKEN" in names(train_pod(baseModel={"tokenSecretRef": {"name": "hub"}}))
    cpu = Settings.model_validate(
        merge(SETTINGS.model_dump(by_alias=True), {"training": {"allowCpu": True}})
    )
    assert "QWEN3_ALLOW_CPU" in names(train_pod(cpu))


# --- pools


def vllm_of(settings: Settings = SETTINGS) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of the server's container."""
    container = pool_objects(settings)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return container["args"], {e["name"]: e["value"] for e in container["env"]}


def test_a_pool_parses_reasoning_and_tool_calls() -> None:
    args, _ = vllm_of()
    assert "--enable-auto-tool-choice" in args
    assert "--tool-call-parser=hermes" in args
    assert "--reasoning-parser=qwen3_template" in args
    assert "--reasoning-parser-plugin=qwen3_server.reasoning_parser" in args


def test_limits_reach_the_gateway_and_vllm() -> None:
    limits = RequestLimitSettings(max_sequences=4, max_tokens=512, max_prompt_logprobs=0)
    serving = SETTINGS.serving.model_copy(update={"limits": limits})
    args, env = vllm_of(SETTINGS.model_copy(update={"serving": serving}))
    assert RequestLimits.model_validate_json(env["QWEN3_REQUEST_LIMITS"]) == RequestLimits(
        max_sequences=4, max_tokens=512, max_prompt_logprobs=0
    )
    assert '--override-generation-config={"max_new_tokens": 512}' in args
    assert RequestLimits(**RequestLimitSettings().model_dump()) == RequestLimits()


def test_a_pool_needs_no_compiler() -> None:
    """tests/integration/test_server_gpu_image.py shows what happens without it."""
    assert vllm_of()[1]["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


def test_a_pool_belongs_to_nobody() -> None:
    """Deleting one fine-tune must not take the others down."""
    for manifest in pool_objects().values():
        assert "ownerReferences" not in manifest["metadata"]


def test_readiness_is_the_sidecars() -> None:
    pod = pool_objects()["Deployment"]["spec"]["template"]["spec"]
    vllm = pod["containers"][0]
    agent = next(c for c in pod["initContainers"] if c["name"] == "agent")
    assert agent["restartPolicy"] == "Always", "a native sidecar"
    assert vllm["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8001}
    assert vllm["readinessProbe"]["failureThreshold"] > 1, "one late answer costs no endpoint"
    assert "readinessProbe" not in agent
    assert pod["terminationGracePeriodSeconds"] > vllm["lifecycle"]["preStop"]["sleep"]["seconds"]


def test_an_update_never_takes_the_last_pod_down() -> None:
    strategy = pool_objects()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_new_configuration_starts_new_pods() -> None:
    def digest(found: dict[str, Manifest]) -> str:
        annotations = found["Deployment"]["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["qwen3.dev/config-digest"])

    smaller = Settings.model_validate(
        merge(SETTINGS.model_dump(by_alias=True), {"serving": {"maxLoraRank": 8}})
    )
    assert digest(pool_objects()) == digest(pool_objects(replicas=5))
    assert digest(pool_objects()) != digest(pool_objects(smaller))


def test_the_sidecars_port_is_the_operators_alone() -> None:
    policy = pool_objects()["NetworkPolicy"]["spec"]
    rule = next(r for r in policy["ingress"] if r["ports"][0]["port"] == 8001)
    (source,) = rule["from"]
    assert source["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": SETTINGS.operator_namespace
    }


def test_the_pods_are_told_where_the_index_is() -> None:
    config = pool_objects()["ConfigMap"]["data"]["server.json"]
    found = ServerConfig.model_validate_json(config)
    assert found.index.prefix == "qwen3/team-a/pools/pool-x/index.json"
    assert found.max_rank == SETTINGS.serving.max_lora_rank
