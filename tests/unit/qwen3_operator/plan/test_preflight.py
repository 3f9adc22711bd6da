"""What the preflight decides: nothing asks for a GPU before it passed."""

import json
from typing import Any

import pytest

from qwen3_api.job.base import Failure
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_operator.desired.names import ANNOTATION_ORDER, checks_digest, preflight_name
from qwen3_operator.observed import FineTune, Observed
from qwen3_operator.plan.fit import FittedRun, fit_run, resolve_card, resolve_price
from qwen3_operator.plan.plan import Deletion, TrainingPlan
from qwen3_operator.plan.preflight import build_preflight_status
from qwen3_operator.plan.training import plan_training
from qwen3_operator.settings import Settings
from support.operator_world import (
    NOW,
    SETTINGS,
    build_commit,
    build_finetune,
    build_job,
    build_pod,
    build_preflight,
    build_preflight_job,
    build_spec,
    merge,
    revision_of,
    spec_of,
    storage_of,
)

H100 = "NVIDIA-H100-80GB-HBM3"
FT = build_finetune(build_spec(resources={"gpuProduct": H100}))
FT_LENGTH = spec_of(FT).dataset.max_sequence_length
DIGEST_BEFORE = "6437b9b8bc3b9251"
PLAN_ONLY = build_finetune(build_spec(mode="Plan", resources={"gpuProduct": H100}))
BAD = Failure(reason="DatasetInvalid", message="line 3: no answer", hint="Mend line 3.")


def plan(ft: FineTune = FT, settings: Settings = SETTINGS, **observed: Any) -> TrainingPlan:
    return plan_training(
        ft, spec_of(ft), revision_of(ft), Observed(**observed), storage_of(ft), settings
    )


def priced(**gpu: Any) -> Settings:
    wire = {"training": {"gpus": [{"product": H100, **gpu}], "currency": "EUR"}}
    return Settings.model_validate(merge(SETTINGS.model_dump(by_alias=True), wire))


def jobs_of(found: TrainingPlan) -> list[str]:
    return [m["metadata"]["name"] for m in found.apply if m["kind"] == "Job"]


def test_it_comes_first() -> None:
    found = plan()
    assert jobs_of(found) == [preflight_name("bot", revision_of(FT))]
    assert found.reason is Reason.PREFLIGHT
    assert found.validated is None
    containers = found.apply[0]["spec"]["template"]["spec"]["containers"]
    assert "nvidia.com/gpu" not in containers[0]["resources"]["limits"]


def test_nothing_is_made_while_it_runs() -> None:
    found = plan(preflight_job=build_preflight_job(FT), preflight_pods=(build_pod(),))
    assert found.apply == ()
    assert found.reason is Reason.PREFLIGHT
    assert found.requeue_after is not None


def test_a_pod_that_cannot_start_is_told() -> None:
    pod = build_pod(phase="Pending", waiting_reason="CreateContainerConfigError")
    found = plan(preflight_job=build_preflight_job(FT), preflight_pods=(pod,))
    assert found.reason is Reason.CREDENTIALS_NOT_FOUND
    assert found.warning is not None


def test_when_it_passed_the_run_is_cut_for_the_card() -> None:
    found = plan(preflight=build_preflight(FT), preflight_job=build_preflight_job(FT))
    assert jobs_of(found) == [f"bot-{revision_of(FT)}"]
    assert found.validated is True


def test_a_result_without_its_job_counts() -> None:
    """The Job's TTL is no reason to look again."""
    assert jobs_of(plan(preflight=build_preflight(FT))) == [f"bot-{revision_of(FT)}"]


def test_what_it_refuses_stops_there() -> None:
    job = build_preflight_job(FT, failed=True)
    found = plan(preflight=build_preflight(FT, failure=BAD), preflight_job=job)
    assert found.apply == ()
    assert found.validated is False
    assert found.problem is not None
    assert (found.problem.reason, found.problem.message) == (BAD.reason, BAD.message)
    assert job.name in found.problem.hint


def test_a_refusal_whose_job_was_deleted_is_looked_at_again() -> None:
    found = plan(preflight=build_preflight(FT, failure=BAD))
    assert jobs_of(found) == [preflight_name("bot", revision_of(FT))]


def test_a_refusal_of_an_earlier_job_is_no_verdict() -> None:
    """The data were mended and the Job deleted; its successor has just begun."""
    job = build_preflight_job(FT, created=NOW)
    found = plan(preflight=build_preflight(FT, failure=BAD), preflight_job=job)
    assert found.reason is Reason.PREFLIGHT
    later = build_preflight(FT, failure=BAD, finished="2026-03-01T12:00:01Z")
    assert plan(preflight=later, preflight_job=job).problem is not None


def test_other_checks_start_it_again() -> None:
    job = build_preflight_job(FT, failed=True, checks="another")
    found = plan(preflight=build_preflight(FT, failure=BAD), preflight_job=job)
    assert found.delete == (Deletion("Job", job.name, job.uid),)
    same = build_preflight_job(FT, failed=True, checks=checks_digest(spec_of(FT)))
    assert plan(preflight=build_preflight(FT, failure=BAD), preflight_job=same).delete == ()


def test_a_crash_is_told_by_its_last_words() -> None:
    pod = build_pod(phase="Failed", exit_code=46, termination_message=BAD.model_dump_json())
    found = plan(preflight_job=build_preflight_job(FT, failed=True), preflight_pods=(pod,))
    assert found.problem is not None
    assert found.problem.reason == BAD.reason


def test_a_completed_job_without_a_document_is_told() -> None:
    found = plan(preflight_job=build_preflight_job(FT, complete=True))
    assert found.reason is Reason.COMMIT_MISSING
    assert found.problem is not None


def test_an_earlier_objects_preflight_goes() -> None:
    job = build_preflight_job(FT, owner_uid="another")
    assert plan(preflight_job=job).delete == (Deletion("Job", job.name, job.uid),)


def test_mode_plan_ends_with_the_estimate() -> None:
    found = plan(PLAN_ONLY, preflight=build_preflight(PLAN_ONLY))
    assert found.planned
    assert found.apply == ()


def test_mode_plan_stops_a_run_and_keeps_a_result() -> None:
    job = build_job(PLAN_ONLY)
    assert plan(PLAN_ONLY, job=job).delete == (Deletion("Job", job.name, job.uid),)
    assert plan(PLAN_ONLY, job=job, commit=build_commit(PLAN_ONLY), verified=True).committed


def test_what_fits_no_card_asks_for_no_gpu() -> None:
    hyper = {"microBatchSize": 16, "gradientCheckpointing": False}
    ft = build_finetune(build_spec(resources={"gpuProduct": "NVIDIA-L4"}, hyperparameters=hyper))
    found = plan(ft, preflight=build_preflight(ft))
    assert found.reason is Reason.DOES_NOT_FIT
    assert found.apply == ()
    assert found.validated is False


# --- the card and its price


def test_the_card_is_the_users_then_the_platforms_then_a_small_one() -> None:
    plain = spec_of(build_finetune())
    assert (card := resolve_card(spec_of(FT), SETTINGS)) is not None
    assert card.memory_mib > 70 * 1024
    assert (card := resolve_card(plain, priced())) is not None
    assert card.name == H100
    assert (card := resolve_card(plain, SETTINGS)) is not None
    assert card.memory_mib == 24 * 1024
    cpu = spec_of(build_finetune(build_spec(resources={"gpus": 0})))
    assert resolve_card(cpu, SETTINGS) is None


def test_what_the_platform_says_of_a_card_wins() -> None:
    card = resolve_card(spec_of(FT), priced(memoryGib=40, tflops=100))
    assert card is not None
    assert (card.memory_mib, card.tflops) == (40 * 1024, 100)


def test_costs_are_told_where_the_price_is_known() -> None:
    assert resolve_price(spec_of(FT), SETTINGS) is None
    price = resolve_price(spec_of(FT), priced(pricePerHour="2.50"))
    assert price is not None
    assert price.of(5400) == "3.75 EUR"


@pytest.mark.parametrize("method", ["SFT", "DPO"])
def test_the_effective_batch_is_kept(method: str) -> None:
    changes = {"method": {"type": method}}
    if method == "DPO":
        changes["dataset"] = {"format": "Preference"}
    ft = build_finetune(build_spec(resources={"gpuProduct": H100, "gpus": 2}, **changes))
    run = fit_run(spec_of(ft), build_preflight(ft), SETTINGS)
    assert isinstance(run, FittedRun)
    sizing = run.sizing
    assert sizing.micro_batch_size * sizing.gradient_accumulation_steps * 2 == 16


def test_passes_without_padding_are_cut_for_the_rows_that_were_planned_for() -> None:
    def hyper(**lengths: Any) -> dict[str, Any]:
        found = build_preflight(FT)
        assert found.lengths is not None
        told = found.lengths.model_copy(update=lengths)
        planned = plan(preflight=found.model_copy(update={"lengths": told}))
        order = order_of(planned.apply[0])
        hyper: dict[str, Any] = order["hyperparameters"]
        return hyper

    free = hyper(mean=100.0, maximum=1_900, buckets=[(128, 790), (2_048, 10)])
    assert (free["padding_free"], free["planned_length"]) == (True, 1_900)
    longer = hyper(mean=100.0, maximum=9_000, buckets=[(128, 790), (2_048, 10)])
    assert longer["planned_length"] == FT_LENGTH
    even = hyper(mean=900.0, maximum=900, buckets=[(1_024, 800)])
    assert (even["padding_free"], even["planned_length"]) == (False, None)


def order_of(manifest: dict[str, Any]) -> dict[str, Any]:
    annotations = manifest["spec"]["template"]["metadata"]["annotations"]
    order: dict[str, Any] = json.loads(annotations[ANNOTATION_ORDER])
    return order


def test_a_limit_of_duplicates_is_ordered_and_starts_the_preflight_again() -> None:
    strict = build_finetune(build_spec(dataset={"checks": {"maxDuplicatePercent": 3}}))
    assert order_of(plan(strict).apply[0])["checks"]["max_duplicate_percent"] == 3
    assert order_of(plan().apply[0])["checks"]["max_duplicate_percent"] is None
    assert checks_digest(spec_of(strict)) != checks_digest(spec_of(FT))
    # What a Job from before the field existed has.
    assert checks_digest(spec_of(FT)) == DIGEST_BEFORE


# --- status


def status(ft: FineTune = FT, settings: Settings = SETTINGS, **found: Any) -> dict[str, Any]:
    told = build_preflight_status(
        None, revision_of(ft), spec_of(ft), build_preflight(ft, **found), "s3://b/p", settings
    )
    assert told is not None
    return told.to_wire()


def test_status_tells_what_was_found_and_planned() -> None:
    wire = status(settings=priced(pricePerHour=2))
    assert (wire["rows"], wire["tokens"], wire["p95Tokens"]) == (800, 400_000, 900)
    estimate, sizing = wire["estimate"], wire["sizing"]
    assert estimate["steps"] == 150  # three epochs of 800 rows by 16
    assert estimate["gpuSeconds"] == estimate["seconds"]
    assert estimate["cost"].endswith(" EUR")
    assert 0 < estimate["memoryMiB"] < 80 * 1024
    assert sizing["gpu"] == H100
    # As its message says it, for whoever reads status by program.
    assert sizing["paddingFree"] == ("no padding" in sizing["message"])


def test_status_tells_what_the_numbers_are_of() -> None:
    found = build_preflight(FT).lengths
    assert found is not None
    wire = status(lengths=found.model_copy(update={"counted_rows": 500}), validation_rows=40)
    assert (wire["countedRows"], wire["validationRows"]) == (500, 40)
    assert wire["tokenBuckets"] == [{"tokens": 512, "rows": 500}, {"tokens": 1024, "rows": 300}]


def test_status_tells_what_was_found_before_a_bad_row() -> None:
    early: dict[str, Any] = {"dataset_sha256": None, "lengths": None, "tokens": 0, "failure": BAD}
    wire = status(**early, rows=3, thinking="AsInData", reasoning_rows=2)
    assert (wire["rows"], wire["reasoningRows"], wire["uri"]) == (3, 2, "s3://b/p")
    unknown = {"tokens", "truncatedPercent", "duplicateRows", "leakedRows", "validationRows"}
    assert not unknown & set(wire), "not reached"


def test_status_of_a_preflight_without_a_base_has_no_rows() -> None:
    nothing = {"shape": None, "dataset_sha256": None, "lengths": None, "rows": 0, "tokens": 0}
    wire = status(**nothing, failure=BAD)
    assert "rows" not in wire
    assert wire["uri"] == "s3://b/p"


def test_status_tells_the_thinking_policy_and_what_it_met() -> None:
    wire = status(thinking="Disabled", reasoning_rows=7, stripped_rows=9, warnings=["mixed"])
    assert (wire["thinking"], wire["reasoningRows"], wire["strippedRows"]) == ("Disabled", 7, 9)
    assert wire["warnings"] == ["mixed"]


def test_a_refused_run_has_no_estimate() -> None:
    wire = status(failure=BAD, rows=3)
    assert "estimate" not in wire
    assert wire["rows"] == 3


def test_it_is_kept_until_another_revision() -> None:
    spec, uri = spec_of(FT), None
    before = build_preflight_status(None, "00000001", spec, build_preflight(FT), uri, SETTINGS)
    assert build_preflight_status(before, "00000001", spec, None, uri, SETTINGS) == before
    assert build_preflight_status(before, "00000002", spec, None, uri, SETTINGS) is None


def test_numbers_of_a_tenant_are_bounded() -> None:
    wire = status(rows=10**30, tokens=-5, truncated_percent=1e300)
    assert wire["rows"] == 2**53
    assert wire["tokens"] == 0
    assert len(wire["truncatedPercent"]) < 20
