"""An unexpected failure harms its own object only, and is reported there."""

import copy
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.reconciler import incident_of
from qwen3_operator.incident import with_incident
from qwen3_operator.resources.keys import EVAL, FINE_TUNE, POOL
from qwen3_operator.resources.labels import LABEL_FINE_TUNE
from support.operator_simulator import World
from support.operator_world import NAMESPACE, NOW, SETTINGS, build_body, build_spec
from support.simulated_operator import Operator, PoisonError
from support.simulated_turns import ready, serve, turn, uid

BOT, CAT = Key(FINE_TUNE, NAMESPACE, "bot"), Key(FINE_TUNE, NAMESPACE, "cat")


@pytest.fixture
def operator(world: World) -> Operator:
    return Operator(world, tolerant=True)


def pointer_of(world: World, name: str) -> str:
    """Key of a public name's pointer: read at each look, by the fine-tune and by its pool."""
    body = world.finetune(name)
    assert body is not None
    alias = body["status"]["serving"]["modelName"]
    return layout.alias_key(SETTINGS.storage.prefix, NAMESPACE, alias)


def test_a_poisoned_object_reports_its_incident_and_recovers(
    world: World, operator: Operator
) -> None:
    serve(world, operator, "bot")
    before = copy.deepcopy(world.finetune("bot"))
    assert before is not None
    world.bucket.poisoned = (pointer_of(world, "bot"),)
    operator.reconcile(BOT)
    incident = incident_of(BOT, operator.crashes[-1][1])
    assert ready(world, "bot")["reason"] == "InternalError"
    assert incident in ready(world, "bot")["message"]
    after = world.finetune("bot")
    assert after is not None
    assert after["status"]["serving"] == before["status"]["serving"], "what serves is still told"
    assert after["status"]["revisions"] == before["status"]["revisions"]

    writes = operator.writes["status"]
    operator.reconcile(BOT)
    assert operator.writes["status"] == writes, "the same incident is written once"

    world.bucket.poisoned = ()
    operator.reconcile(BOT)
    recovered = world.finetune("bot")
    assert recovered is not None
    assert ready(world, "bot")["status"] == "True"
    assert "failure" not in recovered["status"]
    assert "Stalled" not in {c["type"] for c in recovered["status"]["conditions"]}


def test_a_poisoned_member_keeps_its_place_and_stops_nobody(
    world: World, operator: Operator
) -> None:
    serve(world, operator, "bot", "cat")
    (server, *_) = world.servers.values()
    assert server.index is not None
    before = server.index.aliases
    world.bucket.poisoned = (pointer_of(world, "bot"),)
    serve(world, operator, "dog")
    assert ready(world, "dog")["status"] == "True"
    (server, *_) = world.servers.values()
    assert server.index is not None
    assert before.items() <= server.index.aliases.items()
    pools = {key for key, _ in operator.crashes if key.kind == POOL}
    assert pools == set(), "the pool itself goes through"


def test_a_status_that_cannot_be_read_is_an_incident_of_its_own(
    world: World, operator: Operator
) -> None:
    """As after a downgrade: the stored status has what this release doesn't know."""
    serve(world, operator, "bot", "cat")
    (server, *_) = world.servers.values()
    body = world.finetune("bot")
    assert body is not None
    body["status"]["currentRevision"] = {"unknown": "shape"}
    world.api.changed(body)
    turn(world, operator)
    assert ready(world, "bot")["reason"] == "InternalError"
    assert ready(world, "cat")["status"] == "True"
    operator.reconcile(CAT)
    operator.resync()
    turn(world, operator)
    assert server.index is not None
    assert f"{NAMESPACE}.bot" in {i.rpartition(".")[0] for i in server.index.aliases.values()}


def test_twenty_of_a_thousand(world: World, operator: Operator) -> None:
    names = [f"bot-{number:03}" for number in range(1000)]
    poisoned = set(names[::50])
    for name in names:
        world.create(name, build_spec(serving={"mode": "None"}))
    world.bucket.poisoned = tuple(f"/{uid(world, name)}/" for name in sorted(poisoned))
    operator.deliver()
    operator.work(limit=5000)
    started = {job["metadata"]["labels"][LABEL_FINE_TUNE] for job in world.api.all("Job")}
    assert started == set(names) - poisoned
    assert all(ready(world, name)["reason"] == "InternalError" for name in poisoned)
    tries = [key.name for key, _ in operator.crashes]
    assert set(tries) == poisoned
    # The first try, and the one after the echo of its own status.
    assert all(tries.count(name) <= 2 for name in poisoned)


def test_the_rest_of_a_status_stays_as_it_is() -> None:
    since = "2026-02-01T00:00:00Z"
    ready_before = {"type": "Ready", "status": "False", "lastTransitionTime": since, "reason": "X"}
    reconciling = {"type": "Reconciling", "status": "True", "lastTransitionTime": since}
    trained = {"type": "Trained", "status": "True", "lastTransitionTime": since, "reason": "Y"}
    status: dict[str, Any] = {
        "conditions": [ready_before, reconciling, trained],
        "queue": {"position": 3},
    }
    found = with_incident(build_body(status=status), "0a1b2c3d", NOW)
    by_type = {c["type"]: c for c in found["conditions"]}
    assert set(by_type) == {"Ready", "Stalled", "Trained"}
    assert by_type["Trained"] == trained
    assert by_type["Ready"]["lastTransitionTime"] == since, "it was False before"
    assert found["queue"] == {"position": 3}
    assert "0a1b2c3d" in found["failure"]["message"]


def test_an_incident_is_the_same_at_each_retry_and_another_elsewhere() -> None:
    def fail() -> Exception:
        try:
            raise PoisonError("x")
        except PoisonError as error:
            return error

    assert incident_of(BOT, fail()) == incident_of(BOT, fail())
    assert incident_of(BOT, fail()) != incident_of(CAT, fail())
    assert incident_of(BOT, fail()) != incident_of(Key(EVAL, NAMESPACE, "bot"), fail())
