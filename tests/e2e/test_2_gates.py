"""The loop that closes itself: evaluated, gated, refused, held, forced, rolled back, taken back as
a canary, promoted.

One story on the session's fine-tune, told in order. Nothing in it may cost a request.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.finetunes import EVALS, Body, Tenant, condition, is_true, stage
from support.quickstart import EXAMPLE, NAMESPACE, QUICKSTART, Stream, service_url, steady_stream
from support.waiting import wait_for

SHUFFLED = "shuffled-data"
SUITE: Body = {
    "name": "heldout",
    "questions": {
        "data": {"type": "ConfigMap", "configMap": {"name": "heldout", "key": "heldout.jsonl"}},
        "metrics": ["ExactMatch", "F1"],
    },
    "generation": {"maxTokens": 48},
}
GATES = [
    {
        "name": "better", "suite": "heldout", "metric": "ExactMatch", "baseline": "base",
        "minimumEffect": "0.3",
    },
    {
        "name": "no-worse", "suite": "heldout", "metric": "ExactMatch", "baseline": "incumbent",
        "maxRegression": "0.3",
    },
]  # fmt: skip
SHORT = {**SUITE, "questions": {**SUITE["questions"], "limit": 3}}
ROLLOUT = {
    "canarySteps": [{"weightPercent": 30, "holdSeconds": 5}],
    # How long an answer takes on two busy cores says nothing.
    "autoRollback": {"minRequests": 5, "maxLatencyIncreasePercent": 10_000},
}
WATCHED = {
    "canarySteps": [{"weightPercent": 50, "holdSeconds": 600}],
    "autoRollback": {"minRequests": 8, "maxLatencyIncreasePercent": 50},
}
CLEAN: Body = {"evaluation": None, "promotion": None, "serving": {"rollout": None}}


@pytest.fixture(scope="module")
def stream(quickstart: Body, tenant: Tenant, heldout: list[Body]) -> Iterator[Stream]:
    """Clients that ask the public name all the while."""
    url = service_url(tenant, quickstart)
    with steady_stream(url, quickstart["status"]["serving"]["modelName"]) as running:
        yield running
    assert running.failures == []


@pytest.fixture(scope="module")
def first(stream: Stream, tenant: Tenant) -> str:
    """The revision that serves before anything happens."""
    return str(tenant.wait_ready(QUICKSTART, 120)["status"]["serving"]["revision"])


def shuffle_answers() -> str:
    """Every question with the answers to four others: a model that learns it is no good, and takes
    its time."""
    rows = [json.loads(line) for line in (EXAMPLE / "data" / "train.jsonl").open()]
    answers = [row["messages"][-1]["content"] for row in rows]
    for number, row in enumerate(rows):
        others = [answers[(number + 7 * n) % len(answers)] for n in range(1, 5)]
        row["messages"][-1]["content"] = " ".join(others)
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def history(body: Body) -> list[tuple[str, str]]:
    """(action, revision), newest first."""
    return [(e["action"], e["revision"]) for e in body["status"]["history"]]


def test_a_bad_candidate_is_refused_while_the_incumbent_serves(
    first: str, tenant: Tenant, stream: Stream
) -> None:
    tenant.core.create_namespaced_config_map(
        NAMESPACE, {"metadata": {"name": SHUFFLED}, "data": {"train.jsonl": shuffle_answers()}}
    )
    before = len(stream.answers)
    tenant.patch(
        QUICKSTART,
        {
            "evaluation": {"suites": [SUITE], "gates": GATES},
            "dataset": {"train": {"type": "ConfigMap", "configMap": {"name": SHUFFLED}}},
        },
    )
    body = tenant.wait_stalled(QUICKSTART, 300)
    status = body["status"]
    assert stage(body) == "GateFailed"
    assert is_true(body, "Served")
    assert is_true(body, "Evaluated")
    gate = condition(body, "GatePassed")
    assert gate is not None
    assert (gate["status"], gate["reason"]) == ("False", "GateFailed")
    assert status["serving"]["revision"] == first
    bad = status["candidateRevision"]
    assert history(body)[0] == ("Refused", bad)
    assert status["evaluation"]["verdict"] == "Failed"
    assert float(status["evaluation"]["score"]) < float(status["evaluation"]["incumbentScore"])
    evaluation = tenant.get(status["evaluation"]["evalName"], EVALS)
    assert evaluation["status"]["verdict"] == "Failed"
    assert is_true(evaluation, "Succeeded"), "a low score is no error"
    assert len(stream.answers) > before
    assert set(stream.ids) == {status["serving"]["modelID"]}


def test_too_few_questions_are_no_verdict(first: str, tenant: Tenant) -> None:
    """Other gates are another evaluation of the same revision; nothing is trained."""
    jobs = {j.metadata.uid for j in tenant.jobs(QUICKSTART)}
    tenant.patch(QUICKSTART, {"evaluation": {"suites": [SHORT], "gates": GATES[:1]}})
    body = tenant.wait(QUICKSTART, lambda b: stage(b) == "GateInconclusive", "can't be told", 180)
    assert body["status"]["serving"]["revision"] == first
    evaluation = tenant.get(body["status"]["evaluation"]["evalName"], EVALS)
    (told,) = evaluation["status"]["gates"]
    assert told["verdict"] == "Inconclusive"
    assert told["samples"] == 3 < told["neededSamples"]
    assert {j.metadata.uid for j in tenant.jobs(QUICKSTART)} == jobs


def test_force_and_rollback_are_on_the_record(
    first: str, tenant: Tenant, stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tenant.get(QUICKSTART)["status"]["candidateRevision"]
    force = {"revision": bad, "reason": "a test wants to see it serve"}
    tenant.patch(QUICKSTART, {"promotion": {"force": force}})
    body = tenant.wait_ready(QUICKSTART, 180)
    assert body["status"]["serving"]["revision"] == bad
    assert history(body)[0] == ("Forced", bad)
    gate = condition(body, "GatePassed")
    assert gate is not None
    assert gate["status"] == "False", "force changes no verdict"
    forced = body["status"]["serving"]["modelID"]
    wait_for(lambda: stream.ids[-1], lambda id_: id_ == forced, "the stream saw it", 180, 0.1)

    asked = time.monotonic()
    tenant.patch(QUICKSTART, {"promotion": {"force": None, "rollbackTo": first}})
    wait_for(
        lambda: stream.answers[-1].model_id, lambda id_: id_ != forced, "rolled back", 60, 0.05
    )
    with capsys.disabled():
        print(
            f"\nrollback: the first answer of the earlier revision after "
            f"{time.monotonic() - asked:.1f} s"
        )
    body = tenant.wait(QUICKSTART, lambda b: stage(b) == "RolledBack", "says so", 180)
    assert is_true(body, "Ready")
    assert body["status"]["serving"]["revision"] == first
    assert history(body)[0] == ("RolledBack", first)


def test_a_canary_that_keeps_its_clients_waiting_is_taken_back(
    first: str, tenant: Tenant, stream: Stream, heldout: list[Body]
) -> None:
    """The same candidate without gates, which would refuse it. What it has learnt to say is long,
    so whoever waits for a whole answer waits longer."""
    incumbent, begun = stream.ids[0], len(stream.answers)
    stream.question, stream.max_tokens = heldout[0]["question"], 96
    tenant.patch(
        QUICKSTART,
        {"promotion": None, "evaluation": None, "serving": {"rollout": WATCHED}},
    )
    # The public name's record, which the history is read from, is written after the decision.
    body = tenant.wait(
        QUICKSTART,
        lambda b: stage(b) == "CanaryFailed" and history(b)[0][0] == "Refused",
        "is taken back, on the record",
        120,
    )
    bad, failure = body["status"]["candidateRevision"], body["status"]["failure"]
    assert is_true(body, "Stalled")
    assert is_true(body, "Served")
    assert body["status"]["serving"]["revision"] == first
    assert history(body)[0] == ("Refused", bad)
    assert "the mean time to first byte" in failure["message"]
    assert "autoRollback" in failure["hint"]
    # By chance ten in a row go to one side once in a thousand times.
    wait_for(
        lambda: [a.model_id for a in stream.answers[-10:]],
        lambda ids: set(ids) == {incumbent},
        "the incumbent has all requests again",
        30,
    )
    assert len({a.model_id for a in stream.answers[begun:]}) == 2, "for a while both answered"
    assert stream.failures == []
    assert stage(tenant.get(QUICKSTART)) == "CanaryFailed", "it isn't tried again by itself"
    stream.question, stream.max_tokens = "Hello", 4


def test_a_good_candidate_is_promoted_though_its_evaluator_was_killed(
    quickstart: Body, first: str, tenant: Tenant, stream: Stream
) -> None:
    seed = {"seed": 4711}
    tenant.patch(
        QUICKSTART,
        {
            "promotion": None,
            "evaluation": {"suites": [SUITE], "gates": GATES},
            "dataset": {"train": quickstart["spec"]["dataset"]["train"]},
            "hyperparameters": seed,
            "serving": {"rollout": ROLLOUT},
        },
    )
    body = tenant.wait(QUICKSTART, lambda b: stage(b) == "Evaluating", "the evaluation begins", 300)
    name = body["status"]["evaluation"]["evalName"]
    tenant.wait(
        name,
        lambda b: b["status"].get("progress", {}).get("completed", 0) > 0,
        "asks",
        120,
        plural=EVALS,
    )
    killed = evaluator_pods(tenant, name)
    for pod in killed:
        tenant.core.delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=0)
    body = tenant.wait(QUICKSTART, lambda b: stage(b) == "Canary", "gets its share", 300)
    assert body["status"]["serving"]["canaryWeightPercent"] == 30
    assert body["status"]["serving"]["revision"] == first
    candidate = body["status"]["serving"]["candidateID"]
    body = tenant.wait_ready(QUICKSTART, 180)
    mixed = [a.model_id for a in stream.answers]
    both = mixed[mixed.index(candidate) :]
    assert len(set(both)) == 2, "for a while both answered"
    good = body["status"]["serving"]["revision"]
    assert good not in (first, "")
    assert history(body)[0] == ("Promoted", good)
    assert is_true(body, "GatePassed")
    assert body["status"]["evaluation"]["verdict"] == "Passed"
    assert {p.metadata.uid for p in evaluator_pods(tenant, name)} != {
        p.metadata.uid for p in killed
    }, "another pod finished it"


def test_back_to_where_the_session_began(
    quickstart: Body, first: str, tenant: Tenant, stream: Stream
) -> None:
    """For the tests that follow: the first revision, without an evaluation."""
    edited = tenant.get(QUICKSTART)["spec"]["hyperparameters"]
    original = quickstart["spec"]["hyperparameters"]
    tenant.patch(QUICKSTART, {**CLEAN, "hyperparameters": dict.fromkeys(edited) | original})
    body = tenant.wait_ready(QUICKSTART, 180)
    assert body["status"]["serving"]["revision"] == first
    assert body["status"].get("evaluation") is None


def evaluator_pods(tenant: Tenant, name: str) -> list[Any]:
    return list(
        tenant.core.list_namespaced_pod(NAMESPACE, label_selector=f"qwen3.dev/eval={name}").items
    )
