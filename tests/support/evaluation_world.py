"""Evaluations and the world around them, for tests of the decision about one."""

from dataclasses import replace
from typing import Any

from qwen3_api.job.evaluate import EvalJob, EvalReport, EvalResult
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import EvalStatus, ResolvedStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus, RevisionStatus, ServingStatus
from qwen3_api.v1alpha1.meta import Condition
from qwen3_operator.evaluation.actions import EvalPlan
from qwen3_operator.evaluation.plan import EvalObserved, plan_evaluation
from qwen3_operator.evaluation.views import (
    Evaluation,
    ReadableEvaluation,
    ScheduledRun,
    parse_evaluation,
)
from qwen3_operator.finetune.plan import plan_finetune
from qwen3_operator.finetune.views import FineTune, Observed
from qwen3_operator.resources.conditions import Conditions
from qwen3_operator.resources.views import JobView
from qwen3_operator.serving.views import PoolPod
from support.operator_world import (
    NOW,
    SETTINGS,
    build_alias,
    build_body,
    build_commit,
    build_finetune,
    build_job,
    build_pool,
    build_pool_pod,
    id_of,
    serving_pod,
)

ENDPOINT = "http://pool-qwen3-8b-abc123.team-a.svc.cluster.local/v1"
CREATED = "2026-03-01T11:00:00Z"
QUESTIONS = {"data": {"type": "ConfigMap", "configMap": {"name": "q", "key": "q.jsonl"}}}
SPEC: dict[str, Any] = {
    "target": {"fineTune": {"name": "bot"}},
    "suites": [{"name": "quiz", "questions": QUESTIONS}],
}


def build_eval(status: EvalStatus | None = None, **changes: Any) -> ReadableEvaluation:
    """A Qwen3Eval that queries the fine-tune bot; `changes` replace fields of its spec."""
    ev = build_any_eval(status, **changes)
    assert isinstance(ev, ReadableEvaluation), ev.error
    return ev


def build_any_eval(status: EvalStatus | None = None, **changes: Any) -> Evaluation:
    """The same, readable or not."""
    wire = status.to_wire() if status else None
    body = build_body({**SPEC, **changes}, wire, name="quiz", uid="uid-quiz")
    return parse_evaluation(body, SETTINGS)


def build_eval_job(**changes: Any) -> JobView:
    """Its running Job."""
    job = build_job(build_finetune(), owner_uid="uid-quiz")
    return replace(job, name="quiz-eval", revision="", **changes)


def served() -> FineTune:
    """The fine-tune bot, serving."""
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


def build_bot(serves: str | None, *stored: str) -> FineTune:
    """The fine-tune bot by its status: a revision has the name, these are stored."""
    ft = build_finetune()
    commits = {r: build_commit(ft, r) for r in stored}
    revisions = [
        RevisionStatus(id=r, spec_hash=c.spec_hash, created_time=CREATED, adapter_digest=c.digest)
        for r, c in commits.items()
    ]
    serving = ServingStatus(endpoint=ENDPOINT)
    if serves is not None:
        model = id_of(ft, commits[serves])
        serving = serving.model_copy(
            update={"model_id": model, "revision": serves, "digest": commits[serves].digest}
        )
    conditions = Conditions((), 1, NOW)
    conditions.set(
        ConditionType.SERVED, serves is not None, Reason.SERVED if serves else Reason.PENDING
    )
    status = FineTuneStatus(conditions=conditions.to_list(), revisions=revisions, serving=serving)
    return build_finetune(status=status)


def holding_pod(*revisions: str, ready: bool = True, name: str = "server-0") -> PoolPod:
    """A pod of the pool that holds these revisions of bot."""
    ft = build_finetune()
    commits = [build_commit(ft, r) for r in revisions]
    return build_pool_pod(name, {id_of(ft, c): c.digest for c in commits}, ready=ready)


BOT = served()
SERVED = {"bot": BOT}


def plan(ev: Evaluation | None = None, **observed: Any) -> EvalPlan:
    """Decide about an evaluation; the fine-tune bot serves unless `observed` says otherwise."""
    world = EvalObserved(**({"fine_tunes": SERVED} | observed))
    return plan_evaluation(ev or build_eval(), world, SETTINGS, NOW)


def conditions_of(found: EvalPlan) -> dict[str, Condition]:
    """By type, as the API server would take them."""
    assert found.status is not None
    status = EvalStatus.model_validate(found.status.to_wire())
    return {c.type: c for c in status.conditions}


def told(found: EvalPlan) -> dict[str, tuple[str, str]]:
    """Status and reason by condition."""
    return {type_: (c.status.value, c.reason) for type_, c in conditions_of(found).items()}


def order_of(found: EvalPlan) -> EvalJob:
    """The order that the pod would read."""
    config_map, _ = found.apply
    return EvalJob.model_validate_json(config_map["data"]["job.json"])


def env_of(found: EvalPlan) -> dict[str, Any]:
    """The container's environment by name."""
    _, job = found.apply
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def build_report(**changes: Any) -> EvalReport:
    """A report about quiz: target, base, and a loss of the target alone."""
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


def build_runs_end(
    run: ScheduledRun, report: EvalReport | None, revision: str | None = None
) -> ScheduledRun:
    """A run of a schedule after its Job: with a report, or failed without one."""
    ev = run.evaluation
    job = replace(
        build_eval_job(complete=report is not None, failed=report is None), owner_uid=ev.meta.uid
    )
    observed = EvalObserved(
        fine_tunes=SERVED, job=job, report=report, report_uri="s3://q/report.html"
    )
    status = plan_evaluation(ev, observed, SETTINGS, NOW).status
    assert status is not None
    resolved = ResolvedStatus(target_revision=revision)
    status = status.model_copy(update={"resolved": resolved})
    return replace(run, evaluation=replace(ev, status=status))
