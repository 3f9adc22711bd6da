"""Evaluations in the simulated world: a candidate is asked before it has a name, then gets it."""

import contextlib
import json
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.base import FileDigest
from qwen3_api.job.evaluate import EvalGateResult, EvalJob, EvalProgressDocument, EvalReport
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import adapter_digest
from qwen3_operator.resources.labels import LABEL_EVAL
from support.operator_simulator import World
from support.operator_world import EVALUATION, MODEL, SETTINGS, build_spec, sha256
from support.simulated_operator import Crash, Operator

EVAL = "Qwen3Eval"


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


# --- adapters that don't serve

FOLDER = "qwen3/team-a/adapters/one"


def upload(world: World, rank: int = 16, base: str = MODEL, folder: str = FOLDER) -> str:
    """Somebody's adapter; its digest."""
    config = json.dumps({"r": rank, "base_model_name_or_path": base}).encode()
    files = {"adapter_config.json": config, "adapter_model.safetensors": b"weights"}
    for path, body in files.items():
        world.bucket.put(f"{folder}/{path}", body)
    return adapter_digest(
        [FileDigest(path=p, size=len(b), sha256=sha256(b)) for p, b in files.items()]
    )


def folder_target(digest: str, folder: str = FOLDER, **changes: Any) -> dict[str, Any]:
    adapter = {
        "s3": {"uri": f"s3://qwen3/{folder}/"},
        "digest": digest,
        "baseModel": {"name": MODEL},
    }
    return {"type": "Adapter", "adapter": adapter | changes}


def ask_adapter(world: World, target: dict[str, Any], name: str = "trial") -> None:
    create_evaluation(world, name, {"target": target, "suites": EVALUATION["suites"]})


def trial(world: World, name: str = "trial") -> dict[str, Any]:
    """The evaluation."""
    body = world.api.get(EVAL, name)
    assert body is not None
    return body


def loaded(world: World) -> set[str]:
    """What pods hold."""
    return {id_ for server in world.servers.values() for id_ in server.loaded}


def test_a_folder_is_loaded_asked_and_unloaded_beside_what_serves(
    world: World, operator: Operator
) -> None:
    world.create("bot", build_spec())
    turn(world, operator)
    served, pointers = loaded(world), world.pointers()
    digest = upload(world)
    ask_adapter(world, folder_target(digest))
    turn(world, operator)
    order = order_of(world, trial(world))
    assert order.target.model == f"team-a.trial.{digest[:8]}"
    assert [b.model for b in order.baselines] == [MODEL]
    assert loaded(world) == served | {order.target.model}
    assert world.pointers() == pointers
    (index,) = world.indexes().values()
    assert order.target.model not in index.aliases.values()
    report(world, trial(world), "Completed")
    turn(world, operator)
    status = trial(world)["status"]
    assert (status["verdict"], status["resolved"]["targetDigest"]) == ("Completed", digest)
    assert loaded(world) == served
    assert world.pointers() == pointers


def test_without_a_pool_one_is_there_for_the_evaluation(world: World, operator: Operator) -> None:
    """A revision of a fine-tune that never serves."""
    world.create("bot", build_spec(serving={"mode": "None"}))
    turn(world, operator)
    (revision,) = bot(world)["revisions"]
    assert world.servers == {}
    ask_adapter(
        world,
        {"type": "Adapter", "adapter": {"fineTune": {"name": "bot", "revision": revision["id"]}}},
    )
    turn(world, operator)
    order = order_of(world, trial(world))
    assert order.target.model == f"team-a.bot.{revision['adapterDigest'][:8]}"
    assert loaded(world) == {order.target.model}
    report(world, trial(world), "Completed")
    turn(world, operator)
    assert trial(world)["status"]["resolved"]["targetRevision"] == revision["id"]
    assert world.servers == {}
    assert world.api.all("Deployment") == []


def test_an_evaluation_that_is_deleted_leaves_nothing_loaded(
    world: World, operator: Operator
) -> None:
    ask_adapter(world, folder_target(upload(world)))
    turn(world, operator)
    assert len(loaded(world)) == 1
    world.api.delete(trial(world))
    turn(world, operator)
    assert world.servers == {}


@pytest.mark.parametrize(
    ("reason", "words", "changes"),
    [
        ("ArtifactCorrupt", "not 000000000000", {"digest": "0" * 64}),
        ("ArtifactRefused", "trained on Other/Base", {"base": "Other/Base"}),
        ("AdapterRankTooHigh", "its rank is 65, the limit of pools is 64", {"rank": 65}),
        ("ArtifactRefused", "adapter_config.json: r ", {"rank": 0}),
        ("BaseModelNotFound", "Qwen/Qwen3-99B", {"wanted": "Qwen/Qwen3-99B"}),
        ("StorageDenied", "outside s3://qwen3/qwen3/team-a/", {"folder": "qwen3/team-b/one"}),
        ("StorageDenied", "outside", {"folder": "qwen3/team-a/../team-b/one"}),
    ],
)
def test_what_can_never_be_asked_is_an_error(
    world: World, operator: Operator, reason: str, words: str, changes: dict[str, Any]
) -> None:
    folder = changes.pop("folder", FOLDER)
    wanted, given = changes.pop("wanted", MODEL), changes.pop("digest", None)
    digest = upload(world, folder=folder, **changes)
    ask_adapter(world, folder_target(given or digest, folder, baseModel={"name": wanted}))
    turn(world, operator)
    status = trial(world)["status"]
    assert (status["verdict"], status["failure"]["reason"]) == ("Error", reason)
    assert words in status["failure"]["message"]
    assert world.servers == {}, "nothing was started for it"
    written = len(world.statuses)
    turn(world, operator)
    assert len(world.statuses) == written


def test_what_a_sidecar_refuses_is_unloaded_and_stays_refused(
    world: World, operator: Operator
) -> None:
    """The pool forgets it with its unloading; the evaluation doesn't."""
    world.create("bot", build_spec())
    turn(world, operator)
    for server in world.servers.values():
        server.refuses = True
    ask_adapter(world, folder_target(upload(world)))
    turn(world, operator, 20)
    status = trial(world)["status"]
    assert (status["verdict"], status["stage"]) == ("Error", "LoadFailed")
    (index,) = world.indexes().values()
    assert [a.id for a in index.adapters] == [bot(world)["serving"]["modelID"]]
    written = len(world.statuses)
    turn(world, operator)
    assert len(world.statuses) == written


def test_what_is_missing_is_waited_for(world: World, operator: Operator) -> None:
    digest = upload(world, folder="qwen3/team-a/adapters/other")
    ask_adapter(world, folder_target(digest))
    turn(world, operator)
    status = trial(world)["status"]
    assert (status["stage"], status.get("verdict")) == ("AdapterNotFound", None)
    upload(world)
    turn(world, operator)
    assert order_of(world, trial(world)).target.model.endswith(digest[:8])


def test_a_full_pool_is_waited_for(world: World) -> None:
    small = SETTINGS.model_copy(
        update={"serving": SETTINGS.serving.model_copy(update={"max_loras": 1, "max_cpu_loras": 1})}
    )
    operator = Operator(world, settings=small)
    world.create("bot", build_spec())
    turn(world, operator)
    served = loaded(world)
    ask_adapter(world, folder_target(upload(world)))
    turn(world, operator)
    status = trial(world)["status"]
    assert (status["stage"], status.get("verdict")) == ("PoolFull", None)
    assert loaded(world) == served
    world.delete("bot")
    turn(world, operator, 20)
    assert order_of(world, trial(world)).target.model in loaded(world)


def test_suspended_it_gives_its_place_back(world: World, operator: Operator) -> None:
    ask_adapter(world, folder_target(upload(world)))
    turn(world, operator)
    model = order_of(world, trial(world)).target.model
    for suspend, held in ((True, False), (False, True)):
        trial(world)["spec"]["suspend"] = suspend
        trial(world)["metadata"]["generation"] += 1
        world.api.changed(trial(world))
        turn(world, operator)
        assert (model in loaded(world)) is held
        job = world.api.get("Job", "trial-eval")
        assert job is not None
        assert job["spec"]["suspend"] is suspend


def test_an_operator_that_was_restarted_keeps_what_is_asked(world: World) -> None:
    """It has verified nothing yet: what the index names stays until it has."""
    operator = Operator(world)
    ask_adapter(world, folder_target(upload(world)))
    turn(world, operator)
    model = order_of(world, trial(world)).target.model
    for path in ("adapter_config.json", "adapter_model.safetensors"):
        del world.bucket.objects[f"{FOLDER}/{path}"]
    another = Operator(world)
    turn(world, another)
    assert loaded(world) == {model}
    report(world, trial(world), "Completed")
    turn(world, another)
    assert world.servers == {}
