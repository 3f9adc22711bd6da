"""Ready=True is taken back while the object store is away, and only when it isn't so any more."""

from datetime import timedelta

import pytest

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.finetune.outage import plan_without_store
from qwen3_operator.finetune.plan import plan_finetune, tell_changes
from qwen3_operator.finetune.views import FineTune, Observed
from qwen3_operator.serving.views import PoolPod
from support.operator_world import (
    NOW,
    SETTINGS,
    build_alias,
    build_commit,
    build_finetune,
    build_job,
    build_pod,
    build_pool,
    build_pool_pod,
    build_progress,
    build_spec,
    serving_pod,
)

SPEC = build_spec(serving={"replicas": 2})
FT = build_finetune(SPEC)
COMMIT = build_commit(FT)
ONE, TWO = serving_pod(FT, COMMIT, "server-0"), serving_pod(FT, COMMIT, "server-1")
EMPTY = build_pool_pod("server-1")
SILENT = build_pool_pod("server-1", silent=True)
DOWN = build_pool_pod("server-1", ready=False)


def ready() -> FineTune:
    observed = Observed(
        commit=COMMIT,
        verified=True,
        alias=build_alias(FT, COMMIT),
        pool=build_pool(ONE, TWO, replicas=2),
    )
    status = plan_finetune(FT, observed, SETTINGS, NOW).status
    assert status is not None
    return build_finetune(SPEC, status, generation=2)


def conditions(status: FineTuneStatus) -> dict[str, str]:
    again = FineTuneStatus.model_validate(status.to_wire())
    return {c.type: c.status.value for c in again.conditions}


def test_what_is_still_true_is_left_alone() -> None:
    pool = build_pool(ONE, TWO, replicas=2)
    assert plan_without_store(ready(), pool, NOW, runs=False) is None
    more = build_pool(ONE, TWO, build_pool_pod("server-2", ready=False), replicas=2)
    assert plan_without_store(ready(), more, NOW, runs=False) is None
    assert plan_without_store(build_finetune(SPEC), build_pool(), NOW, runs=True) is None, (
        "never was Ready"
    )


@pytest.mark.parametrize(
    ("pods", "served"),
    [
        pytest.param((), "False", id="no pods"),
        pytest.param((ONE, DOWN), "True", id="one is down"),
        pytest.param((ONE, EMPTY), "False", id="one lost it and is told to be ready"),
        pytest.param((ONE, TWO, EMPTY), "False", id="a third one hasn't got it"),
        pytest.param((ONE, SILENT), "False", id="one doesn't say"),
    ],
)
def test_what_is_not_is_taken_back(pods: tuple[PoolPod, ...], served: str) -> None:
    before = ready()
    found = plan_without_store(
        before, build_pool(*pods, replicas=2), NOW + timedelta(minutes=1), runs=False
    )
    assert found is not None
    told = conditions(found)
    assert (told["Ready"], told["Reconciling"], told["Served"]) == ("False", "True", served)
    assert told["Trained"] == "True", "what is in the bucket hasn't changed"
    assert found.observed_generation == 1, "the new spec was not looked at"
    assert all(c.observed_generation == 1 for c in found.conditions)
    assert found.serving is not None
    assert (found.serving.digest is not None) == (served == "True")
    again = plan_without_store(
        build_finetune(SPEC, found, generation=2), build_pool(*pods, replicas=2), NOW, runs=False
    )
    assert again is None, "once"


def written(status: FineTuneStatus | None) -> FineTune:
    assert status is not None
    return build_finetune(SPEC, status, generation=2)


def test_what_was_taken_back_is_given_back_during_the_outage() -> None:
    """A sidecar needs no bucket to load again what it has on its disk."""
    before = ready()
    taken = written(plan_without_store(before, build_pool(replicas=2), NOW, runs=False))
    assert plan_without_store(taken, build_pool(ONE, DOWN, replicas=2), NOW, runs=False) is not None
    back = plan_without_store(taken, build_pool(ONE, TWO, replicas=2), NOW, runs=False)
    assert back is not None
    assert conditions(back) == conditions(before.status)
    assert (back.serving, back.stage) == (before.status.serving, before.status.stage)
    assert tell_changes(taken, back)[0].reason == "Ready"


OLD = build_commit(FT, "01d00000")


def test_served_is_what_the_sidecars_report_also_without_ready() -> None:
    """An older revision serves while the present one trains."""
    old = serving_pod(FT, OLD, "server-0")
    world = Observed(
        job=build_job(FT),
        pods=(build_pod(),),
        progress=build_progress(updated="2026-03-01T11:59:50Z"),
        alias=build_alias(FT, OLD),
        pool=build_pool(old, replicas=1),
    )
    before = written(plan_finetune(FT, world, SETTINGS, NOW).status)
    known = before.status.revisions[0].model_copy(
        update={"id": OLD.revision, "adapter_digest": OLD.digest}
    )
    before = written(
        before.status.model_copy(update={"revisions": [*before.status.revisions, known]})
    )
    assert conditions(before.status)["Served"] == "True"
    assert plan_without_store(before, build_pool(old), NOW, runs=True) is None
    gone = plan_without_store(before, build_pool(DOWN), NOW, runs=True)
    assert gone is not None
    assert conditions(gone)["Served"] == "False"
    assert "Degraded" not in conditions(gone)
    assert gone.serving is not None
    assert gone.serving.digest is None
    assert gone.stage == before.status.stage, "nothing else is known"
    assert plan_without_store(written(gone), build_pool(DOWN), NOW, runs=True) is None, "once"
    back = plan_without_store(written(gone), build_pool(old), NOW, runs=True)
    assert back is not None
    assert conditions(back)["Served"] == "True"
    assert back.serving == before.status.serving

    silent = plan_without_store(before, build_pool(DOWN), NOW + timedelta(minutes=3), runs=True)
    assert silent is not None
    assert conditions(silent)["Served"] == "False"
    assert silent.stage == Reason.STORAGE_UNAVAILABLE


def test_a_lasting_outage_is_reported_beside_ready() -> None:
    before, pool = ready(), build_pool(ONE, TWO, replicas=2)
    for seconds, reported in ((0, False), (29, False), (30, True), (600, True)):
        now = NOW + timedelta(seconds=seconds)
        found = plan_without_store(before, pool, now, runs=False, since=NOW)
        assert (found is not None) is reported
    assert found is not None
    assert conditions(found) == conditions(before.status) | {"Degraded": "True"}
    assert found.conditions[0].reason == "Served"
    assert found.conditions[0].message.endswith("on 2 pods; the object store doesn't answer")
    assert found.stage == Reason.STORAGE_UNAVAILABLE, "kubectl get must not hide it"
    assert found.serving == before.status.serving
    assert [(e.type, e.reason) for e in tell_changes(before, found)] == [
        ("Warning", Reason.STORAGE_UNAVAILABLE)
    ]
    told = written(found)
    assert plan_without_store(told, pool, NOW + timedelta(hours=1), runs=False, since=NOW) is None
    assert plan_without_store(told, pool, NOW, runs=False, since=NOW) is None, "a new operator"
    gone = plan_without_store(told, build_pool(replicas=2), NOW, runs=False, since=NOW)
    assert gone is not None
    assert "Degraded" not in conditions(gone)
    observed = Observed(commit=COMMIT, verified=True, alias=build_alias(FT, COMMIT), pool=pool)
    after = plan_finetune(told, observed, SETTINGS, NOW).status
    assert after is not None
    assert conditions(after) == conditions(before.status)
    assert (after.stage, after.failure) == ("Served", None)


def training(heard: str = "2026-03-01T11:59:50Z") -> FineTune:
    observed = Observed(
        job=build_job(FT), pods=(build_pod(),), progress=build_progress(updated=heard)
    )
    status = plan_finetune(FT, observed, SETTINGS, NOW).status
    assert status is not None
    assert status.stage == Reason.TRAINING
    return build_finetune(SPEC, status, generation=2)


def test_a_run_that_was_just_heard_of_is_left_alone() -> None:
    assert plan_without_store(training(), None, NOW, runs=True) is None


def test_a_run_that_is_not_heard_of_any_more_says_so_once_and_until_the_store_is_back() -> None:
    ft, later = training(), NOW + timedelta(minutes=3)
    assert plan_without_store(ft, None, later, runs=False) is None, "nothing trains"
    status = plan_without_store(ft, None, later, runs=True)
    assert status is not None
    assert (status.stage, conditions(status)["Ready"]) == (Reason.STORAGE_UNAVAILABLE, "False")
    assert conditions(status)["Reconciling"] == "True"
    assert "Stalled" not in conditions(status)
    assert status.failure is not None
    assert "the last heartbeat of the run was at 2026-03-01T11:59:50Z" in status.failure.message
    assert "training continues" in status.failure.hint
    (event,) = tell_changes(ft, status)
    assert (event.type, event.reason) == ("Warning", Reason.STORAGE_UNAVAILABLE)

    told = build_finetune(SPEC, status, generation=2)
    assert plan_without_store(told, None, later + timedelta(minutes=3), runs=True) is None
    back = Observed(
        job=build_job(FT),
        pods=(build_pod(),),
        progress=build_progress(updated="2026-03-01T12:03:01Z"),
    )
    after = plan_finetune(told, back, SETTINGS, later).status
    assert after is not None
    assert (after.stage, after.failure) == (Reason.TRAINING, None)
    assert tell_changes(told, after) == ()
