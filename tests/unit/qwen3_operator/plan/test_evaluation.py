"""The decision about an evaluation: a low score is no error, a missing target no failure."""

from dataclasses import replace
from typing import Any

import pytest

from qwen3_api.job.base import Failure
from qwen3_api.job.evaluate import EvalJob, EvalProgressDocument, EvalReport, EvalResult
from qwen3_api.v1alpha1.evaluation import EvalStatus, Verdict
from qwen3_api.v1alpha1.finetune import FineTuneStatus
from qwen3_operator.desired.names import ANNOTATION_PARKED
from qwen3_operator.observed import Evaluation, FineTune, JobView, Observed, parse_evaluation
from qwen3_operator.plan.evaluation import EvalObserved, plan_evaluation
from qwen3_operator.plan.finetune import plan_finetune
from qwen3_operator.plan.plan import EvalPlan
from support.operator_world import (
    MODEL,
    NOW,
    SETTINGS,
    build_alias,
    build_body,
    build_commit,
    build_finetune,
    build_job,
    build_pod,
    build_pool,
    id_of,
    serving_pod,
)

QUESTIONS = {"data": {"type": "ConfigMap", "configMap": {"name": "q", "key": "q.jsonl"}}}
SPEC: dict[str, Any] = {
    "target": {"fineTune": {"name": "bot"}},
    "suites": [{"name": "quiz", "questions": QUESTIONS}],
}


def build_evaluation(status: EvalStatus | None = None, **changes: Any) -> Evaluation:
    wire = status.to_wire() if status else None
    body = build_body({**SPEC, **changes}, wire, name="quiz", uid="uid-quiz")
    return parse_evaluation(body)


def build_eval_job(**changes: Any) -> JobView:
    job = build_job(build_finetune(), owner_uid="uid-quiz")
    return replace(job, name="quiz-eval", revision="", **changes)


def served() -> FineTune:
    ft = build_finetune()
    commit = build_commit(ft)
    observed = Observed(
        commit=commit,
        verified=True,
        alias=build_alias(ft, commit),
        pool=build_pool(serving_pod(ft, commit)),
    )
    status = plan_finetune(ft, observed, SETTINGS, NOW).status
    assert status is not None
    return build_finetune(status=status)


BOT = served()
SERVED = {"bot": BOT}


def plan(ev: Evaluation | None = None, **observed: Any) -> EvalPlan:
    world = EvalObserved(**({"fine_tunes": SERVED} | observed))
    return plan_evaluation(ev or build_evaluation(), world, SETTINGS, NOW)


def told(found: EvalPlan) -> dict[str, tuple[str, str]]:
    """Status and reason by condition, as the API server would take them."""
    assert found.status is not None
    status = EvalStatus.model_validate(found.status.to_wire())
    return {c.type: (c.status.value, c.reason) for c in status.conditions}


def build_report(**changes: Any) -> EvalReport:
    results = [
        EvalResult(suite="quiz", metric="ExactMatch", model="target", value=0.75, samples=20),
        EvalResult(suite="quiz", metric="ExactMatch", model="base", value=0.25, samples=20),
        EvalResult(suite="quiz", metric="AssistantLoss", model="target", value=0.5, samples=20),
    ]
    values: dict[str, Any] = {
        "outcome": "Completed",
        "results": results,
        "target_model": "x",
        "started": "2026-03-01T11:00:00Z",
        "finished": "2026-03-01T11:30:00Z",
    }
    return EvalReport(**(values | changes))


def test_asks_the_immutable_id() -> None:
    found = plan()
    config_map, job = found.apply
    order = EvalJob.model_validate_json(config_map["data"]["job.json"])
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
    found = plan(build_evaluation(**changes), fine_tunes=fine_tunes)
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
        build_evaluation(found.status),
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
    parked = build_evaluation(suspend=True)
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
    found = plan(build_evaluation(suites=[]))
    assert told(found)["Stalled"] == ("True", "InvalidSpec")
