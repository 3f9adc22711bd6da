"""The same for a Qwen3Eval: evaluations/input and evaluations/output; see README.md."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwen3_api.job.evaluate import EvalProgressDocument, EvalReport
from qwen3_api.v1alpha1.evaluation import EvalStatus
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.evaluation.actions import EvalPlan
from qwen3_operator.evaluation.plan import EvalObserved, plan_evaluation
from qwen3_operator.evaluation.scheduled_run import build_run
from qwen3_operator.evaluation.views import ScheduledRun, parse_run
from qwen3_operator.resources.views import parse_time
from support.evaluation_world import build_bot, build_eval, build_eval_job, holding_pod
from support.golden_text import render_document
from support.golden_world import ImpossibleError
from support.operator_world import NOW, SETTINGS, build_pod, build_pool
from support.projection import project_manifest, project_status

HERE = Path(__file__).parent / "evaluations"
CASES = sorted(path.stem for path in (HERE / "input").glob("*.yaml"))
KEYS = {"bot", "holds", "job", "pod", "progress", "report", "storage", "runs"}


def render(plan: EvalPlan, before: EvalStatus) -> str:
    """The plan's projection as YAML, without what it doesn't ask for."""
    return render_document(
        {
            "apply": [project_manifest(m) for m in plan.apply],
            "lifecycle": [dict(m) for m in plan.lifecycle],
            "delete": [f"{d.kind}/{d.name}" for d in plan.delete],
            "status": project_status(before, plan.status),
            "events": [asdict(e) for e in plan.events],
            "requeueAfter": plan.requeue_after,
        }
    )


def build_observed(world: Mapping[str, Any]) -> EvalObserved:
    """The world of a case.

    Raises:
        ImpossibleError: the parts contradict each other.
    """
    job, report = world.get("job"), world.get("report")
    rules = {
        "unknown keys": bool(set(world) - KEYS),
        "a pod without a Job": "pod" in world and job is None,
        "progress beside a report is over": "progress" in world and report is not None,
        "a refusing store shows its content": "storage" in world
        and bool({"progress", "report"} & set(world)),
        "a pool holds what was never stored": not set(world.get("holds", ()))
        <= set(world.get("bot", {}).get("stored", ())),
    }
    broken = [what for what, is_so in rules.items() if is_so]
    if broken:
        raise ImpossibleError("; ".join(broken))
    bot = world.get("bot")
    return EvalObserved(
        fine_tunes={"bot": build_bot(bot.get("serves"), *bot["stored"])} if bot else {},
        pools={"bot": build_pool(holding_pod(*world["holds"]))} if "holds" in world else {},
        job=build_eval_job(**job) if job is not None else None,
        pods=(build_pod(**world["pod"]),) if "pod" in world else (),
        progress=_progress(world.get("progress")),
        report=EvalReport.model_validate(report) if report is not None else None,
        report_uri="s3://qwen3/qwen3/team-a/evals/uid-quiz/report.html",
        storage_problem=FailureStatus.of(**world["storage"]) if "storage" in world else None,
        runs=tuple(_run(**run) for run in world.get("runs", ())),
    )


def _run(time: str, status: Mapping[str, Any] | None = None) -> ScheduledRun:
    """A run of quiz for a time."""
    ev = build_eval(schedule={"cron": "@daily"})
    manifest = build_run(ev.meta, ev.spec, parse_time(time))
    body = {**manifest, "status": dict(status or {})}
    body["metadata"] |= {"uid": f"uid-{time}", "creationTimestamp": time}
    run = parse_run(body, SETTINGS)
    assert run is not None
    return run


def _progress(progress: Mapping[str, Any] | None) -> EvalProgressDocument | None:
    return EvalProgressDocument.model_validate(progress) if progress is not None else None


def plan_case(name: str) -> EvalPlan:
    """Reads a case and decides."""
    return read_case(name)[1]


def read_case(name: str) -> tuple[EvalStatus, EvalPlan]:
    """The status that a case starts from, and the decision about it."""
    case = yaml.safe_load((HERE / "input" / f"{name}.yaml").read_text())
    told = case.get("status")
    status = EvalStatus.model_validate(told) if told else None
    ev = build_eval(**(case.get("spec") or {}), status=status)
    observed = build_observed(case.get("world") or {})
    return ev.status, plan_evaluation(ev, observed, SETTINGS, NOW)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    before, plan = read_case(name)
    found = render(plan, before)
    expected = HERE / "output" / f"{name}.yaml"
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(found)
    assert found == expected.read_text(), f"pytest tests/golden --update-golden rewrites {name}"


def test_no_output_without_input() -> None:
    assert sorted(path.stem for path in (HERE / "output").glob("*.yaml")) == CASES


@pytest.mark.parametrize(
    "world",
    [
        {"pod": {"phase": "Running"}},
        {"job": {}, "progress": {}, "report": {}},
        {"storage": {"reason": "StorageDenied", "message": "x"}, "report": {}},
        {"bot": {"stored": []}, "holds": ["0123abcd"]},
        {"misspelt": 1},
    ],
)
def test_a_world_that_cannot_be_is_refused(world: dict[str, Any]) -> None:
    with pytest.raises(ImpossibleError):
        build_observed(world)
