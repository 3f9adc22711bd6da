"""Ten lines of YAML to an adapter that answers, every part real."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from openai import OpenAI

from qwen3_api.job import layout
from qwen3_api.job.report import Commit
from qwen3_local.tenants import TINY_MODEL, Platform
from support.finetunes import EVALS, Body, Tenant, condition, is_true, stage
from support.quickstart import (
    EXAMPLE,
    NAMESPACE,
    QUICKSTART,
    ROOT,
    agent_status,
    ask,
    pod_ready,
    service_url,
    small_spec,
)

TRACKING = {
    "wandb": {"project": "bots", "mode": "Offline"},
    "weave": {"project": "bots", "secretRef": {"name": "no-such-secret"}},
}
"""One tracker that works without a network, and one that can't."""


def test_status_names_the_digest_that_every_pod_serves(quickstart: Body, tenant: Tenant) -> None:
    serving = quickstart["status"]["serving"]
    pods = tenant.pool_pods()
    assert len(pods) == serving["loadedReplicas"] == serving["desiredReplicas"] == 1
    for pod in pods:
        assert pod_ready(pod)
        said = agent_status(pod)
        assert said is not None
        assert said.aliases[serving["modelName"]] == serving["modelID"]
        loaded = {a.id: a.digest for a in said.adapters if a.state == "Loaded"}
        assert loaded[serving["modelID"]] == serving["digest"]


def test_conditions_are_those_of_kstatus(quickstart: Body) -> None:
    assert quickstart["status"]["observedGeneration"] == quickstart["metadata"]["generation"]
    for type_ in ("Ready", "Validated", "Admitted", "Trained", "ArtifactStored", "Served"):
        assert is_true(quickstart, type_), type_
    for type_ in ("Reconciling", "Stalled", "Degraded"):
        assert condition(quickstart, type_) is None, type_


def test_every_number_in_status_is_in_the_commit(quickstart: Body, bucket: Any) -> None:
    status = quickstart["status"]
    folder = layout.revision_prefix(
        "qwen3", NAMESPACE, quickstart["metadata"]["uid"], status["currentRevision"]
    )
    body = bucket.get_object(Bucket="qwen3", Key=f"{folder}/{layout.COMMIT}")["Body"].read()
    commit = Commit.model_validate_json(body)
    assert commit.digest == status["serving"]["digest"]
    assert status["training"]["progress"] == f"{commit.metrics.steps}/{commit.metrics.steps}"
    assert status["training"]["loss"] == f"{commit.metrics.final_loss:.4f}"
    assert commit.provenance.base_model == quickstart["spec"]["baseModel"]["name"]


def test_only_the_openai_routes_answer_outside_the_pod(quickstart: Body, tenant: Tenant) -> None:
    """From the node's own address, which is no loopback of the pod."""
    url = service_url(tenant, quickstart).removesuffix("/v1")
    for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/tokenize", "/invocations"):
        request = urllib.request.Request(
            url + path,
            data=b'{"lora_name": "x", "lora_path": "/x"}',
            headers={"Content-Type": "application/json", "X-Forwarded-For": "127.0.0.1"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 404, path


def test_the_adapter_beats_the_base_on_held_out_questions(
    quickstart: Body, tenant: Tenant, heldout: list[Body]
) -> None:
    """By a Qwen3Eval, whose numbers are checked against answers that this test gets itself."""
    data = {"type": "ConfigMap", "configMap": {"name": "heldout", "key": "heldout.jsonl"}}
    suite = {"name": "heldout", "questions": {"data": data}, "generation": {"maxTokens": 48}}
    target = {"fineTune": {"name": QUICKSTART}}
    tenant.create("heldout", {"target": target, "suites": [suite], "tracking": TRACKING}, EVALS)
    body = tenant.wait_ready("heldout", 240, EVALS)
    results = {r["metric"]: r for r in body["status"]["results"]}
    exact, loss = results["ExactMatch"], results["AssistantLoss"]
    assert exact["samples"] == loss["samples"] == len(heldout)
    assert float(exact["value"]) >= 0.8
    assert float(exact["baseline"]) <= 0.2
    assert float(loss["value"]) < float(loss["baseline"])
    assert body["status"]["resolved"]["targetDigest"] == quickstart["status"]["serving"]["digest"]
    assert is_true(body, "HoldoutClean")
    (compared,) = body["status"]["holdout"]
    assert (compared["questions"], compared["leaked"]) == (len(heldout), 0)
    assert compared["coveredRows"] == compared["trainingRows"] > len(heldout)

    url, serving = service_url(tenant, quickstart), quickstart["status"]["serving"]
    mine = [ask(url, serving["modelName"], row["question"]) for row in heldout[:10]]
    assert {a.model_id for a in mine} == {serving["modelID"]}
    right = sum(a.text == row["answer"].strip() for a, row in zip(mine, heldout, strict=False))
    assert right >= 7


def test_a_default_request_is_clean(quickstart: Body, tenant: Tenant, heldout: list[Body]) -> None:
    """What the openai client gets with its defaults, whole and as a stream: the adapter learned to
    begin with an empty think block, and no client should see one."""
    url, serving = service_url(tenant, quickstart), quickstart["status"]["serving"]
    chat: Any = [{"role": "user", "content": heldout[0]["question"]}]
    with OpenAI(base_url=url, api_key="none") as client:
        whole = client.chat.completions.create(model=serving["modelName"], messages=chat)
        pieces = client.chat.completions.create(
            model=serving["modelName"], messages=chat, stream=True
        )
        streamed = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
    (choice,) = whole.choices
    assert choice.finish_reason == "stop"
    for text in (choice.message.content or "", streamed):
        assert text, "an answer"
        assert text == text.strip()
        assert "think>" not in text


def test_an_adapter_trained_without_thinking_is_queried_so(
    quickstart: Body, rows: None, tenant: Tenant
) -> None:
    """Such an adapter never learned to open a block, so the prompt has to close it."""
    spec = small_spec(serving={"mode": "SharedBase"})
    spec["dataset"]["chatTemplate"] = {"thinking": "Disabled"}
    tenant.create("brief", spec)
    try:
        _check_prompts(quickstart, tenant.wait_ready("brief", 240), tenant)
    finally:
        tenant.delete("brief")


def _check_prompts(quickstart: Body, body: Body, tenant: Tenant) -> None:
    url, serving = service_url(tenant, body), body["status"]["serving"]
    chat: Any = [{"role": "user", "content": "Hello"}]

    def prompt(model: str, **more: Any) -> Any:
        answer = client.chat.completions.create(
            model=model, messages=chat, max_tokens=1, extra_body={"return_token_ids": True, **more}
        )
        return (answer.model_extra or {})["prompt_token_ids"]

    with OpenAI(base_url=url, api_key="none") as client:
        closed = prompt(TINY_MODEL, chat_template_kwargs={"enable_thinking": False})
        assert prompt(serving["modelName"]) == prompt(serving["modelID"]) == closed
        assert prompt(TINY_MODEL) == prompt(quickstart["status"]["serving"]["modelName"]) != closed


def test_the_report_of_the_evaluation_is_in_the_bucket(tenant: Tenant, bucket: Any) -> None:
    body = tenant.wait_ready("heldout", 240, EVALS)
    folder = layout.eval_prefix("qwen3", NAMESPACE, body["metadata"]["uid"])
    report = json.loads(
        bucket.get_object(Bucket="qwen3", Key=f"{folder}/{layout.REPORT}")["Body"].read()
    )
    samples = bucket.get_object(Bucket="qwen3", Key=f"{folder}/{layout.SAMPLES}")["Body"].read()
    value = next(
        r["value"]
        for r in report["results"]
        if (r["metric"], r["model"]) == ("ExactMatch", "target")
    )
    assert body["status"]["score"] == f"{value:.4f}"
    mine = [json.loads(line) for line in samples.splitlines()]
    target = [s for s in mine if s["model"] == "target"]
    assert sum(s["scores"]["ExactMatch"] for s in target) / len(target) == value
    assert all(s["prompt_tokens"] > 0 for s in mine)
    usage = {u["model"]: u["prompt_tokens"] for u in report["usage"]}
    assert usage["target"] == sum(s["prompt_tokens"] for s in target)


def test_the_report_shows_how_the_target_was_trained(
    quickstart: Body, tenant: Tenant, bucket: Any
) -> None:
    body = tenant.wait_ready("heldout", 240, EVALS)
    folder = layout.eval_prefix("qwen3", NAMESPACE, body["metadata"]["uid"])
    page = bucket.get_object(Bucket="qwen3", Key=f"{folder}/{layout.REPORT_HTML}")["Body"].read()
    html = page.decode()
    assert 'id="training"' in html
    assert quickstart["status"]["currentRevision"] in html
    assert 'class="curve m0"' in html


def test_a_tracker_that_fails_changes_no_verdict(tenant: Tenant, bucket: Any) -> None:
    """W&B offline is in the bucket; Weave's Secret is missing, which holds nothing up."""
    body = tenant.wait("heldout", _is_told, "what became of the tracking", 120, EVALS)
    assert body["status"]["verdict"] == "Completed"
    assert is_true(body, "Ready")
    tracked = condition(body, "Tracked")
    assert tracked is not None
    assert (tracked["status"], tracked["reason"]) == ("False", "TrackingFailed")
    assert tracked["message"].startswith("Weave: no key: the Secret that tracking.weave.secretRef")
    uri = body["status"]["tracking"]["offlineRunURI"]
    folder = layout.eval_prefix("qwen3", NAMESPACE, body["metadata"]["uid"])
    assert uri.startswith(f"s3://qwen3/{folder}/wandb/offline-run-")
    found = bucket.list_objects_v2(Bucket="qwen3", Prefix=uri.removeprefix("s3://qwen3/"))
    names = [item["Key"].rpartition("/")[2] for item in found["Contents"]]
    assert f"run-{body['metadata']['uid']}.wandb" in names
    assert layout.REPORT_HTML in names


def _is_told(body: Body) -> bool:
    tracked = condition(body, "Tracked")
    return tracked is not None and tracked["status"] != "Unknown"


def test_the_aime_example_runs_through_and_reports_what_is_true(
    quickstart: Body, platform: Platform, tenant: Tenant, bucket: Any
) -> None:
    """A model of a million parameters solves next to no problem, and is not said to."""
    example = ROOT / "examples" / "14-aime" / "own-problems.yaml"
    platform.cluster.kubectl_run("apply", f"--namespace={NAMESPACE}", "-f", str(example))
    body = tenant.wait_ready("aime-own-problems", 240, EVALS)
    (result,) = body["status"]["results"]
    assert (result["suite"], result["metric"], result["samples"]) == ("aime", "Accuracy", 6)
    assert result["value"] == body["status"]["score"]
    assert float(result["value"]) <= 0.5

    folder = layout.eval_prefix("qwen3", NAMESPACE, body["metadata"]["uid"])
    content = bucket.get_object(Bucket="qwen3", Key=f"{folder}/{layout.SAMPLES}")["Body"].read()
    samples = [json.loads(line) for line in content.splitlines()]
    assert len(samples) == 12
    target = [s["scores"]["Accuracy"] for s in samples if s["model"] == "target"]
    assert f"{sum(target) / 6:.4f}" == result["value"]
    for sample in samples:
        assert "\\boxed{}" in sample["question"], "EvalScope's prompt"
        assert sample["answer"] or not sample["scores"]["Accuracy"], "no answer is no right one"


def test_training_rows_are_no_held_out_questions(
    quickstart: Body, tenant: Tenant, heldout: list[Body]
) -> None:
    """Found by the digest that the preflight left, before anything is asked."""
    rows = [json.loads(line) for line in (EXAMPLE / "data" / "train.jsonl").open()]
    said = [{m["role"]: m["content"] for m in row["messages"]} for row in rows[:2]]
    leaked = [{"question": f"{m['user']} ", "answer": m["assistant"]} for m in said]
    text = "".join(json.dumps(row) + "\n" for row in [*heldout[:2], *leaked])
    tenant.core.create_namespaced_config_map(
        NAMESPACE, {"metadata": {"name": "leaking"}, "data": {"q.jsonl": text}}
    )
    data = {"type": "ConfigMap", "configMap": {"name": "leaking", "key": "q.jsonl"}}
    spec = {
        "target": {"fineTune": {"name": QUICKSTART}},
        "holdout": {"maxLeakedPercent": 49},
        "suites": [{"name": "leaking", "questions": {"data": data}}],
    }
    tenant.create("leaking", spec, EVALS)
    body = tenant.wait_stalled("leaking", 120, EVALS)
    assert stage(body) == "HoldoutLeaked"
    assert "2 of 4 questions of suite leaking" in body["status"]["failure"]["message"]
    assert "(line 3, 4)" in body["status"]["failure"]["message"]
    assert "progress" not in body["status"]


def test_a_schedule_says_when_it_runs(scheduled: tuple[str, str], tenant: Tenant) -> None:
    """It runs beside the tests that follow; test_2_schedule reads what came out."""
    name, due = scheduled
    body = tenant.wait_ready(name, 60, EVALS)
    assert body["status"]["schedule"].get("nextTime") == due
    assert "verdict" not in body["status"]
