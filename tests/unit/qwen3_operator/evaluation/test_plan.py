"""The decision about an evaluation: a low score is no error, a missing target no failure."""

from typing import Any

import pytest

from qwen3_api.job.base import Failure
from qwen3_api.job.evaluate import EvalProgressDocument, EvalResult
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.evaluation import Verdict
from qwen3_api.v1alpha1.failure import FailureClass, FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.finetune.views import FineTune
from qwen3_operator.resources.labels import ANNOTATION_PARKED
from support.evaluation_world import (
    BOT,
    SERVED,
    build_any_eval,
    build_eval,
    build_eval_job,
    build_report,
    order_of,
    plan,
    told,
)
from support.operator_world import MODEL, build_commit, build_finetune, build_pod, id_of


def test_asks_the_immutable_id() -> None:
    found = plan()
    _, job = found.apply
    order = order_of(found)
    assert order.target.model == id_of(BOT, build_commit(BOT))
    assert order.target.base_url.endswith("/v1")
    assert [(b.name, b.model) for b in order.baselines] == [("base", MODEL)]
    assert found.status is not None
    assert found.status.resolved is not None
    assert found.status.resolved.target_digest == build_commit(BOT).digest
    assert job["metadata"]["ownerReferences"][0]["kind"] == "Qwen3Eval"


@pytest.mark.parametrize(
    ("fine_tunes", "changes"),
    [
        pytest.param({}, {}, id="no such fine-tune"),
        pytest.param({"bot": build_finetune()}, {}, id="not served yet"),
        pytest.param(
            {"bot": build_finetune(status=FineTuneStatus(serving=BOT.status.serving))},
            {},
            id="no condition says so",
        ),
        pytest.param(
            SERVED,
            {"target": {"fineTune": {"name": "bot", "revision": "01d00000"}}},
            id="a revision that isn't there",
        ),
        pytest.param(
            SERVED,
            {
                "baselines": [
                    {"name": "cat", "type": "FineTune", "fineTune": {"name": "cat"}},
                ]
            },
            id="a baseline that isn't there",
        ),
    ],
)
def test_waits_for_its_target(fine_tunes: dict[str, FineTune], changes: dict[str, Any]) -> None:
    found = plan(build_eval(**changes), fine_tunes=fine_tunes)
    assert told(found)["Ready"] == ("False", "TargetNotReady")
    assert told(found)["Succeeded"] == ("Unknown", "TargetNotReady")
    assert found.apply == ()
    assert found.requeue_after is not None


def test_completed() -> None:
    found = plan(job=build_eval_job(complete=True), report=build_report(), report_uri="s3://q/r")
    assert told(found)["Succeeded"] == ("True", "Completed")
    assert found.status is not None
    first = found.status.results[0]
    assert (first.value, first.baseline, first.delta) == ("0.7500", "0.2500", "+0.5000")
    assert found.status.results[1].baseline is None
    assert (found.status.score, found.status.samples) == ("0.7500", 20)
    assert found.status.verdict is Verdict.COMPLETED
    assert [m["spec"] for m in found.lifecycle] == [{"ttlSecondsAfterFinished": 86400}]
    again = plan(
        build_eval(found.status),
        job=build_eval_job(complete=True, ttl=86400),
        report=build_report(),
        report_uri="s3://q/r",
    )
    assert again.status is not None
    assert again.status.to_wire() == found.status.to_wire()
    assert (again.events, again.lifecycle) == ((), ())


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        ({"job": build_eval_job(complete=True)}, "EvaluatorFailed"),
        ({"job": build_eval_job(failed=True)}, "EvaluatorFailed"),
        (
            {
                "job": build_eval_job(failed=True),
                "report": build_report(
                    outcome="Failed", failure=Failure(reason="DatasetEmpty", message="no rows")
                ),
            },
            "DatasetEmpty",
        ),
        (
            {
                "job": build_eval_job(failed=True),
                "report": build_report(
                    outcome="Failed", failure=Failure(reason="MyOwnWord" * 99, message="x")
                ),
            },
            "EvaluatorFailed",
        ),
    ],
)
def test_failed(observed: dict[str, Any], reason: str) -> None:
    """The report comes from a tenant's pod: a word of its own must not break the operator."""
    found = plan(**observed)
    assert told(found)["Succeeded"] == ("False", reason)
    assert told(found)["Stalled"] == ("True", reason)
    assert found.status is not None
    assert found.status.verdict is Verdict.ERROR


@pytest.mark.parametrize("value", [1e308, -1e308, float("nan"), float("inf")])
def test_no_number_of_a_tenant_breaks_the_status(value: float) -> None:
    result = EvalResult(
        suite="quiz", metric="ExactMatch", model="target", value=value, samples=10**40
    )
    found = plan(report=build_report(results=[result], finished="never"))
    assert told(found)["Succeeded"] == ("True", "Completed")
    progress = EvalProgressDocument(
        completed=10**40, total=-1, suite="s" * 999, eta_seconds=10**40, updated=""
    )
    running = plan(job=build_eval_job(), pods=(build_pod(),), progress=progress)
    assert told(running)["Ready"] == ("False", "Evaluating")


def test_suspend_and_resume() -> None:
    parked = build_eval(suspend=True)
    assert plan(parked).apply == ()
    found = plan(parked, job=build_eval_job())
    assert found.lifecycle[0]["metadata"]["annotations"] == {ANNOTATION_PARKED: "true"}
    assert "Reconciling" not in told(found)
    assert plan(parked, job=build_eval_job(suspended=True, parked=True)).lifecycle == ()
    resumed = plan(job=build_eval_job(suspended=True, parked=True))
    assert resumed.lifecycle[0]["spec"] == {}
    assert plan(job=build_eval_job(suspended=True)).lifecycle == (), "not ours to start"


def test_the_job_of_an_earlier_namesake_is_no_verdict() -> None:
    for changes in ({"complete": True}, {"failed": True}):
        found = plan(job=build_eval_job(owner_uid="uid-of-yesterday", **changes))
        assert told(found)["Succeeded"][0] == "Unknown"
        assert found.requeue_after is not None


def test_an_unreadable_spec() -> None:
    found = plan(build_any_eval(suites=[]))
    assert told(found)["Stalled"] == ("True", "InvalidSpec")


STORE_REFUSES = FailureStatus.of("StorageDenied", "the object store refused", retriable=True)


def test_a_store_that_refuses_is_no_verdict() -> None:
    """A promotion would refuse the candidate over it, and it may be mended in a minute."""
    found = plan(job=build_eval_job(), storage_problem=STORE_REFUSES)
    assert told(found)["Stalled"] == ("True", "StorageDenied")
    assert told(found)["Succeeded"] == ("Unknown", "StorageDenied")
    assert found.status is not None
    assert found.status.verdict is None
    assert found.requeue_after is not None


@pytest.mark.parametrize(
    "world",
    [
        {"job": build_eval_job(complete=True, ttl=86400), "report": build_report()},
        {"job": build_eval_job(failed=True), "pods": (build_pod(phase="Failed", exit_code=137),)},
    ],
    ids=["completed", "failed"],
)
def test_a_verdict_outlives_the_store(world: dict[str, Any]) -> None:
    """An error too: its pod may be deleted when the store accepts again."""
    done = plan(**world).status
    assert done is not None
    assert done.verdict is not None
    elsewhere = {"output": {"s3": {"endpoint": "http://unknown.test"}}}
    for found in (
        plan(build_eval(done), storage_problem=STORE_REFUSES),
        plan(build_eval(done, **elsewhere)),
        plan(build_any_eval(done, suites=[])),
    ):
        assert (found.status, found.events) == (None, ())
    assert plan(build_eval(done), storage_problem=STORE_REFUSES).requeue_after is not None


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (
            {
                "waiting_reason": "CreateContainerConfigError",
                "waiting_message": 'secret "judge-key" not found',
            },
            "CredentialsNotFound",
            ('secret "judge-key" not found', "OPENAI_API_KEY", "secretRef"),
        ),
        (
            {"unschedulable": "0/3 nodes are available"},
            "Unschedulable",
            ("0/3 nodes are available", "spec.runner"),
        ),
    ],
)
def test_a_pod_that_waits_says_for_what(
    pod: dict[str, str], reason: str, words: tuple[str, ...]
) -> None:
    found = plan(job=build_eval_job(), pods=(build_pod(phase="Pending", **pod),))
    assert told(found)["Ready"] == ("False", reason)
    assert found.status is not None
    message = found.status.conditions[0].message
    assert [w for w in words if w not in message] == []


def test_out_of_memory_names_the_field_of_an_evaluation() -> None:
    pod = build_pod(phase="Failed", exit_code=137, ended_reason="OOMKilled")
    found = plan(job=build_eval_job(failed=True), pods=(pod,))
    assert found.status is not None
    assert found.status.failure is not None
    assert found.status.failure.hint == "Raise spec.runner.memory."


def test_a_kill_that_nobody_calls_memory_is_a_failure_of_the_system() -> None:
    pod = build_pod(phase="Failed", exit_code=137, ended_reason="Error")
    found = plan(job=build_eval_job(failed=True), pods=(pod,))
    assert found.status is not None
    assert found.status.failure is not None
    assert found.status.failure.reason == Reason.EVALUATOR_FAILED
    assert found.status.failure.failure_class is FailureClass.SYSTEM


def test_progress_ends_full() -> None:
    """A quick run is over before anybody looks: its last progress.json lies beside the report."""
    last = EvalProgressDocument(completed=38, total=40, suite="quiz", eta_seconds=3, updated="")
    found = plan(job=build_eval_job(complete=True), report=build_report(), progress=last)
    assert found.status is not None
    assert found.status.progress is not None
    assert found.status.progress.to_wire() == {"completed": 40, "total": 40}
