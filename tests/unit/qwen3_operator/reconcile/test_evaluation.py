"""Evaluations in the simulated world: a candidate is asked before it has a name, then gets it."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.evaluate import EvalGateResult, EvalJob, EvalProgressDocument, EvalReport
from qwen3_api.job.exit_codes import ExitCode
from qwen3_operator.desired.names import LABEL_EVAL
from support.operator_simulator import World
from support.operator_world import EVALUATION, build_spec
from support.simulated_operator import Crash, Operator

EVAL = "Qwen3Eval"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def world(loop: asyncio.AbstractEventLoop) -> World:
    return World(loop)


@pytest.fixture
def operator(world: World) -> Operator:
    return Operator(world)


def turn(world: World, operator: Operator, times: int = 12) -> None:
    """Everybody does rounds of work; evaluators don't end by themselves."""
    for _ in range(times):
        world.api.collect_garbage()
        world.terminate_pods()
        world.control_jobs()
        world.control_deployments()
        for pod in world.job_pods():
            world.start_pod(pod)
            if LABEL_EVAL not in pod["metadata"]["labels"]:
                world.end_pod(pod, ExitCode.SUCCEEDED)
        world.step_servers()
        operator.resync()
        operator.deliver()
        operator.work()


def evaluations(world: World) -> list[dict[str, Any]]:
    """Every Qwen3Eval, oldest first."""
    return sorted(world.api.all(EVAL), key=lambda b: int(b["metadata"]["uid"].rsplit("-", 1)[-1]))


def order_of(world: World, evaluation: dict[str, Any]) -> EvalJob:
    """What its evaluator reads."""
    config_map = world.api.objects["ConfigMap", f"{evaluation['metadata']['name']}-eval"]
    return EvalJob.model_validate_json(config_map["data"]["job.json"])


def report(world: World, evaluation: dict[str, Any], verdict: Any) -> None:
    """The evaluator ends: each gate got this verdict."""
    order = order_of(world, evaluation)
    gates = [
        EvalGateResult(name=g.name, verdict=verdict, estimate=0.2, samples=40, message="so it is")
        for g in order.gates
    ]
    document = EvalReport(
        outcome="Completed", verdict=verdict, gates=gates, target_model=order.target.model,
        started="2026-03-01T12:00:00Z", finished="2026-03-01T12:01:00Z",
    )  # fmt: skip
    progress = EvalProgressDocument(completed=80, total=80, suite="x", eta_seconds=0, updated="")
    world.bucket.put(f"{order.output.prefix}/{layout.PROGRESS}", progress.to_json())
    world.bucket.put(f"{order.output.prefix}/{layout.REPORT}", document.to_json())


def bot(world: World) -> dict[str, Any]:
    """Its status."""
    body = world.finetune("bot")
    assert body is not None
    status: dict[str, Any] = body["status"]
    return status


def serve_gated(world: World, operator: Operator) -> str:
    """A gated fine-tune, from nothing to Ready; its revision."""
    world.create("bot", build_spec(evaluation=EVALUATION))
    turn(world, operator)
    (first,) = evaluations(world)
    report(world, first, "Passed")
    turn(world, operator)
    return str(bot(world)["serving"]["revision"])


def test_the_first_candidate_is_asked_before_it_has_a_name(
    world: World, operator: Operator
) -> None:
    world.create("bot", build_spec(evaluation=EVALUATION))
    turn(world, operator)
    (first,) = evaluations(world)
    order = order_of(world, first)
    assert order.target.model == bot(world)["serving"]["candidateID"]
    assert [b.name for b in order.baselines] == ["base"]
    assert "revision" not in bot(world)["serving"]
    assert world.pointers() == {}
    report(world, first, "Passed")
    turn(world, operator)
    (first,) = evaluations(world)
    assert first["status"]["verdict"] == "Passed"
    assert first["status"]["progress"] == {"completed": 80, "total": 80}
    assert first["status"]["reportURI"].endswith("/report.html")
    assert bot(world)["serving"]["modelID"] == order.target.model


@pytest.mark.parametrize(("verdict", "serves"), [("Passed", True), ("Failed", False)])
def test_the_next_one_is_asked_beside_the_incumbent(
    world: World, operator: Operator, verdict: str, serves: bool
) -> None:
    revision = serve_gated(world, operator)
    before = bot(world)["serving"]["modelID"]
    world.edit("bot", hyperparameters={"seed": 99})
    turn(world, operator)
    second = evaluations(world)[-1]
    order = order_of(world, second)
    assert order.target.model != before
    assert [(b.name, b.model) for b in order.baselines][1] == ("incumbent", before)
    assert bot(world)["serving"]["revision"] == revision
    report(world, second, verdict)
    turn(world, operator)
    serving = bot(world)["serving"]
    assert serving["modelID"] == (order.target.model if serves else before)
    assert (serving["revision"] != revision) is serves


def test_an_unloaded_revision_is_waited_for(world: World, operator: Operator) -> None:
    """The sidecars are asked, not the status: a candidate that no pod holds gets no Job."""
    serve_gated(world, operator)
    for server in world.servers.values():
        server.refuses = True
    world.edit("bot", hyperparameters={"seed": 99})
    turn(world, operator)
    candidate = bot(world)["revisions"][0]["id"]
    target = {"fineTune": {"name": "bot", "revision": candidate}}
    create_evaluation(world, "by-hand", {"target": target, "suites": EVALUATION["suites"]})
    turn(world, operator)
    found = world.api.get(EVAL, "by-hand")
    assert found is not None
    assert found["status"]["stage"] == "TargetNotReady"
    assert ("Job", "by-hand-eval") not in world.api.objects
    for server in world.servers.values():
        server.refuses = False
    turn(world, operator)
    assert ("Job", "by-hand-eval") in world.api.objects


def create_evaluation(world: World, name: str, spec: dict[str, Any]) -> None:
    """Somebody applies a Qwen3Eval."""
    world.api.create(
        {
            "apiVersion": "qwen3.dev/v1alpha1",
            "kind": EVAL,
            "metadata": {"name": name, "generation": 1},
            "spec": spec,
        }
    )


def nightly(world: World) -> dict[str, Any]:
    """Its status."""
    body = world.api.get(EVAL, "nightly")
    assert body is not None
    status: dict[str, Any] = body["status"]
    return status


def test_a_schedule_asks_what_serves_at_that_time(world: World, operator: Operator) -> None:
    """Each run has a Job, a report and a verdict of its own; the operator may be away."""
    world.create("bot", build_spec())
    turn(world, operator)
    spec = {
        "target": {"fineTune": {"name": "bot"}},
        "suites": EVALUATION["suites"],
        "schedule": {"cron": "0 3 * * *", "historyLimit": 2},
    }
    create_evaluation(world, "nightly", spec)
    turn(world, operator)
    assert [b["metadata"]["name"] for b in evaluations(world)] == ["nightly"]
    asked = []
    for night in range(4):
        if night == 1:
            world.edit("bot", hyperparameters={"seed": 99})
            turn(world, operator)
        world.advance(86400 * (3 if night == 2 else 1))
        operator = Operator(world)
        turn(world, operator)
        run = evaluations(world)[-1]
        assert nightly(world)["schedule"]["active"] == run["metadata"]["name"]
        asked.append((order_of(world, run).target.model, order_of(world, run).output.prefix))
        report(world, run, "Completed")
        turn(world, operator)
        assert nightly(world)["reportURI"].endswith(f"{asked[-1][1]}/report.html")
    models, folders = zip(*asked, strict=True)
    assert models[0] != models[1]
    assert models[1:] == (models[1],) * 3
    assert len(set(folders)) == 4
    runs = [b["metadata"]["name"] for b in evaluations(world) if b["metadata"]["name"] != "nightly"]
    history = nightly(world)["schedule"]["history"]
    assert sorted(runs) == sorted(line["name"] for line in history)
    assert [line["scheduledTime"] for line in history] == [
        "2026-03-07T03:00:00Z",
        "2026-03-06T03:00:00Z",
    ]
    assert world.api.created[EVAL] == 5, "the nights that were missed are made up for once"


@pytest.mark.parametrize("fuse", range(8))
def test_a_crash_at_any_write_starts_no_second_run(world: World, fuse: int) -> None:
    spec = {
        "target": {"type": "Endpoint", "endpoint": {"url": "http://x/v1", "model": "x"}},
        "baselines": [],
        "suites": EVALUATION["suites"],
        "schedule": {"cron": "0 3 * * *"},
    }
    create_evaluation(world, "nightly", spec)
    world.advance(86400)
    dying = Operator(world, fuse=fuse)
    dying.resync()
    with contextlib.suppress(Crash):
        dying.work()
    operator = Operator(world)
    turn(world, operator)
    assert world.api.created[EVAL] == 2
    assert world.api.created["Job"] == 1
    for body in evaluations(world)[1:]:
        assert nightly(world)["schedule"]["active"] == body["metadata"]["name"]
