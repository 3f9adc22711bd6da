"""What is known stays in status while the bucket can't be read, and nothing is done meanwhile."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_operator.finetune.actions import FineTunePlan
from qwen3_operator.finetune.plan import plan_finetune
from qwen3_operator.finetune.views import FineTune, Observed, UnreadableFineTune
from qwen3_operator.serving.views import PoolPod
from support.operator_world import (
    EVALUATION,
    NOW,
    SETTINGS,
    build_alias,
    build_any_finetune,
    build_commit,
    build_evaluation,
    build_export,
    build_finetune,
    build_job,
    build_pod,
    build_pool,
    build_pool_pod,
    build_spec,
    id_of,
    revision_of,
    serving_pod,
)

LATER = NOW + timedelta(minutes=5)
SPEC = build_spec(serving={"replicas": 2})
FT = build_finetune(SPEC)
COMMIT = build_commit(FT)
OLD = build_commit(FT, "01d00000")
ONE, TWO = serving_pod(FT, COMMIT, "server-0"), serving_pod(FT, COMMIT, "server-1")
JOB = build_job(FT, complete=True, ttl=86400)
READY = Observed(
    job=JOB,
    commit=COMMIT,
    verified=True,
    alias=build_alias(FT, COMMIT),
    pool=build_pool(ONE, TWO, replicas=2),
)
REFUSALS = [
    FailureStatus.of(
        Reason.STORAGE_DENIED, "refused: InvalidAccessKeyId", "Rotate it.", user=False
    ),
    FailureStatus.of(Reason.STORAGE_DENIED, "refused: ExpiredToken", "Rotate it.", user=False),
    FailureStatus.of(Reason.STORAGE_DENIED, "refused: AllAccessDisabled", "Ask.", user=False),
    FailureStatus.of(Reason.BUCKET_NOT_FOUND, "bucket qwen3 doesn't exist", "Create the bucket."),
]
REFUSED = REFUSALS[0]


def plan(ft: FineTune, observed: Observed) -> FineTunePlan:
    return plan_finetune(ft, observed, SETTINGS, LATER)


def status_of(found: FineTunePlan) -> FineTuneStatus:
    """The status, as the API server would take it."""
    assert found.status is not None
    return FineTuneStatus.model_validate(found.status.to_wire())


def told(status: FineTuneStatus) -> dict[str, tuple[str, str]]:
    """Status and reason by condition type."""
    return {c.type: (c.status.value, c.reason) for c in status.conditions}


def after(
    observed: Observed, spec: dict[str, Any] = SPEC, *, edited: dict[str, Any] | None = None
) -> FineTune:
    """The fine-tune with the status that it got in this world, and perhaps an edit."""
    status = plan_finetune(build_finetune(spec), observed, SETTINGS, NOW).status
    assert status is not None
    return build_any_finetune(edited or spec, status, generation=2 if edited else 1)


def blind(*pods: PoolPod, problem: FailureStatus = REFUSED, **world: Any) -> Observed:
    """Only the cluster and the sidecars are left."""
    return Observed(storage_problem=problem, pool=build_pool(*pods, replicas=2), **world)


def does_nothing(found: FineTunePlan) -> bool:
    """Nothing but the status is touched."""
    wanted = (found.apply, found.lifecycle, found.delete, found.promote, found.wake_pool)
    return wanted == ((), (), (), None, None) and found.finalizer is None


# --- what serves


@pytest.mark.parametrize("problem", REFUSALS, ids=lambda p: p.message)
def test_what_serves_stays_reported_and_so_is_the_refusal(problem: FailureStatus) -> None:
    before = after(READY)
    found = plan(before, blind(ONE, TWO, problem=problem, job=JOB))
    status = status_of(found)
    assert told(status) == told(before.status) | {"Degraded": ("True", problem.reason)}
    assert {c.last_transition_time for c in status.conditions if c.type != "Degraded"} == {
        "2026-03-01T12:00:00Z"
    }
    assert (status.serving, status.history) == (before.status.serving, before.status.history)
    assert (status.current_revision, status.candidate_revision) == (COMMIT.revision, None)
    assert (status.revisions, status.training) == (before.status.revisions, before.status.training)
    ready = status.conditions[0]
    assert ready.message.endswith(f"on 2 pods; {problem.message}"), "kubectl get must not hide it"
    assert status.stage == problem.reason
    assert status.failure is not None
    assert (status.failure.reason, status.failure.hint) == (problem.reason, problem.hint)
    assert [(e.type, e.reason) for e in found.events] == [("Warning", problem.reason)]
    assert does_nothing(found)
    assert found.requeue_after is not None
    assert found.requeue_after <= 30

    again = plan(build_finetune(SPEC, status), blind(ONE, TWO, problem=problem, job=JOB))
    assert (status_of(again), again.events) == (status, ())
    back = plan(build_finetune(SPEC, status), READY)
    assert (status_of(back), back.events) == (before.status, ())


EMPTY = build_pool_pod("server-1")
SILENT = build_pool_pod("server-1", silent=True)
DOWN = build_pool_pod("server-1", ready=False)


@pytest.mark.parametrize(
    ("pods", "served", "degraded", "loaded"),
    [
        pytest.param((), "False", None, 0, id="no pods"),
        pytest.param((ONE, DOWN), "True", "PoolScaling", 1, id="one is down"),
        pytest.param((ONE, EMPTY), "False", None, 0, id="one lost it"),
        pytest.param((ONE, SILENT), "False", None, 0, id="one doesn't answer"),
        pytest.param(
            (serving_pod(FT, OLD, "server-0"), serving_pod(FT, OLD, "server-1")),
            "False",
            None,
            0,
            id="an adapter that status doesn't know",
        ),
    ],
)
def test_ready_is_what_the_sidecars_confirm(
    pods: Sequence[PoolPod], served: str, degraded: str | None, loaded: int
) -> None:
    status = status_of(plan(after(READY), blind(*pods, job=JOB)))
    found = told(status)
    assert found["Ready"] == ("False", "StorageDenied")
    assert found["Stalled"] == ("True", "StorageDenied")
    assert found["Served"][0] == served
    assert found.get("Degraded", (None, None))[1] == degraded
    assert (found["Trained"], found["ArtifactStored"]) == (
        ("True", "Committed"),
        ("True", "Verified"),
    )
    assert status.serving is not None
    assert (status.serving.loaded_replicas, status.serving.desired_replicas) == (loaded, 2)
    assert (status.serving.digest is not None) == (served == "True")
    assert status.history

    again = status_of(plan(build_finetune(SPEC, status), blind(ONE, TWO, job=JOB)))
    assert told(again)["Ready"] == ("True", "Served"), "the sidecars are enough to say so"
    assert again.serving == after(READY).status.serving


def test_documents_that_an_operator_remembers_wake_no_pool() -> None:
    """It has read the commit before; the pool's reconcile could only meet the same refusal."""
    found = plan(after(READY), blind(job=JOB, commit=COMMIT, verified=True))
    assert told(status_of(found))["Ready"] == ("False", "StorageDenied")
    assert does_nothing(found)


def test_an_export_that_is_missing_keeps_it_from_ready() -> None:
    spec = build_spec(serving={"replicas": 2}, export={"gguf": ["q8_0"]})
    done = replace(READY, exports=(build_export(build_finetune(spec), "gguf-q8_0"),))
    for world, ready in ((READY, "False"), (done, "True")):
        before = after(world, spec)
        assert told(before.status)["Ready"][0] == ready
        status = status_of(plan(before, blind(ONE, TWO, job=JOB)))
        assert told(status)["Ready"][0] == ready
        assert told(status)["Exported"] == told(before.status)["Exported"]


def test_an_operator_that_starts_without_a_key_finds_what_serves() -> None:
    """Its pods were down when the status was written last."""
    down = replace(READY, pool=build_pool(DOWN, replicas=2))
    before = after(down)
    assert before.status.serving is not None
    assert before.status.serving.revision is None
    status = status_of(plan(before, blind(ONE, TWO, job=JOB)))
    assert (told(status)["Ready"], told(status)["Served"]) == (
        ("True", "Served"),
        ("True", "Served"),
    )
    assert status.current_revision == COMMIT.revision


def test_an_incumbent_serves_on_while_a_candidate_trains() -> None:
    pods = serving_pod(FT, OLD, "server-0"), serving_pod(FT, OLD, "server-1")
    before = after(
        Observed(
            job=build_job(FT),
            pods=(build_pod(),),
            alias=build_alias(FT, OLD),
            pool=build_pool(*pods, replicas=2),
        )
    )
    found = plan(before, blind(*pods, job=build_job(FT), pods=(build_pod(),)))
    status = status_of(found)
    assert told(status) == {
        "Ready": ("False", "StorageDenied"),
        "Stalled": ("True", "StorageDenied"),
        "Validated": ("True", "Valid"),
        "Admitted": ("True", "Admitted"),
        "Trained": ("Unknown", "Pending"),
        "ArtifactStored": ("Unknown", "Pending"),
        "Served": ("True", "Served"),
        "Degraded": ("True", "OlderRevision"),
    }
    assert status.serving == before.status.serving
    assert (status.current_revision, status.candidate_revision) == (OLD.revision, COMMIT.revision)
    assert does_nothing(found)


def test_an_edit_while_refused_forgets_nothing() -> None:
    """History of one: the revision that serves is kept whatever its age. And there and back."""
    spec = build_spec(serving={"replicas": 2}, revisionHistoryLimit=1)
    edited = build_spec(
        serving={"replicas": 2}, revisionHistoryLimit=1, hyperparameters={"seed": 7}
    )
    for pods in ((ONE, TWO), ()):
        ft = after(READY, spec, edited=edited)
        found = plan(ft, blind(*pods))
        status = status_of(found)
        assert does_nothing(found)
        assert told(status)["Ready"] == ("False", "StorageDenied")
        assert told(status)["Validated"] == ("False", "StorageDenied"), "it was not checked"
        assert told(status)["Trained"] == ("Unknown", "Pending")
        assert [r.id for r in status.revisions] == [revision_of(ft), COMMIT.revision]
        again = status_of(plan(build_finetune(spec, status, generation=3), blind(ONE, TWO)))
        assert told(again)["Trained"] == ("True", "Committed")
        assert told(again)["ArtifactStored"] == ("True", "Verified")
        assert told(again)["Ready"] == ("True", "Served")
        assert again.observed_generation == 3


def test_more_pods_than_serve_are_not_ready() -> None:
    """The index that would make them can't be written."""
    ft = after(READY, edited=build_spec(serving={"replicas": 3}))
    observed = Observed(storage_problem=REFUSED, pool=build_pool(ONE, TWO, replicas=3))
    status = status_of(plan(ft, observed))
    assert told(status)["Ready"] == ("False", "StorageDenied")
    assert told(status)["Degraded"] == ("True", "PoolScaling")
    assert told(status)["Served"] == ("True", "Served")


def test_a_rollback_stays_ready() -> None:
    spec = build_spec(promotion={"rollbackTo": OLD.revision})
    pod = serving_pod(FT, OLD)
    before = after(
        Observed(
            commit=build_commit(build_finetune(spec)),
            verified=True,
            rollback=OLD,
            alias=build_alias(FT, OLD, move="RolledBack"),
            pool=build_pool(pod),
        ),
        spec,
    )
    assert told(before.status)["Ready"] == ("True", "RolledBack")
    status = status_of(plan(before, Observed(storage_problem=REFUSED, pool=build_pool(pod))))
    assert told(status)["Ready"] == ("True", "RolledBack")
    assert status.serving == before.status.serving


def test_two_revisions_of_the_same_bytes_keep_their_names() -> None:
    """The id alone can't name the revision; the history can."""
    before = after(READY)
    twin = before.status.revisions[0].model_copy(update={"id": "0000aaaa"})
    cleared = before.status.model_copy(
        update={"serving": None, "revisions": [*before.status.revisions, twin]}
    )
    turned = cleared.model_copy(update={"revisions": [twin, *before.status.revisions]})
    for status in (cleared, turned):
        found = status_of(plan(build_finetune(SPEC, status), blind(ONE, TWO)))
        assert found.serving is not None
        assert found.serving.revision == COMMIT.revision


def test_another_fine_tunes_adapter_is_not_taken_for_its_own() -> None:
    """The name was another's before."""
    before = after(READY)
    pod = build_pool_pod(
        loaded={f"team-a.cat.{COMMIT.digest[:8]}": COMMIT.digest},
        aliases={"team-a.bot": f"team-a.cat.{COMMIT.digest[:8]}"},
    )
    observed = Observed(storage_problem=REFUSED, pool=build_pool(pod))
    assert told(status_of(plan(before, observed)))["Served"][0] == "False"


def test_what_was_found_damaged_does_not_become_ready() -> None:
    damage = FailureStatus.of(Reason.ARTIFACT_CORRUPT, "a file is another")
    damaged = replace(READY, verified=False, artifact_problem=damage)
    before = build_finetune(SPEC, status_of(plan(after(READY), damaged)))
    assert told(before.status)["Ready"] == ("False", "ArtifactCorrupt")
    status = status_of(plan(before, blind(ONE, TWO)))
    assert told(status)["Ready"] == ("False", "StorageDenied")
    assert told(status)["ArtifactStored"] == ("False", "ArtifactCorrupt")
    assert told(status)["Trained"] == ("True", "Committed")
    assert told(status)["Served"] == ("True", "Served")


def test_another_problem_of_the_spec_comes_before_the_refusal() -> None:
    before = after(READY)
    for world in (blind(ONE, TWO, alias_owner="elder"), replace(READY, alias_owner="elder")):
        status = status_of(plan(before, world))
        assert told(status)["Ready"] == ("False", "AliasTaken")
        assert told(status)["Trained"] == ("True", "Committed")
        assert told(status)["Served"] == ("True", "Served")


# --- what doesn't serve, or not yet


def test_a_first_look_that_is_refused_claims_nothing() -> None:
    found = plan(FT, Observed(storage_problem=REFUSED, pool=build_pool()))
    status = status_of(found)
    assert told(status) == {
        "Ready": ("False", "StorageDenied"),
        "Stalled": ("True", "StorageDenied"),
        "Validated": ("False", "StorageDenied"),
        "Trained": ("Unknown", "Pending"),
        "ArtifactStored": ("Unknown", "Pending"),
    }
    assert (status.serving, status.current_revision) == (None, None)
    assert does_nothing(found)


def test_an_adapter_that_is_only_stored_stays_reported() -> None:
    spec = build_spec(serving={"mode": "None"}, export={"gguf": ["q8_0"]})
    ft = build_finetune(spec)
    stored = Observed(
        commit=build_commit(ft), verified=True, exports=(build_export(ft, "gguf-q8_0"),)
    )
    before = after(stored, spec)
    assert told(before.status)["Exported"] == ("True", "Exported")
    status = status_of(plan(before, Observed(storage_problem=REFUSED)))
    kept = ("Validated", "Admitted", "Trained", "ArtifactStored", "Exported")
    assert {k: told(status)[k] for k in kept} == {k: told(before.status)[k] for k in kept}
    assert told(status)["Ready"] == ("False", "StorageDenied"), "nothing confirms it"
    assert status.current_revision == revision_of(ft)
    assert status.revisions == before.status.revisions

    more = build_spec(serving={"mode": "None"}, export={"gguf": ["q8_0", "q4_k_m"]})
    grown = status_of(
        plan(build_finetune(more, status, generation=2), Observed(storage_problem=REFUSED))
    )
    assert told(grown)["Exported"] == ("Unknown", "Pending")
    none = build_finetune(build_spec(serving={"mode": "None"}), status, generation=2)
    assert "Exported" not in told(status_of(plan(none, Observed(storage_problem=REFUSED))))


def test_a_verdict_stays_reported() -> None:
    spec = build_spec(evaluation=EVALUATION)
    ft = build_finetune(spec)
    commit = build_commit(ft)
    loaded = build_pool_pod(
        loaded={id_of(ft, c): c.digest for c in (OLD, commit)},
        aliases={"team-a.bot": id_of(ft, OLD)},
    )
    evaluation = build_evaluation(
        ft,
        commit.revision,
        OLD.revision,
        {"verdict": "Failed", "gates": [{"name": "better", "verdict": "Failed", "message": "no"}]},
    )
    before = after(
        Observed(
            commit=commit,
            verified=True,
            alias=build_alias(FT, OLD),
            pool=build_pool(loaded),
            evaluation=evaluation,
        ),
        spec,
    )
    assert told(before.status)["Ready"] == ("False", "GateFailed")
    status = status_of(plan(before, Observed(storage_problem=REFUSED, pool=build_pool(loaded))))
    for type_ in ("Evaluated", "GatePassed", "Served", "Trained"):
        assert told(status)[type_] == told(before.status)[type_]
    assert (status.evaluation, status.history) == (before.status.evaluation, before.status.history)
    assert told(status)["Ready"] == ("False", "StorageDenied")


def test_a_recorded_failure_outlives_a_refusal() -> None:
    """Its pod is deleted when the store accepts again, and it left no report."""
    job = build_job(FT, failed=True)
    pod = build_pod(phase="Failed", exit_code=137, ended_reason="OOMKilled")
    before = after(Observed(job=job, pods=(pod,)))
    assert before.status.failure is not None
    assert before.status.failure.reason == Reason.OUT_OF_MEMORY
    refused = status_of(plan(before, blind(job=job, pods=(pod,))))
    assert refused.failure == before.status.failure
    assert told(refused)["Stalled"] == ("True", "OutOfMemory")
    back = status_of(plan(build_finetune(SPEC, refused), Observed(job=job)))
    assert back.failure == before.status.failure


# --- the settings lost the bucket; the spec can't be read


def test_settings_that_lost_the_bucket_erase_nothing() -> None:
    before = after(READY)
    lost = SETTINGS.model_copy(
        update={
            "storage": SETTINGS.storage.model_copy(
                update={"default": SETTINGS.storage.default.model_copy(update={"bucket": None})}
            )
        }
    )
    observed = Observed(pool=build_pool(ONE, TWO, replicas=2))
    found = plan_finetune(build_finetune(SPEC, before.status, lost), observed, lost, LATER)
    status = status_of(found)
    assert told(status)["Ready"] == ("False", "StorageNotConfigured")
    for type_ in ("Trained", "ArtifactStored", "Admitted", "Served"):
        assert told(status)[type_] == told(before.status)[type_]
    assert status.serving == before.status.serving
    assert does_nothing(found)
    back = status_of(plan(build_finetune(SPEC, status), READY))
    assert told(back) == told(before.status)
    assert (back.serving, back.revisions) == (before.status.serving, before.status.revisions)


@pytest.mark.parametrize(("pods", "served"), [((ONE, TWO), "True"), ((ONE, EMPTY), "False")])
def test_a_spec_that_cannot_be_read_erases_nothing(pods: Sequence[PoolPod], served: str) -> None:
    before = after(READY, edited=build_spec(serving={"replicas": 2}, adapter={"rank": 7}))
    assert isinstance(before, UnreadableFineTune)
    found = plan(before, Observed(pool=build_pool(*pods, replicas=2)))
    status = status_of(found)
    assert told(status)["Ready"] == ("False", "InvalidSpec")
    for type_ in ("Trained", "ArtifactStored", "Admitted"):
        assert told(status)[type_] == told(before.status)[type_]
    assert told(status)["Served"][0] == served
    assert status.serving is not None
    assert (status.serving.revision is not None) == (served == "True")
    assert does_nothing(found)
