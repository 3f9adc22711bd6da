"""The ladder that all stages share: the first rung that holds."""

from typing import Any

import pytest

from qwen3_operator.resources.job_state import JobState, assess_job
from support.evaluation_world import build_eval_job, plan
from support.operator_world import build_finetune, build_job, build_pod

FT = build_finetune()
UID = FT.meta.uid
OTHER = {"owner_uid": "uid-of-yesterday"}
LIVE = build_pod(phase="Running")
ENDED = build_pod(phase="Failed", exit_code=1)
STUCK = build_pod(phase="Pending", unschedulable="0/3 nodes are available")


@pytest.mark.parametrize(
    ("job", "pods", "made_for", "state"),
    [
        (None, (), True, JobState.ABSENT),
        (None, (ENDED,), True, JobState.ABSENT),
        (None, (LIVE,), True, JobState.LEAVING),
        ({"deleting": True}, (), True, JobState.LEAVING),
        ({"deleting": True, "failed": True}, (), True, JobState.LEAVING),
        ({"deleting": True, **OTHER}, (), True, JobState.NOT_OWNED),
        ({"failed": True, **OTHER}, (ENDED,), True, JobState.NOT_OWNED),
        ({}, (LIVE,), False, JobState.OUTDATED),
        ({"failed": True}, (ENDED,), False, JobState.OUTDATED),
        ({"failed": True}, (ENDED,), True, JobState.FAILED),
        ({"complete": True}, (), True, JobState.NO_RESULT),
        ({"suspended": True}, (STUCK,), True, JobState.SUSPENDED),
        ({}, (STUCK,), True, JobState.BLOCKED),
        ({}, (LIVE,), True, JobState.ACTIVE),
        ({}, (), True, JobState.ACTIVE),
    ],
)
def test_the_first_rung_that_holds(
    job: dict[str, Any] | None, pods: tuple[Any, ...], made_for: bool, state: JobState
) -> None:
    view = build_job(FT, **job) if job is not None else None
    found = assess_job(view, pods, UID, made_for=made_for)
    assert found.state is state
    assert (found.problem is not None) == (state in (JobState.FAILED, JobState.BLOCKED))
    assert found.leaving == (LIVE.name if state is JobState.LEAVING and pods else "")


def test_an_evaluation_does_not_start_beside_a_pod_of_its_deleted_job() -> None:
    found = plan(pods=(build_pod(phase="Running"),))
    assert found.apply == ()
    assert found.requeue_after is not None


def test_a_deleted_job_is_no_verdict() -> None:
    found = plan(job=build_eval_job(failed=True, deleting=True))
    assert found.status is not None
    assert found.status.verdict is None
