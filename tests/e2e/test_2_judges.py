"""Judges that are down, slow, talk rubbish or say nothing: no answer is scored by default."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_local.tenants import Platform
from support import stand_in_judge
from support.finetunes import EVALS, Body, Tenant, stage
from support.quickstart import QUICKSTART

JUDGE = "stand-in-judge"
QUESTIONS = 2


def spec(model: str) -> Body:
    """Two questions, the answers judged by the stand-in."""
    questions = {
        "data": {"type": "ConfigMap", "configMap": {"name": "heldout", "key": "heldout.jsonl"}},
        "metrics": ["JudgeScore"],
        "limit": QUESTIONS,
        "judge": {"endpoints": [{"name": "j", "url": f"http://{JUDGE}:8000/v1", "model": model}]},
    }
    return {
        "target": {"fineTune": {"name": QUICKSTART}},
        "baselines": [],
        "suites": [{"name": "judged", "questions": questions, "generation": {"maxTokens": 16}}],
        "runner": {"maxRetries": 0},
    }


def judge_pod(image: str) -> Body:
    """A pod that the restricted policy admits."""
    container = {
        "name": "judge",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", Path(stand_in_judge.__file__).read_text()],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "metadata": {"name": JUDGE, "labels": {"app": JUDGE}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


@pytest.fixture(scope="module")
def judged(
    quickstart: Body, heldout: list[Body], platform: Platform, tenant: Tenant
) -> Iterator[None]:
    """Three evaluations that wait for their judge, which comes up when all have asked."""
    service = {
        "metadata": {"name": JUDGE},
        "spec": {"selector": {"app": JUDGE}, "ports": [{"port": 8000}]},
    }
    tenant.core.create_namespaced_service(tenant.namespace, service)
    names = list(stand_in_judge.REPLIES)
    for name in names:
        tenant.create(name, spec(name), EVALS)
    for name in names:
        # The answers are there, the judge is down: it is waited for, nothing is made up.
        body = tenant.wait(name, lambda b: completed(b) >= QUESTIONS, "answered", 120, EVALS)
        assert stage(body) == "Evaluating"
        assert "score" not in body["status"]
    pod = judge_pod(platform.images["evaluator"].ref)
    tenant.core.create_namespaced_pod(tenant.namespace, pod)
    yield
    tenant.core.delete_namespaced_pod(JUDGE, tenant.namespace)
    tenant.core.delete_namespaced_service(JUDGE, tenant.namespace)
    for name in names:
        tenant.delete(name, EVALS)


def completed(body: Body) -> int:
    """Requests that status counts."""
    return int(body.get("status", {}).get("progress", {}).get("completed") or 0)


def test_a_judge_that_was_down_and_is_slow_is_waited_for(judged: None, tenant: Tenant) -> None:
    status = tenant.wait_ready("slow", 180, EVALS)["status"]
    assert (status["verdict"], status["score"], status["samples"]) == (
        "Completed",
        "1.0000",
        QUESTIONS,
    )


@pytest.mark.parametrize(("name", "said"), [("garbage", "'Both are fine!'"), ("blank", "''")])
def test_a_judge_without_verdicts_scores_nothing(
    name: str, said: str, judged: None, tenant: Tenant
) -> None:
    body = tenant.wait_stalled(name, 180, EVALS)
    assert stage(body) == "JudgeUnusable"
    assert body["status"]["failure"]["message"].endswith(f"the last begins {said}")
    assert body["status"]["verdict"] == "Error"
    assert "score" not in body["status"]
