"""What an export decides: it follows a verified result, makes what is missing, trains nothing."""

from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.base import Failure
from qwen3_api.job.export import Export, ExportJob
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_operator.artifacts.documents import check_export
from qwen3_operator.finetune.actions import ExportPlan
from qwen3_operator.finetune.export.manifests import scratch_size
from qwen3_operator.finetune.export.plan import build_export_status, plan_export
from qwen3_operator.finetune.plan import plan_finetune
from qwen3_operator.finetune.views import FineTune, Observed
from qwen3_operator.resources.actions import Deletion
from qwen3_operator.resources.identity import export_digest, spec_hash
from qwen3_operator.resources.labels import ANNOTATION_ORDER
from qwen3_sizing.memory import weight_bytes
from support.operator_world import (
    NOW,
    QWEN3_8B,
    SETTINGS,
    build_commit,
    build_export,
    build_export_job,
    build_finetune,
    build_pod,
    build_preflight,
    build_spec,
    revision_of,
    spec_of,
    storage_of,
)

FT = build_finetune(build_spec(serving={"mode": "Merged"}, export={"gguf": ["q4_k_m"]}))
NONE = build_finetune(build_spec(serving={"mode": "None"}))
FULL = Failure(reason="DiskFull", message="no room", hint="Ask.")


def plan(ft: FineTune = FT, **observed: Any) -> ExportPlan | None:
    world = {"commit": build_commit(ft), "verified": True} | observed
    return plan_export(ft, Observed(**world), storage_of(ft), SETTINGS)


def made(ft: FineTune = FT, **observed: Any) -> ExportPlan:
    found = plan(ft, **observed)
    assert found is not None
    return found


def ready(ft: FineTune, **observed: Any) -> tuple[str, str]:
    """Status and reason of Ready."""
    world = {"commit": build_commit(ft), "verified": True} | observed
    status = plan_finetune(ft, Observed(**world), SETTINGS, NOW).status
    assert status is not None
    found = next(c for c in status.conditions if c.type == "Ready")
    return found.status, found.reason


def test_nothing_is_made_where_nothing_is_asked_for() -> None:
    assert plan(NONE) is None
    assert ready(NONE) == ("True", "Trained")


def test_it_waits_for_a_verified_result() -> None:
    assert made(commit=None, verified=False).apply == ()
    assert made(verified=False).apply == ()


def test_its_order_names_the_committed_adapter() -> None:
    (job,) = made().apply
    pod = job["spec"]["template"]
    order = ExportJob.model_validate_json(pod["metadata"]["annotations"][ANNOTATION_ORDER])
    commit = build_commit(FT)
    assert order.artifacts == ["merged", "gguf-q4_k_m"]
    assert (order.adapter.digest, order.adapter.files) == (commit.digest, commit.files)
    assert order.base_commit == commit.provenance.base_commit
    assert "nvidia.com/gpu" not in pod["spec"]["containers"][0]["resources"]["limits"]


def test_the_disk_holds_the_model_twice_and_the_node_is_asked_for_it() -> None:
    found = made(preflight=build_preflight(FT, shape=QWEN3_8B)).apply[0]
    pod = found["spec"]["template"]["spec"]
    size = scratch_size(weight_bytes(QWEN3_8B, quantized=False), SETTINGS)
    assert 2 * weight_bytes(QWEN3_8B, quantized=False) < int(size.removesuffix("Gi")) * 2**30
    work = next(v for v in pod["volumes"] if v["name"] == "work")
    assert work["emptyDir"]["sizeLimit"] == size
    assert pod["containers"][0]["resources"]["requests"]["ephemeral-storage"] == size


def test_without_a_known_shape_the_platforms_size_counts() -> None:
    pod = made().apply[0]["spec"]["template"]["spec"]
    requests = pod["containers"][0]["resources"]["requests"]
    assert requests["ephemeral-storage"] == SETTINGS.export.scratch


def test_ready_waits_for_every_artifact() -> None:
    merged, gguf = build_export(FT, "merged"), build_export(FT, "gguf-q4_k_m")
    job = build_export_job(FT)
    assert ready(FT, exports=(merged,), export_job=job) == ("False", "Exporting")
    assert ready(FT, exports=(merged, gguf), export_job=job) == ("True", "Trained")


def test_an_edit_makes_the_job_again_and_never_trains() -> None:
    more = build_finetune(build_spec(serving={"mode": "Merged"}, export={"gguf": ["f16"]}))
    assert spec_hash(spec_of(more)) == spec_hash(spec_of(FT)) == spec_hash(spec_of(NONE))
    job = build_export_job(more, export=export_digest(spec_of(FT)))
    assert made(more, export_job=job).delete == (Deletion("Job", job.name, job.uid),)
    there = (build_export(more, "merged"), build_export(more, "gguf-f16"))
    assert made(more, export_job=job, exports=there).delete == ()


def test_the_order_of_types_is_no_edit() -> None:
    lists = (["f16", "q8_0"], ["q8_0", "f16"])
    specs = [spec_of(build_finetune(build_spec(export={"gguf": g}))) for g in lists]
    assert export_digest(specs[0]) == export_digest(specs[1])


def test_a_failed_jobs_evidence_stays_a_done_ones_goes() -> None:
    assert "ttlSecondsAfterFinished" not in made().apply[0]["spec"]
    there = (build_export(FT, "merged"), build_export(FT, "gguf-q4_k_m"))
    (lifecycle,) = made(exports=there, export_job=build_export_job(FT, complete=True)).lifecycle
    ttl = spec_of(FT).ttl_seconds_after_finished
    assert lifecycle["spec"] == {"ttlSecondsAfterFinished": ttl}
    told = build_export_job(FT, complete=True, ttl=ttl)
    assert made(exports=there, export_job=told).lifecycle == ()


def test_two_pods_never_run_at_once() -> None:
    assert made(export_pods=(build_pod(),)).apply == ()
    assert made(export_job=build_export_job(FT, deleting=True)).apply == ()


def test_an_earlier_objects_job_goes() -> None:
    job = build_export_job(FT, owner_uid="another")
    assert made(export_job=job).delete == (Deletion("Job", job.name, job.uid),)


def test_a_wish_taken_back_stops_its_job() -> None:
    job = build_export_job(NONE)
    assert made(NONE, export_job=job).delete == (Deletion("Job", job.name, job.uid),)
    assert plan(NONE, export_job=build_export_job(NONE, complete=True)) is None
    assert ready(NONE, export_job=job) == ("True", "Trained")


def test_mode_plan_exports_nothing() -> None:
    only = build_finetune(build_spec(mode="Plan", export={"gguf": ["f16"]}))
    assert plan(only) is None


def test_a_failure_is_told_with_its_hint() -> None:
    pod = build_pod(phase="Failed", exit_code=51, termination_message=FULL.model_dump_json())
    world = {"export_job": build_export_job(FT, failed=True), "export_pods": (pod,)}
    problem = made(**world).problem
    assert problem is not None
    assert (problem.reason, problem.message) == ("DiskFull", "no room")
    assert problem.hint.startswith("Ask. Then delete Job ")
    assert ready(FT, **world) == ("False", "DiskFull")


@pytest.mark.parametrize(
    ("ended", "reason"),
    [("OOMKilled", Reason.OUT_OF_MEMORY), ("Error", Reason.TRAINER_FAILED)],
)
def test_only_the_pod_s_state_makes_a_kill_one_for_memory(ended: str, reason: Reason) -> None:
    pod = build_pod(phase="Failed", exit_code=137, ended_reason=ended)
    problem = made(export_job=build_export_job(FT, failed=True), export_pods=(pod,)).problem
    assert problem is not None
    assert problem.reason == reason
    assert ("export.memory" in problem.hint) is (reason is Reason.OUT_OF_MEMORY)


def test_no_node_with_the_room_is_told() -> None:
    pod = build_pod(phase="Pending", unschedulable="0/3 nodes: insufficient ephemeral-storage")
    found = made(export_job=build_export_job(FT), export_pods=(pod,))
    assert found.warning is not None
    assert "ephemeral storage" in found.warning.hint
    assert ready(FT, export_job=build_export_job(FT), export_pods=(pod,)) == (
        "False",
        "Unschedulable",
    )


def test_a_completed_job_without_its_artifact_is_told() -> None:
    found = made(export_job=build_export_job(FT, complete=True))
    assert found.reason is Reason.COMMIT_MISSING


def test_status_keeps_what_was_told() -> None:
    storage = storage_of(FT)
    told = build_export_status([], (build_export(FT, "merged"),), storage)
    both = build_export_status(told, (build_export(FT, "gguf-q4_k_m"),), storage)
    assert [e.name for e in both] == ["gguf-q4_k_m", "merged"]
    assert both[1].size_bytes == 2**33
    assert both[1].uri.endswith("/exports/merged/uid-export-0")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, None),
        ({"prefix": "qwen3/team-b/secrets"}, "elsewhere"),
        ({"artifact": "gguf-f16"}, "elsewhere"),
        ({"digest": "0" * 64}, "digest"),
        ({"adapter_digest": "0" * 64}, "another adapter"),
    ],
)
def test_a_manifest_must_be_about_its_own_folder(changes: dict[str, Any], word: str | None) -> None:
    """A tenant's pod wrote it."""
    export: Export = build_export(FT, "merged").model_copy(update=changes)
    folder = layout.revision_prefix("qwen3", FT.meta.namespace, FT.meta.uid, revision_of(FT))
    problem = check_export(
        export, build_commit(FT), layout.export_prefix(folder, "merged"), "merged"
    )
    assert (problem.message if problem else None) is None if word is None else word in str(problem)
