"""Waiting for a bucket, and what the first write finds out about it."""

import pytest

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_trainer.storage_check import write_first
from qwen3_trainer.store import patiently
from support.memory_bucket import MemoryBucket


def away() -> FailureError:
    return FailureError(Reason.STORAGE_UNAVAILABLE, "the object store doesn't answer")


def test_an_action_is_repeated_until_the_store_answers() -> None:
    answers = [away(), away(), "there"]

    def action() -> str:
        answer = answers.pop(0)
        if isinstance(answer, FailureError):
            raise answer
        return answer

    assert patiently(action, seconds=60, pause=0) == "there"


@pytest.mark.parametrize(
    ("error", "seconds", "times"),
    [
        pytest.param(away(), 0, 1, id="the time is over"),
        pytest.param(FailureError(Reason.STORAGE_DENIED, "no"), 60, 1, id="waiting doesn't help"),
    ],
)
def test_what_waiting_does_not_mend_is_raised(
    error: FailureError, seconds: float, times: int
) -> None:
    called = []

    def action() -> None:
        called.append(1)
        raise error

    with pytest.raises(FailureError) as caught:
        patiently(action, seconds, pause=0)
    assert caught.value is error
    assert len(called) == times


def test_a_store_that_ignores_conditions_can_not_carry_results() -> None:
    bucket = MemoryBucket(conditional=False)

    with pytest.raises(FailureError) as caught:
        write_first(bucket, "progress.json", b"{}")

    assert caught.value.reason == Reason.STORAGE_NOT_CONFIGURED
    assert "bucket b ignores If-None-Match" in caught.value.message


def test_the_first_write_may_be_tried_again() -> None:
    bucket = MemoryBucket()

    for _ in range(2):
        write_first(bucket, "progress.json", b"{}")

    assert bucket.objects == {"progress.json": b"{}"}
