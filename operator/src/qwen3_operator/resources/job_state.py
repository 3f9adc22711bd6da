"""The state of a Job that has to leave a result: one ladder for all stages. Pure.

The rungs are the order of truth. A stage looks for its result first; only without one does it ask
what its Job is doing, and answers each state in its own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from qwen3_api.job.report import TrainReport
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.resources.diagnosis import (
    diagnose_failed_job,
    diagnose_waiting,
    recall_failure,
)
from qwen3_operator.resources.views import JobView, PodView


class JobState(StrEnum):
    """In the order in which they are looked for."""

    NOT_OWNED = "NotOwned"
    """Its owner is an earlier object of the same name; it writes into that one's folder."""
    ABSENT = "Absent"
    """There is none, and no pod of one."""
    LEAVING = "Leaving"
    """It is being deleted, or a pod of a deleted one still runs: no second one may start."""
    OUTDATED = "Outdated"
    """It was made for another spec."""
    FAILED = "Failed"
    """It ended; `problem` says why."""
    NO_RESULT = "NoResult"
    """It completed, and the result isn't there."""
    SUSPENDED = "Suspended"
    BLOCKED = "Blocked"
    """Its pod can't start; `problem` says why."""
    ACTIVE = "Active"


@dataclass(frozen=True)
class JobAssessment:
    """What a Job shows."""

    state: JobState
    problem: FailureStatus | None = None
    """Of FAILED and BLOCKED; never None there."""
    recalled: bool = False
    """`problem` is what status recorded: its pod is deleted."""
    leaving: str = ""
    """Of LEAVING: the name of the pod that is left; "" while the Job itself is."""


def assess_job(
    job: JobView | None,
    pods: Sequence[PodView],
    owner_uid: str,
    *,
    made_for: bool = True,
    recorded: FailureStatus | None = None,
    report: TrainReport | None = None,
) -> JobAssessment:
    """The first rung that holds.

    pods: the Job's, oldest first.
    owner_uid: of the object that must control the Job.
    made_for: the Job was made for the present spec.
    recorded: status.failure, which outlives the pod that it is from.
    report: the document of its last attempt, if it left one.
    """
    if job is not None and job.owner_uid != owner_uid:
        return JobAssessment(JobState.NOT_OWNED)
    if job is None or job.deleting:
        # A Job is gone at once, its pod only after its grace period. Two pods of one revision must
        # never run at the same time.
        live = [p.name for p in pods if p.live]
        if job is None and not live:
            return JobAssessment(JobState.ABSENT)
        return JobAssessment(JobState.LEAVING, leaving=live[-1] if live else "")
    if not made_for:
        return JobAssessment(JobState.OUTDATED)
    if job.failed:
        known = recall_failure(recorded, job, pods)
        problem = known or diagnose_failed_job(job, pods, report)
        return JobAssessment(JobState.FAILED, problem, recalled=known is not None)
    if job.complete:
        return JobAssessment(JobState.NO_RESULT)
    if job.suspended:
        return JobAssessment(JobState.SUSPENDED)
    warning = diagnose_waiting(pods)
    if warning is not None:
        return JobAssessment(JobState.BLOCKED, warning)
    return JobAssessment(JobState.ACTIVE)
