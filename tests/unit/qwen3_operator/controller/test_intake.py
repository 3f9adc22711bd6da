"""Events and lists into keys."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from qwen3_operator.controller.activity import INACTIVITY_SECONDS, WatchActivity, scope_of_path
from qwen3_operator.controller.cache import Cache
from qwen3_operator.controller.client import ApiServer
from qwen3_operator.controller.errors import Transient
from qwen3_operator.controller.intake import Intake, is_unanswered, plain_keys
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.kind import Kind
from qwen3_operator.controller.queue import WorkQueue
from qwen3_operator.controller.reconciler import Result
from qwen3_operator.controller.resync import Resync, Scope, scopes_of
from qwen3_operator.resources.kinds import FINE_TUNE, JOB, KINDS

BOT = Key("finetune", "team-a", "bot")


class RecordingQueue(WorkQueue):
    """Notes what is added and runs nothing."""

    def __init__(self) -> None:
        async def never(_: Key) -> Result:
            raise AssertionError

        super().__init__(never, workers=1, clock=lambda: 0.0)
        self.added: list[tuple[Key, bool]] = []
        self.later: list[Key] = []

    def add(self, key: Key, *, urgent: bool = False) -> None:
        self.added.append((key, urgent))

    def add_after(self, key: Key, seconds: float) -> None:
        self.later.append(key)


class ListingApi(ApiServer):
    """Answers lists from a table; a kind that isn't in it is empty."""

    def __init__(self) -> None:
        self.items: dict[Kind, list[dict[str, Any]]] = {}
        self.version = "100"
        self.broken: set[Kind] = set()

    async def list(
        self, kind: Kind, namespace: str | None, label_selector: str | None = None
    ) -> tuple[Any, str]:
        if kind in self.broken:
            raise Transient("ApiTimeout")
        return list(self.items.get(kind, [])), self.version


def build_job(version: int) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "bot-1",
            "namespace": "team-a",
            "resourceVersion": str(version),
            "labels": {"qwen3.dev/managed": "true", "qwen3.dev/fine-tune": "bot"},
        },
    }


def build_finetune(version: int, observed: int | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "qwen3.dev/v1alpha1",
        "kind": "Qwen3FineTune",
        "metadata": {
            "name": "bot",
            "namespace": "team-a",
            "generation": 2,
            "resourceVersion": str(version),
        },
        "status": {} if observed is None else {"observedGeneration": observed},
    }


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.cache, self.queue, self.api = Cache(KINDS), RecordingQueue(), ListingApi()
        self.intake = Intake(self.cache, self.queue, partial(plain_keys, KINDS))
        self.resync = Resync(
            self.api, self.cache, self.intake, ["team-a"], 120, clock=lambda: self.now
        )


@pytest.fixture
async def world() -> World:
    return World()


def test_a_spec_that_nobody_answered_is_urgent() -> None:
    assert is_unanswered(KINDS, build_finetune(1))
    assert is_unanswered(KINDS, build_finetune(1, observed=1))
    assert not is_unanswered(KINDS, build_finetune(1, observed=2))
    assert not is_unanswered(KINDS, build_job(1))


@pytest.mark.parametrize(
    ("first", "event_type", "second", "times"),
    [
        (5, "ADDED", 7, 2),
        (5, "MODIFIED", 4, 1),  # older than the cache
        (5, "MODIFIED", 5, 2),  # the echo of an own write: somebody may wait for it
        (5, None, 5, 1),  # the watcher's own listing repeats ours
        (5, None, 6, 2),
        (5, "DELETED", 6, 2),
    ],
)
async def test_which_events_count(
    world: World, first: int, event_type: str | None, second: int, times: int
) -> None:
    world.intake.observe("ADDED", build_job(first))
    world.intake.observe(event_type, build_job(second))
    assert world.queue.added == [(BOT, False)] * times


async def test_a_deletion_empties_the_cache_before_the_key_is_added(world: World) -> None:
    seen: list[object] = []

    def keys_for(obj: dict[str, Any]) -> Iterable[Key]:
        seen.append(world.cache.get(JOB, "team-a", "bot-1"))
        return [BOT]

    intake = Intake(world.cache, world.queue, keys_for)
    intake.observe("ADDED", build_job(1))
    intake.observe("DELETED", build_job(2))
    assert seen[0] is not None
    assert seen[1] is None


async def test_an_object_that_cannot_be_read_still_wakes_its_owner(world: World) -> None:
    def keys_for(_: dict[str, Any]) -> Iterable[Key]:
        raise KeyError("spec")

    Intake(world.cache, world.queue, keys_for).observe("ADDED", build_job(1))
    assert world.queue.added == [(BOT, False)]


async def test_resync_wakes_the_owner_of_what_vanished(world: World) -> None:
    world.api.items = {JOB: [build_job(5)], FINE_TUNE: [build_finetune(6, observed=2)]}
    await world.resync.list_all()
    assert world.resync.synced
    assert world.queue.added.count((BOT, False)) == 2
    world.queue.added.clear()
    world.api.items = {FINE_TUNE: [build_finetune(6, observed=2)]}
    await world.resync._list(Scope(JOB, "team-a"))
    assert world.queue.added == [(BOT, False)]
    assert world.cache.list(JOB) == []


async def test_resync_looks_at_every_custom_resource(world: World) -> None:
    world.api.items = {FINE_TUNE: [build_finetune(6, observed=2)]}
    await world.resync.list_all()
    assert world.queue.later == []
    await world.resync._list(Scope(FINE_TUNE, "team-a"))
    assert world.queue.later == [BOT]


async def test_a_resync_that_does_not_happen_is_told(world: World) -> None:
    await world.resync.list_all()
    world.now = 299
    assert world.resync.overdue() is None
    world.now = 301
    assert "jobs.batch in team-a for 301 s" in str(world.resync.overdue())


def test_scopes() -> None:
    assert {scope.namespace for scope in scopes_of(KINDS, [])} == {None}
    assert len(scopes_of(KINDS, ["a", "b"])) == 2 * len(scopes_of(KINDS, []))


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/apis/batch/v1/jobs", Scope(JOB, None)),
        ("/apis/batch/v1/namespaces/team-a/jobs", Scope(JOB, "team-a")),
        ("/apis/batch/v1", None),
        ("/api/v1/namespaces", None),
    ],
)
def test_paths(path: str, scope: Scope | None) -> None:
    assert scope_of_path(KINDS, path) == scope


def test_a_silent_watch_is_told_by_name() -> None:
    now, gaps = [0.0], []
    activity = WatchActivity(KINDS, lambda *scope: gaps.append(scope), clock=lambda: now[0])
    assert activity.silent() is None, "a standby watches nothing"
    activity.expect(("team-a",))
    now[0] = 2 * INACTIVITY_SECONDS
    for scope in scopes_of(KINDS, ["team-a"]):
        if scope.kind is not JOB:
            activity.alive(scope.kind.path("team-a"))
    assert activity.silent() is None
    now[0] += 1
    assert activity.silent() == "stalled watches: jobs.batch in team-a for 141 s"


def test_a_second_listing_means_a_gap() -> None:
    gaps: list[tuple[Kind, str | None]] = []
    activity = WatchActivity(KINDS, lambda *scope: gaps.append(scope))
    activity.expect(("team-a",))
    path = JOB.path("team-a")
    activity.listed(path)
    assert gaps == []
    activity.listed(path)
    assert gaps == [(JOB, "team-a")]
