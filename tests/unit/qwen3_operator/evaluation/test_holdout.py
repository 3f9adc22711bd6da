"""Held-out questions: what they are compared with, who may read them, what is told."""

import json
from typing import Any

import pytest

from qwen3_api.job.evaluate import EvalHoldout, EvalLeakage
from qwen3_api.v1alpha1.evaluation import EvalStatus, Verdict
from qwen3_operator.finetune.preflight.manifests import build_preflight_job
from qwen3_operator.finetune.promotion.evaluation import resolve_evaluation
from qwen3_operator.finetune.promotion.gates import plan_admission
from qwen3_operator.finetune.training.job_spec import resolve_preflight_job, resolve_train_job
from qwen3_operator.finetune.training.manifests import build_train_job
from support.evaluation_world import (
    build_bot,
    build_eval,
    build_eval_job,
    build_report,
    conditions_of,
    env_of,
    holding_pod,
    order_of,
    plan,
    told,
)
from support.operator_world import (
    EVALUATION,
    SETTINGS,
    SIZING,
    build_evaluation,
    build_finetune,
    build_pool,
    build_spec,
    revision_of,
    spec_of,
    storage_of,
)

REVISION = "4e5f6a7b"
SECRET = {"secretRef": {"name": "held-out-keys"}}
OTHER_BUCKET = {"s3": {"bucket": "reports"}}


def leakage(**changes: Any) -> EvalLeakage:
    values = {
        "suite": "quiz", "questions": 20, "leaked": 0, "by_text": 0, "by_ngrams": 0, "lines": [],
        "training_rows": 100, "covered_rows": 100,
    }  # fmt: skip
    return EvalLeakage.model_validate(values | changes)


@pytest.mark.parametrize(
    ("target", "served"),
    [({"name": "bot"}, True), ({"name": "bot", "revision": REVISION}, False)],
)
def test_questions_are_compared_with_what_the_asked_revision_was_trained_on(
    target: dict[str, Any], served: bool
) -> None:
    """Also where no limit is set: then it is told."""
    bot = build_bot(REVISION if served else "0123abcd", REVISION, "0123abcd")
    found = plan(
        build_eval(target={"fineTune": target}, holdout={"maxLeakedPercent": 5}),
        fine_tunes={"bot": bot},
        pools={"bot": build_pool(holding_pod(REVISION))},
    )
    holdout = order_of(found).holdout
    assert isinstance(holdout, EvalHoldout)
    assert holdout.training.prefix == f"qwen3/team-a/uid-bot/revisions/{REVISION}/training-digest"
    assert holdout.max_leaked_percent == 5


def test_an_endpoint_was_trained_on_nobody_knows_what() -> None:
    target = {"type": "Endpoint", "endpoint": {"url": "http://x/v1", "model": "x"}}
    assert order_of(plan(build_eval(target=target, baselines=[]))).holdout is None


@pytest.mark.parametrize("limit", [{}, {"holdout": {"maxLeakedPercent": 0}}])
def test_a_digest_out_of_reach_is_an_error_only_where_a_limit_needs_it(
    limit: dict[str, Any],
) -> None:
    found = plan(build_eval(output=OTHER_BUCKET, **limit))
    if not limit:
        assert order_of(found).holdout is None
        return
    assert found.apply == ()
    assert told(found)["Stalled"] == ("True", "HoldoutUnknown")
    assert told(found)["HoldoutClean"] == ("Unknown", "HoldoutUnknown")
    assert found.status is not None
    assert found.status.verdict is Verdict.ERROR


def test_the_datas_credentials_are_the_evaluators_alone() -> None:
    order = order_of(plan(build_eval(holdout=SECRET)))
    assert order.data_credentials
    env = env_of(plan(build_eval(holdout=SECRET)))
    assert env["DATA_AWS_SECRET_ACCESS_KEY"]["secretKeyRef"] == {
        "name": "held-out-keys", "key": "AWS_SECRET_ACCESS_KEY", "optional": False,
    }  # fmt: skip
    assert env["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"]["name"] == "qwen3-s3"
    assert not order_of(plan(build_eval())).data_credentials
    assert not [name for name in env_of(plan(build_eval())) if name.startswith("DATA_")]


def test_a_fine_tune_hands_them_on_to_its_evaluation_and_to_no_training_pod() -> None:
    ft = build_finetune(build_spec(evaluation=EVALUATION | {"holdout": SECRET}))
    spec, storage = spec_of(ft), storage_of(ft)
    assert spec.evaluation is not None
    evaluation = resolve_evaluation(ft.meta, spec, spec.evaluation, REVISION, None)
    assert evaluation.to_wire()["holdout"] == SECRET
    preflight = resolve_preflight_job(ft, storage, SETTINGS, None)
    training = resolve_train_job(ft, storage, SETTINGS, SIZING)
    objects = [
        build_preflight_job(ft.meta, spec, preflight, storage, SETTINGS),
        build_train_job(ft.meta, spec, training, storage, SETTINGS),
    ]
    assert "held-out" not in json.dumps(objects, default=dict)


@pytest.mark.parametrize(
    ("found", "status", "reason", "words"),
    [
        (leakage(), "True", "HoldoutClean", "no question was found in the training data"),
        (leakage(leaked=3), "False", "HoldoutLeaked", "3 of 20 questions of suite quiz"),
        (leakage(covered_rows=40), "True", "HoldoutClean", "the first 40 of 100 rows"),
        (leakage(leaked=10**30, questions=-1), "False", "HoldoutLeaked", "of 0 questions"),
    ],
)
def test_what_was_found_is_told(found: EvalLeakage, status: str, reason: str, words: str) -> None:
    done = plan(job=build_eval_job(complete=True), report=build_report(holdout=[found]))
    condition = conditions_of(done)["HoldoutClean"]
    assert (condition.status, condition.reason) == (status, reason)
    assert words in condition.message
    assert told(done)["Succeeded"] == ("True", "Completed")
    assert [e.reason for e in done.events].count("HoldoutLeaked") == (status == "False")


def test_without_a_comparison_nothing_is_said() -> None:
    assert "HoldoutClean" not in told(
        plan(job=build_eval_job(complete=True), report=build_report())
    )


def test_a_candidate_whose_questions_leaked_does_not_serve() -> None:
    ft = build_finetune(build_spec(evaluation=EVALUATION | {"holdout": {"maxLeakedPercent": 0}}))
    status = {
        "verdict": "Error",
        "failure": {"reason": "HoldoutLeaked", "class": "User", "message": "2 of 40 questions"},
    }
    found = build_evaluation(ft, revision_of(ft), None, status)
    admission = plan_admission(ft, None, found)
    assert admission.problem is not None
    assert "HoldoutLeaked: 2 of 40 questions" in admission.problem.message


def test_a_fine_tune_tells_how_many_leaked() -> None:
    ft = build_finetune(build_spec(evaluation=EVALUATION))
    told = EvalStatus.model_validate(
        plan(
            job=build_eval_job(complete=True),
            report=build_report(holdout=[leakage(leaked=3)]),
        ).status.to_wire()  # type: ignore[union-attr]
    )
    found = build_evaluation(ft, revision_of(ft), None, told.to_wire())
    admission = plan_admission(ft, None, found)
    assert admission.evaluation is not None
    assert admission.evaluation.leaked_questions == 3
