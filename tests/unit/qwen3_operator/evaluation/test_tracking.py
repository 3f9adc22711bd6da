"""What goes to the trackers, what status says of it, and that no verdict waits for it."""

from typing import Any

import pytest

from qwen3_api.job.evaluate import (
    EvalTracking,
    EvalTraining,
    EvalWeave,
    TrackedModel,
    TrackingReport,
)
from qwen3_api.job.train import JobWandb
from qwen3_api.v1alpha1.conditions import ConditionType
from qwen3_api.v1alpha1.evaluation import EvalStatus, Verdict
from qwen3_operator.evaluation.plan import EvalObserved, plan_evaluation
from qwen3_operator.evaluation.tracking import awaits_tracking
from qwen3_operator.finetune.promotion.evaluation import evaluation_name, resolve_evaluation
from qwen3_operator.settings import Settings
from support.evaluation_world import (
    SERVED,
    build_eval,
    build_eval_job,
    build_report,
    conditions_of,
    env_of,
    order_of,
    plan,
    told,
)
from support.operator_world import EVALUATION, NOW, SETTINGS, build_finetune, build_spec

WEAVE = {"project": "bots", "entity": "team-a", "secretRef": {"name": "weave-key"}}
TRACKING = {"wandb": {"project": "bots", "secretRef": {"name": "wandb-key"}}, "weave": WEAVE}
RUN = "https://wandb.ai/team-a/bots/runs/uid-quiz"
TOLD = TrackingReport(
    run_url=RUN,
    evaluations=[
        TrackedModel(suite="quiz", model="target", url="https://wandb.ai/1"),
        TrackedModel(suite="quiz", model="base", url="https://wandb.ai/2"),
    ],
    finished="2026-03-01T11:31:00Z",
)
FAILED = TOLD.model_copy(
    update={"failures": ["Weave: Weave is not available", "W&B: too late"], "evaluations": []}
)


def status_of(**observed: Any) -> EvalStatus:
    found = plan(build_eval(tracking=TRACKING), report=build_report(), **observed).status
    assert found is not None
    return found


def test_the_order_names_the_projects_and_no_key() -> None:
    found = plan(build_eval(tracking=TRACKING))
    order = order_of(found)
    assert order.tracking == EvalTracking(
        wandb=JobWandb(project="bots", entity=None, offline=False, base_url=None),
        weave=EvalWeave(project="bots", entity="team-a", base_url=None, trace_url=None),
    )
    env = env_of(found)
    assert env["WANDB_API_KEY"]["secretKeyRef"] == {
        "name": "wandb-key", "key": "WANDB_API_KEY", "optional": True,
    }  # fmt: skip
    assert env["WEAVE_API_KEY"]["secretKeyRef"]["name"] == "weave-key"


def test_an_offline_run_gets_no_key() -> None:
    offline = {"wandb": {"project": "bots", "mode": "Offline", "secretRef": {"name": "k"}}}
    env = env_of(plan(build_eval(tracking=offline)))
    assert not {"WANDB_API_KEY", "WEAVE_API_KEY"} & env.keys()


def test_nothing_asked_for_nothing_said() -> None:
    found = plan()
    assert order_of(found).tracking == EvalTracking()
    assert not {"WANDB_API_KEY", "WEAVE_API_KEY"} & env_of(found).keys()
    assert ConditionType.TRACKED not in told(plan(report=build_report()))


def test_the_verdict_waits_for_no_tracker() -> None:
    found = plan(build_eval(tracking=TRACKING), report=build_report(), job=build_eval_job())
    assert found.status is not None
    assert found.status.verdict is Verdict.COMPLETED
    assert told(found)["Ready"] == ("True", "Completed")
    assert told(found)["Tracked"] == ("Unknown", "Pending")
    assert found.requeue_after is not None


def test_addresses_are_told() -> None:
    status = status_of(tracking=TOLD)
    assert status.tracking is not None
    assert status.tracking.to_wire() == {
        "runURL": RUN,
        "evaluations": [
            {"suite": "quiz", "model": "target", "url": "https://wandb.ai/1"},
            {"suite": "quiz", "model": "base", "url": "https://wandb.ai/2"},
        ],
    }


def test_a_tracker_that_failed_is_a_condition_and_no_failure() -> None:
    found = plan(build_eval(tracking=TRACKING), report=build_report(), tracking=FAILED)
    assert told(found)["Tracked"] == ("False", "TrackingFailed")
    assert conditions_of(found)["Tracked"].message == (
        "Weave: Weave is not available; W&B: too late"
    )
    assert told(found)["Ready"] == told(found)["Succeeded"] == ("True", "Completed")
    assert found.status is not None
    assert found.status.failure is None
    assert found.status.tracking is not None
    assert found.status.tracking.run_url == RUN


@pytest.mark.parametrize("first", [TOLD, FAILED])
def test_what_was_told_stays(first: TrackingReport) -> None:
    """tracking.json is read once; then the Job and its folder may go."""
    status = status_of(tracking=first)
    ev = build_eval(status, tracking=TRACKING)
    assert ev.spec is not None
    assert not awaits_tracking(ev.spec, status.conditions)
    assert plan(ev, report=build_report()).status == status


def test_a_job_that_ended_without_a_word() -> None:
    for job in (None, build_eval_job(complete=True, ttl=86400), build_eval_job(failed=True)):
        found = plan(build_eval(tracking=TRACKING), report=build_report(), job=job)
        assert told(found)["Tracked"] == ("False", "TrackingFailed")
        assert told(found)["Ready"] == ("True", "Completed")


def test_before_there_are_results() -> None:
    assert told(plan(build_eval(tracking=TRACKING)))["Tracked"] == ("Unknown", "Scheduling")
    failed = plan(build_eval(tracking=TRACKING), job=build_eval_job(failed=True))
    assert told(failed)["Tracked"][0] == "Unknown"


def test_names_that_the_spec_does_not_have_are_dropped() -> None:
    forged = TOLD.model_copy(
        update={
            "evaluations": [
                TrackedModel(suite="Other!", model="target", url="u"),
                TrackedModel(suite="quiz", model="nobody", url="u"),
                *TOLD.evaluations * 30,
            ]
        }
    )
    status = status_of(tracking=forged)
    assert status.tracking is not None
    assert {e.model for e in status.tracking.evaluations} == {"target", "base"}
    assert len(status.tracking.evaluations) == 40


# --- what a fine-tune passes on


def test_a_fine_tune_s_evaluation_is_tracked_where_it_is() -> None:
    names = set()
    for tracking in ({}, TRACKING):
        ft = build_finetune(build_spec() | {"evaluation": EVALUATION, "tracking": tracking})
        assert ft.spec is not None
        assert ft.spec.evaluation is not None
        wanted = resolve_evaluation(ft.meta, ft.spec, ft.spec.evaluation, "0a1b2c3d", None)
        assert wanted.tracking.to_wire() == ft.spec.tracking.to_wire()
        names.add(evaluation_name(ft.meta, wanted, "0a1b2c3d"))
    # Another tracker is no reason to ask all questions again.
    assert len(names) == 1


# --- the training of the target


def test_the_target_s_training_is_named_with_its_price() -> None:
    gpus = [{"product": "NVIDIA-H100-80GB-HBM3", "pricePerHour": 2.5}]
    wire = SETTINGS.model_dump(mode="json", by_alias=True)
    wire["training"] |= {"gpus": gpus, "currency": "EUR"}
    settings = Settings.model_validate(wire)
    bot = SERVED["bot"]
    priced = build_finetune(status=bot.status, settings=settings, name="bot", uid="uid-bot")
    found = plan_evaluation(build_eval(), EvalObserved(fine_tunes={"bot": priced}), settings, NOW)
    training = order_of(found).training
    assert training is not None
    revision = bot.status.serving.revision  # type: ignore[union-attr]
    assert training == EvalTraining(
        revision=str(revision),
        folder=training.folder,
        price_per_gpu_hour=2.5,
        currency="EUR",
    )
    assert training.folder.prefix == f"qwen3/team-a/uid-bot/revisions/{revision}"


def test_a_training_under_other_credentials_is_left_out() -> None:
    output = {"s3": {"credentialsSecretRef": {"name": "reports"}}}
    assert order_of(plan(build_eval(output=output))).training is None


def test_an_endpoint_has_no_training() -> None:
    endpoint = {"url": "http://vllm/v1", "model": "m"}
    ev = build_eval(target={"type": "Endpoint", "endpoint": endpoint}, baselines=[])
    assert order_of(plan(ev)).training is None
