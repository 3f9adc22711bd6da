"""Reconciles in the simulated world, one at a time: what wakes what, and who is left alone."""

import asyncio
import copy
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.base import Failure
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import TrainReport
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.controller.keys import Key
from qwen3_operator.resources.conditions import format_time
from qwen3_operator.resources.keys import FINE_TUNE, POOL
from support.operator_simulator import World, is_preflight
from support.operator_world import NAMESPACE, SETTINGS, build_progress, build_spec
from support.simulated_operator import Operator
from support.simulated_turns import ready, serve, turn, uid

BOT = Key(FINE_TUNE, NAMESPACE, "bot")


def test_the_last_member_takes_the_pool_with_it(world: World, operator: Operator) -> None:
    serve(world, operator, "bot", "cat")
    pools = world.api.all("Deployment")
    assert len(pools) == 1, "one base model, one pool"
    world.delete("bot")
    turn(world, operator, 3)
    assert world.api.all("Deployment")
    assert ready(world, "cat")["status"] == "True"
    world.delete("cat")
    turn(world, operator, 3)
    for kind in ("Deployment", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"):
        assert not world.api.all(kind), kind


def test_leaving_the_pool_wakes_it(world: World, operator: Operator) -> None:
    """No resync: the event of the edit must be enough."""
    serve(world, operator, "bot")
    world.edit("bot", serving={"mode": "None"})
    turn(world, operator, 2)
    assert not world.api.all("Deployment")


def test_a_catalogue_that_lost_the_model_takes_nothing_down(
    world: World, operator: Operator
) -> None:
    serve(world, operator, "bot")
    (pool,) = world.api.all("Deployment")
    settings = SETTINGS.model_copy(update={"catalogue": []})
    restarted = Operator(world, settings=settings)
    restarted.reconcile(Key(POOL, NAMESPACE, pool["metadata"]["name"]))
    restarted.reconcile(BOT)
    assert ready(world)["reason"] == "BaseModelNotFound"
    assert world.api.all("Deployment")
    assert not {w for w in restarted.writes if w.startswith(("delete", "put"))}


def test_a_lost_compare_and_swap_is_decided_anew(world: World, operator: Operator) -> None:
    serve(world, operator, "bot")
    operator.writes.clear()
    key = next(k for k in world.bucket.objects if k.endswith("current.json"))
    body = world.bucket.body(key)
    assert body is not None
    world.bucket.put(key, body)
    operator.reconcile(BOT)
    assert not operator.writes, "the same pointer under another ETag changes nothing"


def test_nonsense_behind_the_name_heals(world: World, operator: Operator) -> None:
    """A tenant's key can write there."""
    serve(world, operator, "bot")
    key = next(k for k in world.bucket.objects if k.endswith("current.json"))
    for nonsense in (b"", b"nonsense", b'{"contract": 1}'):
        world.bucket.put(key, nonsense)
        for _ in range(4):
            operator.woken.add(BOT)  # it asks to be looked at again soon
            turn(world, operator)
        assert ready(world)["status"] == "True"
        assert not [e for e in operator.errors if "PromotionLost" in str(e)]


@pytest.mark.parametrize(
    ("edit", "kept"),
    [({"adapter": {"rank": 7}}, 0), ({"artifacts": {"deletionPolicy": "Delete", "new": 1}}, 1)],
    ids=["its artifacts are known", "nothing is known"],
)
def test_an_unreadable_object_waits_for_its_pods_and_reports_what_stays(
    world: World, operator: Operator, edit: dict[str, Any], kept: int
) -> None:
    world.create(
        "bot", build_spec(serving={"mode": "None"}, artifacts={"deletionPolicy": "Delete"})
    )
    for number in range(2):  # the preflight, then training
        operator.deliver()
        operator.reconcile(BOT)
        world.control_jobs()
        pod = world.job_pods()[-1]
        world.start_pod(pod)
        if number == 0:
            world.end_pod(pod, ExitCode.SUCCEEDED)
    assert world.training_pods()
    folder = f"/{uid(world, 'bot')}/"
    world.edit("bot", **edit)
    world.delete("bot")
    operator.deliver()
    operator.work()
    operator.deliver()
    operator.reconcile(BOT)
    if not kept:
        assert not world.api.all("Job")
        assert world.finetune("bot") is not None, "its pod still runs"
    world.api.collect_garbage()
    world.terminate_pods()
    operator.deliver()
    operator.reconcile(BOT)
    assert world.finetune("bot") is None
    assert any(folder in key for key in world.bucket.objects) is bool(kept)
    assert (world.events["ArtifactsKept"], world.events["ArtifactsDeleted"]) == (kept, 1 - kept)


def test_artifacts_are_removed_with_their_object(world: World, operator: Operator) -> None:
    serve(world, operator, "bot", artifacts={"deletionPolicy": "Delete"})
    folder = f"/{uid(world, 'bot')}/"
    assert any(folder in key for key in world.bucket.objects)
    world.delete("bot")
    turn(world, operator, 4)
    assert world.finetune("bot") is None
    assert not [key for key in world.bucket.objects if folder in key]
    assert world.events["ArtifactsDeleted"] == 1


def relent(world: World) -> None:
    """A user wants to keep the artifacts after all."""
    world.edit("bot", artifacts={"deletionPolicy": "Retain"})


def test_retain_is_what_the_spec_says_at_the_end(world: World, operator: Operator) -> None:
    """Edited and deleted while no operator ran: our finalizer is older than the spec."""
    serve(world, operator, "bot", artifacts={"deletionPolicy": "Delete"})
    folder = f"/{uid(world, 'bot')}/"
    before = {key for key in world.bucket.objects if folder in key}
    relent(world)
    world.delete("bot")
    restarted = Operator(world)
    restarted.resync()
    restarted.work()
    assert world.finetune("bot") is None
    assert {key for key in world.bucket.objects if folder in key} == before
    assert (world.events["ArtifactsKept"], world.events["ArtifactsDeleted"]) == (1, 0)


REFUSED = FailureStatus.of(
    "StorageDenied", "the object store refused", "Rotate the key.", retriable=True
)


@pytest.mark.parametrize("refusal", [REFUSED, None], ids=["refused", "unanswered"])
def test_a_deletion_that_waits_for_the_bucket_can_be_let_go(
    world: World, operator: Operator, refusal: FailureStatus | None
) -> None:
    serve(world, operator, "bot", artifacts={"deletionPolicy": "Delete"})
    folder = f"/{uid(world, 'bot')}/"
    world.bucket.refuses, world.bucket.away = refusal, refusal is None
    world.delete("bot")
    turn(world, operator, 4)
    body = world.finetune("bot")
    assert body is not None
    assert body["status"]["stage"] == "Deleting"
    assert world.events[refusal.reason if refusal else "StorageUnavailable"] == 1, "one event"
    relent(world)
    turn(world, operator, 2)
    assert world.finetune("bot") is None
    world.bucket.refuses, world.bucket.away = None, False
    turn(world, operator, 2)
    assert any(folder in key for key in world.bucket.objects)
    assert world.events["ArtifactsDeleted"] == 0


def test_a_deletion_that_waits_for_a_pod_can_be_let_go(world: World, operator: Operator) -> None:
    serve(world, operator, "bot", artifacts={"deletionPolicy": "Delete"})
    folder = f"/{uid(world, 'bot')}/"
    world.edit("bot", hyperparameters={"seed": 7})
    for end in (True, False):
        operator.deliver()
        operator.work()
        world.control_jobs()
        for pod in world.job_pods():
            world.start_pod(pod)
            if end:
                world.end_pod(pod, ExitCode.SUCCEEDED)
    world.delete("bot")
    operator.deliver()
    operator.work()
    assert world.finetune("bot") is not None, "its pod still runs"
    relent(world)
    operator.deliver()
    operator.work()
    assert world.finetune("bot") is None
    assert any(folder in key for key in world.bucket.objects)


def test_an_edit_that_the_watch_has_not_delivered_counts(world: World, operator: Operator) -> None:
    serve(world, operator, "bot", artifacts={"deletionPolicy": "Delete"})
    folder = f"/{uid(world, 'bot')}/"
    world.delete("bot")
    for _ in range(3):  # its Jobs go, then their pods
        operator.deliver()
        operator.woken.clear()
        if world.job_pods():
            operator.reconcile(BOT)
            world.api.collect_garbage()
            world.terminate_pods()
    relent(world)
    operator.reconcile(BOT)
    assert "changed" in str(operator.errors[-1])
    operator.deliver()
    operator.reconcile(BOT)
    assert world.finetune("bot") is None
    assert any(folder in key for key in world.bucket.objects)


# --- a store that refuses


MISSING = FailureStatus.of(
    "BucketNotFound", "bucket qwen3 doesn't exist", "Create it.", retriable=True
)


def told(world: World, name: str = "bot") -> dict[str, tuple[str, str]]:
    """Status and reason of all conditions."""
    body = world.finetune(name)
    assert body is not None
    return {c["type"]: (c["status"], c["reason"]) for c in body["status"]["conditions"]}


def status_of(world: World, name: str = "bot") -> dict[str, Any]:
    body = world.finetune(name)
    assert body is not None
    return copy.deepcopy(body["status"])


def look(world: World, operator: Operator) -> None:
    """A routine look at everything, and what follows from it."""
    world.advance(60)
    operator.deliver()
    operator.resync()
    operator.work()
    turn(world, operator, 2)


@pytest.mark.parametrize("restart", [False, True], ids=["", "a new operator"])
@pytest.mark.parametrize("problem", [REFUSED, MISSING], ids=lambda p: p.reason)
def test_what_serves_stays_reported_while_the_store_refuses(
    world: World, operator: Operator, problem: FailureStatus, *, restart: bool
) -> None:
    serve(world, operator, "bot", "cat")
    before, objects = status_of(world), copy.deepcopy(world.bucket.objects)
    deployments = copy.deepcopy(world.api.all("Deployment"))
    created = world.api.created.copy()
    world.bucket.refuses = problem
    operator = Operator(world) if restart else operator
    operator.writes.clear()
    for _ in range(3):
        look(world, operator)
        during = status_of(world)
        assert told(world)["Ready"] == ("True", "Served")
        assert told(world)["Degraded"] == ("True", problem.reason)
        kept = ("serving", "history", "revisions", "training", "currentRevision", "preflight")
        assert {k: during.get(k) for k in kept} == {k: before.get(k) for k in kept}
        assert {"Served", "Trained", "ArtifactStored", "Validated", "Admitted"} <= set(told(world))
    assert world.bucket.objects == objects
    assert world.api.all("Deployment") == deployments
    assert world.api.created == created
    assert set(operator.writes) == {"status", "event"}
    world.bucket.refuses = None
    operator.resync()
    operator.work()
    assert status_of(world) == before
    assert world.bucket.objects == objects


def test_a_pool_that_restarts_while_the_store_refuses_comes_back(
    world: World, operator: Operator
) -> None:
    """The key of its pods is another."""
    serve(world, operator, "bot")
    before = status_of(world)
    world.bucket.refuses = REFUSED
    for name, server in world.servers.items():
        server.crash()
        world.probe(name)
    operator.deliver()
    operator.reconcile(BOT)
    assert (told(world)["Ready"], told(world)["Served"][0]) == (("False", "StorageDenied"), "False")
    turn(world, operator, 3)
    look(world, operator)
    assert (told(world)["Ready"], told(world)["Served"][0]) == (("True", "Served"), "True")
    assert status_of(world)["serving"] == before["serving"]


def test_an_elder_does_not_get_the_name_over_a_refusal(world: World, operator: Operator) -> None:
    """Status records which of them has it: a refusal must not erase that."""
    world.create("elder", build_spec(serving={"mode": "None"}))
    world.advance(60)
    serve(world, operator, "bot", serving={"modelName": "helper"})
    owner = {p.owner_uid for p in world.pointers().values()}
    world.bucket.refuses = REFUSED
    world.edit("elder", serving={"mode": "SharedBase", "modelName": "helper"})
    # A new revision: nothing is valid of it yet.
    world.edit("bot", hyperparameters={"seed": 7})
    look(world, operator)
    assert told(world)["Validated"][0] == "False"
    world.bucket.refuses = None
    operator.reconcile(Key(FINE_TUNE, NAMESPACE, "elder"))
    assert ready(world, "elder")["reason"] == "AliasTaken"
    for _ in range(3):
        look(world, operator)
    assert {p.owner_uid for p in world.pointers().values()} == owner
    assert ready(world)["status"] == "True"


def test_settings_that_lost_the_bucket_take_nothing_down(world: World, operator: Operator) -> None:
    """A pool's name is made of the bucket's: without it, the pool seems to have no members."""
    serve(world, operator, "bot")
    before, objects = status_of(world), copy.deepcopy(world.bucket.objects)
    (pool,) = world.api.all("Deployment")
    default = SETTINGS.storage.default.model_copy(update={"bucket": None})
    storage = SETTINGS.storage.model_copy(update={"default": default})
    restarted = Operator(world, settings=SETTINGS.model_copy(update={"storage": storage}))
    restarted.reconcile(Key(POOL, NAMESPACE, pool["metadata"]["name"]))
    look(world, restarted)
    assert world.api.all("Deployment") == [pool]
    assert world.bucket.objects == objects
    assert ready(world)["reason"] == "StorageNotConfigured"
    assert told(world)["Served"] == ("True", "Served")
    assert told(world)["Trained"] == ("True", "Committed")
    assert status_of(world)["serving"] == before["serving"]
    fixed = Operator(world)
    fixed.resync()
    fixed.work()
    assert ready(world)["status"] == "True"
    assert status_of(world)["serving"] == before["serving"]


def test_a_lasting_outage_is_reported_until_the_store_is_back(
    world: World, operator: Operator
) -> None:
    serve(world, operator, "bot")
    before = status_of(world)
    world.bucket.away = True
    operator.reconcile(BOT)
    assert status_of(world) == before, "it may be a hiccup"
    world.advance(31)
    operator.reconcile(BOT)
    assert told(world)["Ready"] == ("True", "Served")
    assert told(world)["Degraded"] == ("True", "StorageUnavailable")
    assert status_of(world)["serving"] == before["serving"]
    world.bucket.away = False
    operator.reconcile(BOT)
    assert status_of(world) == before
    world.bucket.away = True
    operator.reconcile(BOT)
    assert status_of(world) == before, "another hiccup"


def test_ready_costs_few_writes_and_then_none(world: World, operator: Operator) -> None:
    serve(world, operator, "bot")
    assert world.api.created["Job"] == 2, "preflight and training"
    operator.writes.clear()
    for _ in range(5):
        world.advance(60)
        operator.resync()
        operator.work()
    assert not operator.writes


def fail_training(world: World, operator: Operator, failure: Failure) -> None:
    """The preflight passes; the trainer says how far it is and then ends with a report."""
    world.create("bot", build_spec(serving={"mode": "None"}))
    operator.deliver()
    operator.work()
    for _ in range(4):
        world.advance(60)
        world.control_jobs()
        for pod in world.job_pods():
            world.start_pod(pod)
            if is_preflight(pod):
                world.end_pod(pod, ExitCode.SUCCEEDED)
                continue
            order, uid = TrainJob.model_validate_json(pod["order"]), pod["metadata"]["uid"]
            attempt = layout.attempt_prefix(order.output.prefix, uid)
            progress = build_progress(attempt=uid)
            world.bucket.put(f"{attempt}/{layout.PROGRESS}", progress.to_json())
            operator.resync()
            operator.work()
            report = TrainReport(
                attempt=uid,
                outcome="Failed",
                failure=failure,
                exit_code=ExitCode.DISK_FULL,
                step=3,
                total_steps=9,
                started=format_time(world.api.now),
                finished=format_time(world.api.now),
            )
            world.bucket.put(f"{attempt}/{layout.REPORT}", report.to_json())
            world.end_pod(pod, ExitCode.DISK_FULL)
        operator.deliver()
        operator.work()


def take_pods_away(world: World) -> None:
    """Their node is scaled down."""
    pods = world.job_pods()
    assert pods
    for pod in pods:
        world.api.remove(pod)


DISK_FULL = Failure(reason="DiskFull", message="no space left", hint="Raise it.")


def test_a_failure_outlives_its_pods_and_the_operator(world: World, operator: Operator) -> None:
    fail_training(world, operator, DISK_FULL)
    before = world.finetune("bot")
    assert before is not None
    told = before["status"]
    assert (told["failure"]["reason"], told["failure"]["class"]) == ("DiskFull", "System")
    # Not even the report is needed then.
    for key in [k for k in world.bucket.objects if k.endswith(layout.REPORT)]:
        del world.bucket.objects[key]
    take_pods_away(world)
    events = world.events.copy()
    restarted = Operator(world)
    restarted.resync()
    restarted.work()
    after = world.finetune("bot")
    assert after is not None
    assert after["status"] == told
    assert world.events == events


@pytest.mark.parametrize("of_this_job", [True, False], ids=["this Job's", "an earlier Job's"])
def test_a_failure_that_nobody_told_is_read_from_the_report(
    world: World, operator: Operator, *, of_this_job: bool
) -> None:
    """Its pods went while the store was away, say."""
    fail_training(world, operator, DISK_FULL)
    body = world.finetune("bot")
    assert body is not None
    del body["status"]["failure"]
    (job,) = [j for j in world.api.all("Job") if not j["metadata"]["name"].endswith("-pre")]
    if not of_this_job:
        world.advance(60)
        job["metadata"]["creationTimestamp"] = format_time(world.api.now)
    take_pods_away(world)
    restarted = Operator(world)
    restarted.resync()
    restarted.work()
    body = world.finetune("bot")
    assert body is not None
    failure = body["status"]["failure"]
    wanted = ("DiskFull", "System") if of_this_job else ("TrainerFailed", "System")
    assert (failure["reason"], failure["class"]) == wanted
    assert failure["jobUID"] == job["metadata"]["uid"]


def release(world: World) -> None:
    """The files come, and the checks that wait for them end."""
    held, world.bucket.held = world.bucket.held, None
    assert held is not None

    async def wait() -> None:
        held.set()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    world.loop.run_until_complete(wait())


def test_an_adapter_that_takes_long_to_read_is_verified_in_the_background(world: World) -> None:
    operator = Operator(world, patience=0)
    world.bucket.held = asyncio.Event()
    world.create("bot", build_spec())
    turn(world, operator, 6)
    operator.reconcile(BOT)
    assert ready(world)["reason"] == "Verifying"
    assert not world.indexes() or not any(i.adapters for i in world.indexes().values())
    release(world)
    assert BOT in operator.woken
    turn(world, operator, 6)
    operator.resync()
    operator.work()
    assert ready(world)["status"] == "True"
    assert not operator.errors


def test_what_was_verified_serves_on_while_a_new_operator_reads_it(
    world: World, operator: Operator
) -> None:
    serve(world, operator, "bot")
    body = world.finetune("bot")
    assert body is not None
    before = copy.deepcopy(body["status"])
    world.bucket.held = asyncio.Event()
    restarted = Operator(world, patience=0)
    restarted.resync()
    restarted.work()
    assert body["status"] == before
    assert not restarted.errors
    assert all(i.adapters for i in world.indexes().values())
    key = next(k for k in world.bucket.objects if k.endswith(".safetensors"))
    world.bucket.put(key, b"damaged")
    # The streams that are held have the old bytes: only another process sees the new ones.
    again = Operator(world, patience=0)
    again.reconcile(BOT)
    release(world)
    assert BOT in again.woken
    again.work()
    assert ready(world)["reason"] == "ArtifactCorrupt"
