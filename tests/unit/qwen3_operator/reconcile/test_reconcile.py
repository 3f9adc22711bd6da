"""Reconciles in the simulated world, one at a time: what wakes what, and who is left alone."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from qwen3_api.job.exit_codes import ExitCode
from qwen3_operator.runtime.keys import FINE_TUNE, POOL, Key
from support.operator_simulator import World
from support.operator_world import NAMESPACE, SETTINGS, build_spec
from support.simulated_operator import Operator

BOT = Key(FINE_TUNE, NAMESPACE, "bot")


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


def turn(world: World, operator: Operator, times: int = 1) -> None:
    """Everybody does a round of work."""
    for _ in range(times):
        world.api.collect_garbage()
        world.terminate_pods()
        world.control_jobs()
        world.control_deployments()
        for pod in world.job_pods():
            world.start_pod(pod)
            world.end_pod(pod, ExitCode.SUCCEEDED)
        world.step_servers()
        operator.deliver()
        operator.work()


def ready(world: World, name: str = "bot") -> dict[str, Any]:
    """The Ready condition."""
    body = world.finetune(name)
    assert body is not None
    return next(c for c in body["status"]["conditions"] if c["type"] == "Ready")


def serve(world: World, operator: Operator, *names: str, **changes: Any) -> None:
    """Fine-tunes, from nothing to Ready, by watch events alone."""
    for name in names:
        world.create(name, build_spec(**changes))
    for _ in range(12):
        turn(world, operator)
        operator.resync()
    assert all(ready(world, name)["status"] == "True" for name in names)
    operator.deliver()
    operator.work()
    operator.woken.clear()


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


def test_an_unreadable_object_waits_for_its_pods_and_tells_what_stays(
    world: World, operator: Operator
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
    world.edit("bot", adapter={"rank": 7})
    world.delete("bot")
    operator.deliver()
    operator.work()
    assert not world.api.all("Job")
    operator.deliver()
    operator.reconcile(BOT)
    assert world.finetune("bot") is not None, "its pod still runs"
    world.api.collect_garbage()
    world.terminate_pods()
    operator.deliver()
    operator.reconcile(BOT)
    assert world.finetune("bot") is None
    assert world.events["ArtifactsKept"] == 1
    assert world.events["ArtifactsDeleted"] == 0


def test_artifacts_are_removed_with_their_object(world: World, operator: Operator) -> None:
    serve(world, operator, "bot", artifacts={"deletionPolicy": "Delete"})
    body = world.finetune("bot")
    assert body is not None
    folder = f"/{body['metadata']['uid']}/"
    assert any(folder in key for key in world.bucket.objects)
    world.delete("bot")
    turn(world, operator, 4)
    assert world.finetune("bot") is None
    assert not [key for key in world.bucket.objects if folder in key]
    assert world.events["ArtifactsDeleted"] == 1


def test_ready_costs_few_writes_and_then_none(world: World, operator: Operator) -> None:
    serve(world, operator, "bot")
    assert world.api.created["Job"] == 2, "preflight and training"
    operator.writes.clear()
    for _ in range(5):
        world.advance(60)
        operator.resync()
        operator.work()
    assert not operator.writes
