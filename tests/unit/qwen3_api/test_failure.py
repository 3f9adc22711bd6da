"""One exception for what fails: how the Job goes on with a pod, and a program with another try."""

import ast
from pathlib import Path

import pytest

from qwen3_api.job.exit_codes import ACTIONS, EXIT_CODES, ExitCode, PodFailureAction
from qwen3_api.pod.failure import FailureError, Retry, end_with
from qwen3_api.v1alpha1.conditions import Reason

ROOT = Path(__file__).parents[3]
PODS = ("trainer-image/src", "evaluator-image/src", "server-image/src")
RAISED = {"FailureError", "AdapterError", "StorageError"}


def test_a_failure_survives_the_border() -> None:
    error = FailureError(Reason.OUT_OF_MEMORY, "x" * 5000, "y" * 5000, step=3)
    failure = error.failure
    assert len(failure.message) == len(failure.hint) == 1024
    again = FailureError.from_failure(failure)
    assert (again.exit_code, again.step) == (ExitCode.OUT_OF_MEMORY, 3)


def test_a_reason_of_the_operator_is_none_of_a_pod() -> None:
    failure = FailureError(Reason.LOSS_NAN, "m").failure
    with pytest.raises(ValueError, match="no reason of a pod"):
        FailureError.from_failure(failure.model_copy(update={"reason": "Served"}))


def test_every_code_has_a_reason_and_every_reason_a_code_the_job_acts_on() -> None:
    assert set(EXIT_CODES.values()) == set(ExitCode) - {ExitCode.SUCCEEDED}
    assert set(EXIT_CODES) <= set(Reason)


@pytest.mark.parametrize(
    ("reason", "retry", "code"),
    [
        (Reason.DATASET_EMPTY, None, ExitCode.USER_ERROR),
        (Reason.OUT_OF_MEMORY, None, ExitCode.OUT_OF_MEMORY),
        (Reason.STORAGE_UNAVAILABLE, None, ExitCode.STORAGE_UNAVAILABLE),
        # The evaluator's own end, and a judge's: a refusal ends it, silence is tried again.
        (Reason.EVALUATOR_FAILED, None, ExitCode.USER_ERROR),
        (Reason.EVALUATOR_FAILED, Retry.BACKOFF, ExitCode.UNEXPECTED),
        (Reason.JUDGE_UNAVAILABLE, Retry.BACKOFF, ExitCode.UNEXPECTED),
        # The code of its own would have it tried again.
        (Reason.STORAGE_UNAVAILABLE, Retry.NEVER, ExitCode.USER_ERROR),
        (Reason.DISK_FULL, Retry.BACKOFF, ExitCode.UNEXPECTED),
        # No reason of a pod.
        ("Forbidden", None, ExitCode.USER_ERROR),
    ],
)
def test_the_job_does_what_the_error_says(reason: str, retry: Retry | None, code: ExitCode) -> None:
    error = FailureError(reason, "m", retry=retry)
    assert error.exit_code is code
    again = ACTIONS[error.exit_code] is not PodFailureAction.FAIL_JOB
    assert again is (error.retry is not Retry.NEVER)


def test_message_and_hint_are_joined_once() -> None:
    assert FailureError(Reason.BAD_CONFIG, "it is bad").advice == "it is bad"
    error = FailureError(Reason.BAD_CONFIG, "it is bad", "Correct it.")
    assert error.advice == error.failure.advice == "it is bad. Correct it."


def test_a_pod_ends_with_the_message_and_the_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    error = FailureError(Reason.DATASET_EMPTY, "no rows", "Add some.")
    assert end_with(error, tmp_path / "log") is ExitCode.USER_ERROR
    assert (tmp_path / "log").read_bytes() == (
        b'{"reason":"DatasetEmpty","message":"no rows","hint":"Add some."}'
    )
    assert [r.getMessage() for r in caplog.records] == ["DatasetEmpty: no rows. Add some."]


def test_every_reason_that_a_program_names_has_a_code() -> None:
    named = {
        (path.name, call.args[0].attr)
        for folder in PODS
        for path in (ROOT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in RAISED
        and call.args
        and isinstance(call.args[0], ast.Attribute)
        and ast.unparse(call.args[0].value) == "Reason"
    }
    assert len(named) > 50
    assert {(file, reason) for file, reason in named if Reason[reason] not in EXIT_CODES} == set()
