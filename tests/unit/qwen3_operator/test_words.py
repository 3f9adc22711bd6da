"""Conditions, checks that admission can't do, and the reasons found in pods."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qwen3_api.job.base import Failure
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import TrainReport
from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.failure import FailureClass, FailureStatus
from qwen3_api.v1alpha1.meta import ConditionStatus
from qwen3_operator.finetune.validate import validate
from qwen3_operator.finetune.views import Observed
from qwen3_operator.resources.conditions import Conditions, find
from qwen3_operator.resources.diagnosis import (
    KILLED,
    diagnose_failed_job,
    diagnose_waiting,
    parse_termination,
    recall_failure,
)
from qwen3_operator.resources.job import build_failure_policy
from qwen3_operator.resources.numbers import count, decimal
from qwen3_operator.resources.views import JobView, PodView, parse_pod
from qwen3_operator.settings import Settings
from support.operator_world import (
    NOW,
    SETTINGS,
    build_finetune,
    build_job,
    build_pod,
    build_spec,
)

READY, STALLED = ConditionType.READY, ConditionType.STALLED

# --- conditions


def test_transition_time_moves_with_the_status_only() -> None:
    first = Conditions((), 1, NOW)
    first.set(READY, False, Reason.PENDING)
    second = Conditions(first.to_list(), 2, NOW + timedelta(minutes=1))
    second.set(READY, False, Reason.TRAINING, "step 1")
    third = Conditions(second.to_list(), 2, NOW + timedelta(minutes=2))
    third.set(READY, True, Reason.SERVED)
    times = [c.to_list()[0].last_transition_time for c in (first, second, third)]
    assert times == ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T12:02:00Z"]
    assert [c.to_list()[0].observed_generation for c in (first, second, third)] == [1, 2, 2]


@pytest.mark.parametrize(
    "type_", [ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.DEGRADED]
)
def test_some_exist_only_while_true(type_: ConditionType) -> None:
    before = Conditions((), 1, NOW)
    before.set(type_, True, Reason.PENDING)
    now = Conditions(before.to_list(), 1, NOW)
    now.set(type_, True, Reason.PENDING)
    now.set(type_, False, Reason.PENDING)
    assert now.to_list() == []


def test_what_is_not_set_again_is_gone() -> None:
    before = Conditions((), 1, NOW)
    before.set(ConditionType.SERVED, True, Reason.SERVED)
    assert Conditions(before.to_list(), 1, NOW).to_list() == []


def test_ready_comes_first_and_messages_are_cut() -> None:
    conditions = Conditions((), 1, NOW)
    conditions.set(ConditionType.ADMITTED, True, Reason.ADMITTED, "x" * 5000)
    conditions.set(READY, True, Reason.SERVED)
    found = conditions.to_list()
    assert [c.type for c in found] == ["Ready", "Admitted"]
    assert len(found[1].message) == 1024
    ready = find(found, READY)
    assert ready is not None
    assert ready.status is ConditionStatus.TRUE


# --- checks


@pytest.mark.parametrize(
    ("spec", "observed", "reason"),
    [
        (build_spec(), Observed(), None),
        (
            build_spec(adapter={"from": {"fineTuneRef": {"name": "x"}, "revision": "0a1b2c3d"}}),
            Observed(
                start=FailureStatus.of(Reason.START_ADAPTER_NOT_FOUND, "spec.adapter.from: no such")
            ),
            Reason.START_ADAPTER_NOT_FOUND,
        ),
        (build_spec(baseModel={"name": "a/b"}), Observed(), Reason.BASE_MODEL_NOT_FOUND),
        (
            build_spec(baseModel={"name": "a/b", "source": {"type": "HuggingFace"}}),
            Observed(),
            None,
        ),
        (
            build_spec(artifacts={"s3": {"endpoint": "http://other:1"}}),
            Observed(),
            Reason.STORAGE_NOT_CONFIGURED,
        ),
        (
            build_spec(),
            Observed(storage_problem=FailureStatus.of(Reason.BUCKET_NOT_FOUND, "no")),
            Reason.BUCKET_NOT_FOUND,
        ),
        (build_spec(adapter={"rank": 64}), Observed(), None),
        (build_spec(adapter={"rank": 128}), Observed(), Reason.ADAPTER_RANK_TOO_HIGH),
        (build_spec(adapter={"rank": 128}, serving={"mode": "None"}), Observed(), None),
        (build_spec(), Observed(alias_owner="elder"), Reason.ALIAS_TAKEN),
        (build_spec(serving={"mode": "None"}), Observed(alias_owner="elder"), None),
    ],
)
def test_validate(spec: dict[str, Any], observed: Observed, reason: Reason | None) -> None:
    problem = validate(build_finetune(spec), observed, SETTINGS)
    assert (problem.reason if problem else None) == reason
    assert problem is None or (problem.message.startswith("spec.") or observed.storage_problem)


def test_no_bucket_anywhere() -> None:
    settings = Settings.model_validate(
        {**SETTINGS.model_dump(), "storage": {"default": {"endpoint": "http://s3.test:8333"}}}
    )
    problem = validate(build_finetune(settings=settings), Observed(), settings)
    assert problem is not None
    assert "spec.artifacts.s3.bucket" in problem.message


# --- reasons in pods

JOB = build_job(build_finetune(), failed=True, failed_reason="PodFailurePolicy")
FAILURE = Failure(reason="DatasetInvalid", message="line 3", hint="Mend it.")


def report(failure: Failure | None, exit_code: int = 42) -> TrainReport:
    return TrainReport(
        attempt="uid-pod-0",
        outcome="Failed",
        failure=failure,
        exit_code=exit_code,
        step=0,
        total_steps=None,
        started="",
        finished="",
    )


def ended(code: int | None, message: str = "", number: int = 0) -> PodView:
    return build_pod(number, phase="Failed", exit_code=code, termination_message=message)


def for_memory(code: int) -> PodView:
    return replace(ended(code), ended_reason="OOMKilled")


UNPROVED = Failure(reason="TrainerFailed", message="the train process was killed (SIGKILL)")


@pytest.mark.parametrize(
    ("pods", "found", "reason", "user"),
    [
        pytest.param((ended(42),), report(FAILURE), "DatasetInvalid", True, id="report"),
        pytest.param((ended(42, FAILURE.model_dump_json()),), None, "DatasetInvalid", True, id="m"),
        pytest.param(
            (ended(46, FAILURE.model_dump_json()),), None, "DatasetInvalid", False, id="c"
        ),
        pytest.param((), report(FAILURE), "DatasetInvalid", True, id="pods are gone"),
        pytest.param((), report(FAILURE, 46), "DatasetInvalid", False, id="so is its code"),
        pytest.param((ended(137),), None, "TrainerFailed", False, id="killed by whomever"),
        pytest.param((for_memory(137),), None, "OutOfMemory", True, id="killed for memory"),
        pytest.param((for_memory(1),), None, "OutOfMemory", True, id="a child killed for memory"),
        pytest.param(
            (for_memory(1),), report(UNPROVED, 1), "OutOfMemory", True, id="proved by the state"
        ),
        pytest.param((ended(1),), report(UNPROVED, 1), "TrainerFailed", False, id="not proved"),
        pytest.param(
            (for_memory(42),), report(FAILURE), "DatasetInvalid", True, id="a name beats the state"
        ),
        pytest.param((ended(1, "Traceback"),), None, "TrainerFailed", False, id="log"),
        pytest.param((), None, "TrainerFailed", False, id="nothing"),
        pytest.param(
            (ended(42),),
            report(Failure(reason="MyOwnWord", message="x")),
            "TrainerFailed",
            False,
            id="a word that isn't in the vocabulary",
        ),
    ],
)
def test_diagnose_failed_job(
    pods: tuple[PodView, ...], found: TrainReport | None, reason: str, user: bool
) -> None:
    problem = diagnose_failed_job(JOB, pods, found)
    assert problem.reason == reason
    assert problem.failure_class is (FailureClass.USER if user else FailureClass.SYSTEM)
    Reason(problem.reason)


def parsed(status: dict[str, Any], terminated: dict[str, Any]) -> PodView:
    """A failed pod as the API server has it."""
    metadata = {"name": "p", "uid": "u", "creationTimestamp": "2026-11-01T00:00:00Z"}
    containers = [{"state": {"terminated": terminated}}]
    status = {"phase": "Failed", "containerStatuses": containers, **status}
    return parse_pod({"metadata": metadata, "spec": {}, "status": status})


DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "default-scheduler: preempting to accommodate a higher priority pod",
}


@pytest.mark.parametrize(
    ("status", "terminated", "reason", "words"),
    [
        (
            {},
            {"exitCode": 137, "reason": "OOMKilled"},
            Reason.OUT_OF_MEMORY,
            "the container ran out of memory (OOMKilled)",
        ),
        (
            {},
            {"exitCode": 137, "reason": "Error"},
            Reason.TRAINER_FAILED,
            "pod p was killed (code 137); its state doesn't show out of memory",
        ),
        (
            {},
            {
                "exitCode": 137,
                "reason": "ContainerStatusUnknown",
                "message": "The container could not be located when the pod was terminated",
            },
            Reason.TRAINER_FAILED,
            "(code 137 (ContainerStatusUnknown)); its state doesn't show out of memory: The "
            "container could not be located",
        ),
        (
            {"reason": "Evicted", "message": "The node was low on resource: memory."},
            {"exitCode": 137, "reason": "Error"},
            Reason.TRAINER_FAILED,
            "was killed (code 137): Evicted: The node was low on resource: memory.",
        ),
        (
            {"reason": "Terminated", "message": "Pod was terminated in response to node shutdown."},
            {"exitCode": 137, "reason": "Error"},
            Reason.TRAINER_FAILED,
            "(code 137): Terminated: Pod was terminated in response to node shutdown.",
        ),
        (
            {"conditions": [DISRUPTED]},
            {"exitCode": 137, "reason": "Error"},
            Reason.TRAINER_FAILED,
            "(code 137): PreemptionByScheduler: default-scheduler: preempting",
        ),
    ],
    ids=["memory", "nobody says", "lost", "evicted", "node shutdown", "preempted"],
)
def test_a_killed_container_has_the_cause_that_its_pod_states(
    status: dict[str, Any], terminated: dict[str, Any], reason: Reason, words: str
) -> None:
    problem = diagnose_failed_job(JOB, (parsed(status, terminated),), None)
    assert problem.reason == reason
    assert words in problem.message
    assert problem.hint
    assert problem.user is (reason is Reason.OUT_OF_MEMORY), "else a retry may work"


def test_no_rule_of_a_job_makes_a_sigkill_final() -> None:
    """What nobody proved is tried again: Kubernetes counts what no rule matches."""
    rules = build_failure_policy("trainer")["rules"]
    codes = [code for rule in rules for code in rule.get("onExitCodes", {}).get("values", [])]
    assert KILLED not in codes
    assert ExitCode.UNEXPECTED not in codes, (
        "what the trainer ends with, when its worker was killed"
    )


def test_the_last_pod_speaks() -> None:
    pods = (ended(1, "first"), ended(1, "second", 1))
    assert "second" in diagnose_failed_job(JOB, pods, None).message


@pytest.mark.parametrize(
    ("job", "pods", "recalled"),
    [
        (JOB, (), True),
        (JOB, (ended(1, "older", 7),), True),
        (JOB, (ended(42),), False),
        (build_job(build_finetune(), failed=True, uid="uid-other"), (), False),
    ],
    ids=["no pods", "another pod is left", "its pod is there", "another Job"],
)
def test_what_was_told_outlives_its_pod(
    job: JobView, pods: tuple[PodView, ...], *, recalled: bool
) -> None:
    problem = diagnose_failed_job(JOB, (ended(42),), report(FAILURE))
    told = problem.with_changes(log_uri="s3://bucket/report.json")
    assert recall_failure(told, job, pods) == (told if recalled else None)


def test_words_without_a_pod_are_nothing_to_recall() -> None:
    told = diagnose_failed_job(JOB, (), None)
    assert recall_failure(told, JOB, ()) is None
    assert recall_failure(None, JOB, ()) is None


def test_exhausted_retries_are_counted() -> None:
    job = build_job(build_finetune(), failed=True, failed_reason="BackoffLimitExceeded", failures=3)
    problem = diagnose_failed_job(job, (ended(46, "slow disk"),), None)
    assert problem.message.startswith("3 attempts failed")
    assert problem.retriable


def test_long_words_are_cut() -> None:
    failure = FailureStatus.of(Reason.TRAINER_FAILED, "x" * 4096, "y" * 4096)
    assert (len(failure.message), len(failure.hint)) == (1024, 1024)
    changed = failure.with_changes(message=f"again: {failure.message}", attempt="uid-1")
    assert (len(changed.message), changed.attempt) == (1024, "uid-1")
    assert FailureStatus.model_validate(changed.to_wire()) == changed


@pytest.mark.parametrize(
    "message", ["", "Traceback …", "[1]", "{}", '{"reason": 1}', json.dumps({"reason": "x" * 9})]
)
def test_a_termination_message_may_be_anything(message: str) -> None:
    assert parse_termination(message) is None


@pytest.mark.parametrize("waiting", ["", "ContainerCreating", "PodInitializing"])
def test_ordinary_waiting_is_no_problem(waiting: str) -> None:
    assert diagnose_waiting((build_pod(waiting_reason=waiting),)) is None


# --- numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (float("nan"), None),
        (float("-inf"), None),
        (0.12345, "0.1235"),
        (-0.5, "-0.5000"),
        (1e308, "1.0000e+308"),
    ],
)
def test_decimal(value: float | None, text: str | None) -> None:
    assert decimal(value, 4) == text


def test_decimal_with_a_sign() -> None:
    assert decimal(0.5, 1, sign=True) == "+0.5"


def test_count() -> None:
    assert [count(n) for n in (-1, 7, 10**30)] == [0, 7, 2**53]
