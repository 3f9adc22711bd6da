"""What the preflight decides: nothing asks for a GPU before it passed."""

import json
from typing import Any

import pytest

from qwen3_api.job.base import Failure
from qwen3_api.job.train import TrainJob
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.finetune.actions import TrainingPlan
from qwen3_operator.finetune.gpu import resolve_card, resolve_price
from qwen3_operator.finetune.plan import plan_finetune
from qwen3_operator.finetune.preflight.plan import build_preflight_status
from qwen3_operator.finetune.preflight.sizing import FittedRun, fit_run
from qwen3_operator.finetune.training.plan import plan_training
from qwen3_operator.finetune.views import FineTune, Observed
from qwen3_operator.resources.actions import Deletion
from qwen3_operator.resources.identity import checks_digest
from qwen3_operator.resources.labels import ANNOTATION_ORDER
from qwen3_operator.resources.names import preflight_name
from qwen3_operator.settings import Settings
from support.operator_world import (
    NOW,
    SETTINGS,
    SIZING,
    build_commit,
    build_finetune,
    build_job,
    build_pod,
    build_preflight,
    build_preflight_job,
    build_progress,
    build_settings,
    build_spec,
    revision_of,
    spec_of,
    storage_of,
)
from support.qwen3_shapes import SHAPES

H100, L4 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-L4"
LABEL = "nvidia.com/gpu.product"
FT = build_finetune(build_spec(resources={"gpuProduct": H100}))
FT_LENGTH = spec_of(FT).dataset.max_sequence_length
DIGEST_BEFORE = "6437b9b8bc3b9251"
PLAN_ONLY = build_finetune(build_spec(mode="Plan", resources={"gpuProduct": H100}))
BAD = Failure(reason="DatasetInvalid", message="line 3: no answer", hint="Mend line 3.")


def plan(ft: FineTune = FT, settings: Settings = SETTINGS, **observed: Any) -> TrainingPlan:
    return plan_training(ft, Observed(**observed), storage_of(ft), settings, NOW)


def priced(**gpu: Any) -> Settings:
    wire = {"training": {"gpus": [{"product": H100, **gpu}], "currency": "EUR"}}
    return build_settings(wire)


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


def test_the_memory_of_a_preflight_is_the_platform_s() -> None:
    pod = build_pod(phase="Failed", exit_code=137, ended_reason="OOMKilled")
    found = plan(preflight_job=build_preflight_job(FT, failed=True), preflight_pods=(pod,))
    assert found.problem is not None
    assert found.problem.reason == Reason.OUT_OF_MEMORY
    assert found.problem.hint == "Ask the platform team to raise preflight.memory."
    assert not found.problem.user
    document = Failure(reason="OutOfMemory", message="m", hint="Ask.")
    told = plan(
        preflight=build_preflight(FT, failure=document),
        preflight_job=build_preflight_job(FT, failed=True),
    )
    assert told.problem is not None
    assert not told.problem.user


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


def of_cards(*products: str, **training: Any) -> Settings:
    gpus = [{"product": p, "pricePerHour": n + 1} for n, p in enumerate(products)]
    return build_settings({"training": {"gpus": gpus, **training}})


@pytest.mark.parametrize(
    ("products", "resources", "planned", "cost", "bound"),
    [
        pytest.param((L4, H100), {}, L4, "1.00 USD", L4, id="the first of several"),
        pytest.param((L4, H100), {"gpuProduct": H100}, H100, "2.00 USD", H100, id="by its field"),
        pytest.param(
            (L4, H100), {"nodeSelector": {LABEL: H100}}, H100, "2.00 USD", H100, id="by its label"
        ),
        pytest.param(
            (L4,), {"gpuProduct": H100, "nodeSelector": {LABEL: L4}}, H100, None, H100, id="by both"
        ),
        pytest.param((), {"nodeSelector": {LABEL: H100}}, H100, None, H100, id="of no list"),
        pytest.param((H100,), {}, H100, "1.00 USD", None, id="the only one"),
        pytest.param((H100, H100), {}, H100, "1.00 USD", None, id="the only one, twice"),
        pytest.param((L4, H100), {"gpus": 0}, None, None, None, id="no GPU"),
        pytest.param((L4, H100), {"queueName": "q"}, L4, "1.00 USD", None, id="a queue places it"),
        pytest.param(
            (L4, H100), {"nodeSelector": {"pool": "a"}}, L4, "1.00 USD", None, id="the user does"
        ),
    ],
)
def test_the_pod_runs_on_the_card_that_was_planned_for(
    products: tuple[str, ...],
    resources: dict[str, Any],
    planned: str | None,
    cost: str | None,
    bound: str | None,
) -> None:
    """Elsewhere its sizes may not fit, and its cost is another."""
    settings = of_cards(*products)
    ft = build_finetune(build_spec(resources=resources))
    card, price = resolve_card(spec_of(ft), settings), resolve_price(spec_of(ft), settings)
    assert (card.name if card else None) == planned
    assert (price.of(3600) if price else None) == cost
    (job,) = plan(ft, settings, preflight=build_preflight(ft)).apply
    assert job["spec"]["template"]["spec"].get("nodeSelector", {}).get(LABEL) == bound


def test_where_a_gpu_is_only_advertised_no_card_is_asked_for() -> None:
    settings = of_cards(L4, H100, allowCpu=True)
    (job,) = plan(build_finetune(), settings, preflight=build_preflight(build_finetune())).apply
    assert "nodeSelector" not in job["spec"]["template"]["spec"]


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


# --- bits of the base

A100_40 = "NVIDIA-A100-SXM4-40GB"


def fitted(
    size: str, card: str, type_: str | None = None, begun: bool | None = None, gpus: int = 1
) -> FittedRun | FailureStatus:
    resources = {"gpuProduct": card, "gpus": gpus}
    ft = build_finetune(build_spec(resources=resources, adapter={"type": type_}))
    found = build_preflight(ft, shape=SHAPES[size])
    return fit_run(spec_of(ft), found, SETTINGS, begun=begun)


@pytest.mark.parametrize(
    ("size", "card", "type_", "begun", "quantized"),
    [
        pytest.param("8B", A100_40, None, None, False, id="16 fit"),
        pytest.param("32B", A100_40, None, None, True, id="only 4 fit"),
        pytest.param("8B", A100_40, "QLoRA", None, True, id="4 asked for"),
        pytest.param("8B", A100_40, "LoRA", None, False, id="16 asked for"),
        pytest.param("8B", A100_40, None, True, True, id="4 begun, 16 fit now"),
        pytest.param("8B", A100_40, "LoRA", True, False, id="4 begun, 16 asked for since"),
    ],
)
def test_bits_are_the_users_else_those_begun_with_else_the_most_that_fit(
    size: str, card: str, type_: str | None, begun: bool | None, quantized: bool
) -> None:
    run = fitted(size, card, type_, begun)
    assert isinstance(run, FittedRun)
    assert run.sizing.quantized is quantized
    assert ("16 bits need" in run.message) == (size == "32B"), "why, where it wasn't asked for"


def test_a_cpu_trains_in_16_bits() -> None:
    run = fitted("32B", A100_40, gpus=0)
    assert isinstance(run, FittedRun)
    assert run.sizing.quantized is False


@pytest.mark.parametrize(
    ("card", "type_", "begun", "advised"),
    [
        pytest.param(A100_40, "LoRA", None, True, id="16 asked for"),
        pytest.param(A100_40, None, False, True, id="16 begun"),
        pytest.param(L4, "LoRA", None, False, id="4 are too much too"),
        pytest.param(L4, None, None, False, id="4 were tried"),
        pytest.param(L4, "QLoRA", None, False, id="4 asked for"),
    ],
)
def test_4_bits_are_advised_where_they_help(
    card: str, type_: str | None, begun: bool | None, advised: bool
) -> None:
    problem = fitted("32B", card, type_, begun)
    assert isinstance(problem, FailureStatus)
    assert problem.reason == Reason.DOES_NOT_FIT
    assert ("QLoRA" in problem.hint) == advised


@pytest.mark.parametrize(
    ("step", "quantized"),
    [pytest.param(0, False, id="nothing learnt yet"), pytest.param(7, True, id="learnt in 4")],
)
def test_a_job_made_again_goes_on_with_the_bits_that_it_learnt_with(
    step: int, quantized: bool
) -> None:
    """On a larger card, say, where 16 would fit now; also if the next attempt has only begun, and
    if another revision was tried in between."""
    sizing = SIZING.model_copy(update={"quantized": True})
    wish = build_spec(resources={"gpuProduct": H100})
    other = build_spec(resources={"gpuProduct": H100}, hyperparameters={"learningRate": "1e-5"})
    ft = build_finetune(wish)
    for spec, at in ((wish, step), (wish, 0), (other, 0)):
        ft = build_finetune(spec, ft.status)
        running = Observed(
            job=build_job(ft), pods=(build_pod(),), progress=build_progress(step=at, sizing=sizing)
        )
        status = plan_finetune(ft, running, SETTINGS, NOW).status
        assert status is not None
        ft = build_finetune(spec, status)
    ft = build_finetune(wish, ft.status)
    observed = Observed(preflight=build_preflight(ft))
    told = plan_finetune(ft, observed, SETTINGS, NOW)
    (made,) = told.apply
    order = TrainJob.model_validate_json(order_text(made))
    assert order.adapter.quantized is quantized
    assert told.status is not None
    assert told.status.preflight is not None
    assert told.status.preflight.sizing is not None
    assert told.status.preflight.sizing.quantized is quantized, "the plan is the Job's"


def order_text(job: Any) -> str:
    text: str = job["spec"]["template"]["metadata"]["annotations"][ANNOTATION_ORDER]
    return text


def order_of(job: Any) -> dict[str, Any]:
    order: dict[str, Any] = json.loads(order_text(job))
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
    assert estimate["tokens"] == 3 * 400_000
    assert estimate["gpuSeconds"] == estimate["seconds"]
    assert estimate["gpuHours"] == f"{estimate['gpuSeconds'] / 3600:.2f}"
    assert estimate["cost"].endswith(" EUR")
    assert 0 < estimate["memoryMiB"] < 80 * 1024
    assert sizing["gpu"] == H100
    # As its message says it, for whoever reads status by program.
    assert sizing["paddingFree"] == ("no padding" in sizing["message"])


def test_evaluations_on_validation_rows_take_time() -> None:
    often = build_finetune(build_spec(resources={"gpuProduct": H100}, checkpoint={"everySteps": 1}))
    plain = status(often)["estimate"]["seconds"]
    assert status(often, validation_rows=100)["estimate"]["seconds"] > 2 * plain
    # An evaluation takes no more rows than that.
    most, more = (status(often, validation_rows=n)["estimate"] for n in (1_000, 100_000))
    assert more == most


def test_status_tells_what_the_numbers_are_of() -> None:
    found = build_preflight(FT).lengths
    assert found is not None
    wire = status(lengths=found.model_copy(update={"counted_rows": 500}), validation_rows=40)
    assert (wire["countedRows"], wire["validationRows"]) == (500, 40)
    assert wire["tokenBuckets"] == [{"tokens": 512, "rows": 500}, {"tokens": 1024, "rows": 300}]


def test_status_tells_what_was_found_before_a_bad_row() -> None:
    early: dict[str, Any] = {
        **{"dataset_sha256": None, "leaked_rows": None, "lengths": None},
        **{"tokens": 0, "failure": BAD},
    }
    wire = status(**early, rows=3, thinking="AsInData", reasoning_rows=2)
    assert (wire["rows"], wire["reasoningRows"], wire["uri"]) == (3, 2, "s3://b/p")
    unknown = {"tokens", "truncatedPercent", "duplicateRows", "leakedRows", "validationRows"}
    assert not unknown & set(wire), "not reached"


def test_status_says_nothing_of_validation_rows_that_were_not_all_read() -> None:
    wire = status(failure=BAD, validation_rows=2, leaked_rows=None)
    assert wire["duplicateRows"] == 0, "the training rows were"
    assert not {"validationRows", "leakedRows"} & set(wire)


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
