"""Bad input: one clear condition, reason and hint each, and no GPU pod left over. And good input of
which only the plan is wanted: no GPU pod at all."""

import json
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from support.finetunes import Body, Tenant, condition, is_true
from support.quickstart import EXAMPLE, NAMESPACE, QUICKSTART, small_spec
from support.waiting import wait_for

GOOD = [json.loads(line) for line in (EXAMPLE / "data" / "train.jsonl").read_text().splitlines()]
MAP = "bad-data"


def rows(*lines: Any) -> str:
    """JSON lines; a string is taken as it is."""
    return "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n"


DATA = {
    "empty.jsonl": "\n",
    "broken.jsonl": rows(GOOD[0], GOOD[1], '{"messages": [', GOOD[2]),
    "unanswered.jsonl": rows(GOOD[0], {"messages": [{"role": "user", "content": "Hello?"}]}),
}


def reading(key: str) -> dict[str, Any]:
    """A spec over one of the keys of DATA."""
    source = {"type": "ConfigMap", "configMap": {"name": MAP, "key": key}}
    return small_spec(dataset={"train": source, "maxSequenceLength": 256})


STALLS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown-model": (
        small_spec(baseModel={"name": "Qwen/Qwen3-7B"}), "BaseModelNotFound", "Qwen/Qwen3-7B"
    ),
    "no-bucket": (
        small_spec(artifacts={"s3": {"bucket": "no-such-bucket"}}), "BucketNotFound",
        "no-such-bucket",
    ),
    "wrong-key": (
        small_spec(artifacts={"s3": {"credentialsSecretRef": {"name": "wrong-key"}}}),
        "StorageDenied", "",
    ),
    "no-dataset": (reading("not-there.jsonl"), "DatasetNotFound", "not-there.jsonl"),
    "empty": (reading("empty.jsonl"), "DatasetEmpty", ""),
    "broken-line": (reading("broken.jsonl"), "DatasetInvalid", "line 3"),
    "no-answer": (reading("unanswered.jsonl"), "DatasetInvalid", "line 2"),
    "rank": (
        small_spec(adapter={"rank": 128}, serving={"mode": "SharedBase"}), "AdapterRankTooHigh",
        "128",
    ),
    "alias": (
        small_spec(serving={"mode": "SharedBase", "modelName": f"{NAMESPACE}.{QUICKSTART}"}),
        "AliasTaken", QUICKSTART,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def stalled(tenant: Tenant, quickstart: Body) -> dict[str, Body]:
    """All bad fine-tunes at once, each waited for."""
    tenant.core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": MAP}, "data": DATA})
    tenant.core.create_namespaced_secret(
        NAMESPACE,
        {
            "metadata": {"name": "wrong-key"},
            "stringData": {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "wrong"},
        },
    )
    for name, (spec, _, _) in STALLS.items():
        tenant.create(name, spec)
    return {name: tenant.wait_stalled(name, 180) for name in STALLS}


@pytest.mark.parametrize("name", STALLS)
def test_it_says_what_is_wrong_and_what_to_do(name: str, stalled: dict[str, Body]) -> None:
    _, reason, word = STALLS[name]
    body = stalled[name]
    failure, ready = body["status"]["failure"], condition(body, "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert failure["reason"] == reason
    assert failure["hint"]
    assert word in failure["message"]
    assert failure["hint"] in ready["message"]
    assert not is_true(body, "Reconciling")


def test_no_gpu_pod_is_left_over(stalled: dict[str, Body], tenant: Tenant) -> None:
    for name in stalled:
        wait_for(
            lambda name=name: [
                p for p in tenant.training_pods(name) if p.status.phase in ("Pending", "Running")
            ],
            lambda live: not live,
            f"no pod of {name} is live",
            30,
        )
        # An error of the user costs one attempt.
        assert len(tenant.training_pods(name)) <= 1


@pytest.mark.usefixtures("rows")
def test_a_plan_ends_with_an_estimate_and_asks_for_no_gpu(tenant: Tenant) -> None:
    tenant.create("plan-only", small_spec(mode="Plan"))
    status = tenant.wait_ready("plan-only", 180)["status"]
    assert status["stage"] == "Planned"
    estimate, sizing = status["preflight"]["estimate"], status["preflight"]["sizing"]
    assert estimate["steps"] == 8
    assert estimate["tokens"] > 0
    assert sizing["microBatchSize"] * sizing["gradientAccumulationSteps"] == 4
    assert sizing["message"]
    assert tenant.jobs("plan-only") == []
    (preflight,) = tenant.preflights("plan-only")
    pods = tenant.pods("qwen3.dev/fine-tune=plan-only")
    assert {p.metadata.owner_references[0].uid for p in pods} <= {preflight.metadata.uid}
    asked = [c.resources.limits or {} for p in pods for c in p.spec.containers]
    assert not any("nvidia.com/gpu" in limits for limits in asked)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (small_spec(hyperparameters={"learningrate": "1e-3"}), "learningrate"),
        (small_spec(method={"type": "DPO"}), "Preference"),
    ],
    ids=["misspelt-field", "dpo-without-preference-data"],
)
def test_admission_refuses_what_it_can(spec: dict[str, Any], word: str, tenant: Tenant) -> None:
    with pytest.raises(ApiException) as refused:
        tenant.create("refused", spec)
    assert refused.value.status in (400, 422)
    assert word in str(refused.value.body)
    assert not tenant.exists("refused")
