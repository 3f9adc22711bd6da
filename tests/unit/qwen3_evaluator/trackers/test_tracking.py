"""What trackers are shown and what their processes see."""

from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job.evaluate import EvalJob, EvalTracking, EvalWeave, ModelUsage
from qwen3_api.job.train import JobWandb
from qwen3_evaluator.report.documents import sum_tokens
from qwen3_evaluator.trackers.environment import (
    evaluations_url,
    run_url,
    wandb_environment,
    weave_environment,
)
from qwen3_evaluator.trackers.views import MOST_ROWS, build_evaluated, build_summary, build_table
from support.eval_reports import build_job, build_report, build_samples
from support.evaluations import build_job as small_job
from support.evaluations import build_sample

POD = {
    "PATH": "/bin",
    "HTTPS_PROXY": "http://proxy:3128",
    "AWS_SECRET_ACCESS_KEY": "s3-secret",
    "API_KEY_TARGET": "sk-1",
    "API_KEY_JUDGE_0_0": "sk-2",
    "WANDB_API_KEY": "wandb-key",
    "WEAVE_API_KEY": "weave-key",
    "WANDB_BASE_URL": "http://elsewhere",
}


def wandb(**fields: Any) -> JobWandb:
    return JobWandb.model_validate(
        {"project": "bots", "entity": None, "offline": False, "base_url": None} | fields
    )


def weave(**fields: Any) -> EvalWeave:
    return EvalWeave.model_validate(
        {"project": "bots", "entity": None, "base_url": None, "trace_url": None} | fields
    )


def tracked(**tracking: Any) -> EvalJob:
    return build_job().model_copy(update={"tracking": EvalTracking(**tracking)})


def test_a_tracker_sees_its_own_key_alone() -> None:
    job = build_job()
    of_wandb = wandb_environment(POD, job, wandb(), Path("/w"), "k")
    of_weave = weave_environment(POD, weave(), Path("/w"), "k2")
    for env, key in ((of_wandb, "k"), (of_weave, "k2")):
        assert env["WANDB_API_KEY"] == key
        secrets = {"s3-secret", "sk-1", "sk-2", "wandb-key", "weave-key"}
        assert not secrets & set(env.values())
        # Nor does the pod's environment decide where it sends to.
        assert "WANDB_BASE_URL" not in env
        assert env["HTTPS_PROXY"] == "http://proxy:3128"
        assert env["WANDB_ERROR_REPORTING"] == "false"
    assert of_weave["OTEL_SDK_DISABLED"] == "true"


def test_an_offline_run_has_no_key() -> None:
    env = wandb_environment(POD, build_job(), wandb(offline=True), Path("/w"), "k")
    assert "WANDB_API_KEY" not in env
    assert env["WANDB_MODE"] == "offline"
    assert env["WANDB_RUN_ID"] == build_job().uid


def test_self_hosted_servers() -> None:
    env = weave_environment(
        POD, weave(base_url="https://w.test", trace_url="https://t.test/x/"), Path("/w"), "k"
    )
    assert env["WANDB_BASE_URL"] == "https://w.test"
    assert env["WF_TRACE_SERVER_URL"] == "https://t.test/x"


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ({}, None),
        ({"entity": "a"}, "https://wandb.ai/a/bots/runs/"),
        ({"entity": "a", "base_url": "https://w.test"}, "https://w.test/a/bots/runs/"),
        ({"entity": "a", "offline": True}, None),
    ],
)
def test_addresses_that_are_known_beforehand(spec: dict[str, Any], url: str | None) -> None:
    job = tracked(wandb=wandb(**spec))
    assert run_url(job) == (url and url + job.uid)
    assert evaluations_url(job) is None


def test_address_of_the_evaluations() -> None:
    assert evaluations_url(tracked(weave=weave())) is None
    job = tracked(weave=weave(entity="a"))
    assert evaluations_url(job) == "https://wandb.ai/a/bots/weave/evaluations"


def test_every_figure_has_a_name_of_its_own() -> None:
    job = build_job()
    report = build_report(job, build_samples(job, 6))
    summary = build_summary(report)
    figures = len(report.results) + len(report.comparisons) + len(report.gates)
    assert len(summary) == 1 + figures + 2 * len(report.usage) + 2
    first = report.results[0]
    assert summary["support/F1/target"] == first.value
    assert "support/JudgeWin/target-against-base" in summary
    assert summary["tokens/base/prompt"] == 41_240


def test_a_table_has_a_column_per_score() -> None:
    job = build_job()
    columns, rows = build_table(job, build_samples(job, 3))
    assert columns[-6:] == [
        *("F1", "ExactMatch", "JudgeScore", "JudgeWin_base", "JudgeWin_incumbent"),
        "AssistantLoss",
    ]
    assert {len(row) for row in rows} == {len(columns)}
    assert {type(column) for column in columns} == {str}, "W&B refuses subclasses"


def test_models_are_asked_the_same_rows() -> None:
    job = small_job("ExactMatch", baselines=("base",), gates=[], samples=2)
    samples = [
        build_sample(model, line, sample=n, question=f"q{line}", scores={"ExactMatch": float(n)})
        for line in (3, 1)
        for n in (0, 1)
        for model in ("target", "base")
    ]
    target, base = build_evaluated(job, build_report(job, samples), samples)
    assert target.rows == base.rows
    assert [row["line"] for row in target.rows] == [3, 1]
    assert [(a.row, a.scores["ExactMatch"]) for a in base.answers] == [
        *((0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0)),
    ]
    assert target.summary["ExactMatch"]["value"] == 0.5
    assert "ExactMatch_base_delta" in target.summary
    assert "ExactMatch_base_delta" not in base.summary


def test_what_is_too_much_is_counted() -> None:
    job = small_job("ExactMatch", baselines=(), gates=[])
    samples = [build_sample("target", n) for n in range(1, MOST_ROWS + 3)]
    report = build_report(job, [build_sample("target", 1, scores={"ExactMatch": 1.0})])
    (asked,) = build_evaluated(job, report, samples)
    assert (len(asked.answers), asked.left_out) == (MOST_ROWS, 2)


def test_tokens_are_summed_by_model() -> None:
    job = small_job(baselines=("base", "silent"), gates=[])
    samples = [
        build_sample("base", 1, prompt_tokens=5, completion_tokens=1),
        build_sample("target", 1, prompt_tokens=7),
        build_sample("target", 2, prompt_tokens=2, completion_tokens=3),
        build_sample("silent", 1),
    ]
    assert sum_tokens(job, samples) == [
        ModelUsage(model="target", prompt_tokens=9, completion_tokens=3),
        ModelUsage(model="base", prompt_tokens=5, completion_tokens=1),
    ]
