"""From what pods and Jobs show to a reason that a user can act on. Pure."""

import json
from collections.abc import Sequence
from datetime import datetime

from pydantic import ValidationError

from qwen3_api.job.base import Failure
from qwen3_api.job.exit_codes import ExitCode
from qwen3_api.job.report import Progress, TrainReport
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.resources.views import JobView, PodView, parse_time, wire_time

PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
CREDENTIAL_REASONS = ("CreateContainerConfigError",)
REASONS = frozenset(Reason)
USER_CODES = (
    ExitCode.USER_ERROR,
    ExitCode.OUT_OF_MEMORY,
    ExitCode.DIVERGED,
    ExitCode.ADAPTER_UNUSABLE,
)
UNNAMED = (Reason.TRAINER_FAILED, Reason.EVALUATOR_FAILED)
"""Reasons of a program that has no other."""
KILLED = 137
"""128 + SIGKILL, by whomever: also of an eviction, or of a node that was restarted."""
SILENT_SECONDS = 150.0
"""A trainer that can write to the bucket does so every minute at least (its heartbeat)."""


def parse_termination(message: str) -> Failure | None:
    """A pod's termination message, if it is the contract's JSON. Anything else is a log's tail."""
    try:
        return Failure.model_validate(json.loads(message))
    except (ValidationError, ValueError):
        return None


def diagnose_waiting(pods: Sequence[PodView]) -> FailureStatus | None:
    """Why the newest pod can't start, when the kubelet or the scheduler says so."""
    if not pods:
        return None
    pod = pods[-1]
    if pod.waiting_reason in CREDENTIAL_REASONS:
        return FailureStatus.of(
            Reason.CREDENTIALS_NOT_FOUND,
            f"pod {pod.name}: {pod.waiting_message}",
            "Create the Secret or the key that the message names: "
            "spec.artifacts.s3.credentialsSecretRef or the platform's default with "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, spec.baseModel.tokenSecretRef with "
            "HF_TOKEN, spec.tracking with WANDB_API_KEY. The pod then starts automatically.",
            retriable=True,
        )
    if pod.waiting_reason in PULL_REASONS:
        return FailureStatus.of(
            Reason.IMAGE_PULL_FAILED,
            f"pod {pod.name}: {pod.waiting_message or pod.waiting_reason}",
            "Ask the platform team to check images.* of the chart and the imagePullSecrets in this "
            "namespace.",
            user=False,
            retriable=True,
        )
    if pod.unschedulable:
        labels = f" (it needs a node with {pod.node_labels})" if pod.node_labels else ""
        return FailureStatus.of(
            Reason.UNSCHEDULABLE,
            f"pod {pod.name}{labels}: {pod.unschedulable}",
            "Request fewer GPUs, less memory or another gpuProduct in spec.resources, or wait for "
            "a node.",
            retriable=True,
        )
    return None


def diagnose_silence(
    pod: PodView, progress: Progress | None, now: datetime
) -> FailureStatus | None:
    """Why nothing was heard for a while of a pod that runs, since its last word or its start.

    Its heartbeat has a thread of its own, so a trainer that hangs is not silent: that is a stall,
    which the trainer ends itself.
    """
    since = pod.started
    if progress is not None and progress.attempt == pod.uid:
        since = wire_time(progress.updated)
    if since is None or not is_silent(since, now):
        return None
    return silence(
        f"pod {pod.name} is running, but has written no heartbeat to the bucket since {since}"
    )


def is_silent(since: str, now: datetime) -> bool:
    """Whether a running trainer that was last heard of then is missed by now."""
    return (now - parse_time(since)).total_seconds() >= SILENT_SECONDS


def silence(message: str) -> FailureStatus:
    """The bucket is away, for the trainer or for everybody. The run goes on."""
    return FailureStatus.of(
        Reason.STORAGE_UNAVAILABLE,
        message,
        "No action is needed for the run: training continues, startup waits for ten minutes, and "
        "progress and checkpoints are uploaded when the bucket answers. If this lasts, check that "
        "the endpoint of the object store is reachable from the pod's node, and that the node is "
        "healthy.",
        user=False,
        retriable=True,
    )


def diagnose_failed_job(
    job: JobView, pods: Sequence[PodView], report: TrainReport | None
) -> FailureStatus:
    """Why a Job failed: the report in the bucket first, then the pod's last words. A program that
    has no name for its end may have one in the pod's state: memory."""
    ended = [p for p in pods if p.exit_code is not None]
    pod = ended[-1] if ended else None
    exit_code = pod.exit_code if pod else report.exit_code if report else None
    failure = report.failure if report else None
    if failure is None and pod is not None:
        failure = parse_termination(pod.termination_message)
    if failure is not None and failure.reason not in REASONS:
        failure = None
    unnamed = failure is None or failure.reason in UNNAMED
    if pod is not None and pod.out_of_memory and unnamed:
        problem = FailureStatus.of(
            Reason.OUT_OF_MEMORY,
            "the container ran out of memory (OOMKilled)",
            "Raise spec.resources.memory or lower microBatchSize and maxSequenceLength.",
            exit_code=exit_code,
        )
    elif failure is not None:
        problem = FailureStatus.of(
            failure.reason,
            failure.message,
            failure.hint,
            user=exit_code is None or exit_code in USER_CODES,
            exit_code=exit_code,
        )
    elif pod is not None and exit_code == KILLED:
        problem = FailureStatus.of(
            Reason.TRAINER_FAILED,
            _describe_kill(pod),
            f"Check the events of Job {job.name}'s pod and of its node.",
            user=False,
            exit_code=exit_code,
        )
    else:
        words = (pod.termination_message.strip() if pod else "") or job.failed_message
        problem = FailureStatus.of(
            Reason.TRAINER_FAILED,
            words[-800:] or "the trainer exited without a termination message",
            f"Check the logs of Job {job.name}.",
            user=False,
            exit_code=exit_code,
        )
    attempt = pod.uid if pod else report.attempt if report else None
    problem = problem.with_changes(job_uid=job.uid, attempt=attempt)
    if job.failed_reason == "BackoffLimitExceeded":
        return problem.with_changes(
            message=f"{job.failures} attempts failed; the last one: {problem.message}",
            retriable=True,
        )
    return problem


def _describe_kill(pod: PodView) -> str:
    """What is known of a SIGKILL that the kubelet doesn't call OOMKilled."""
    killed = f"the container of pod {pod.name} was killed ({pod.ending})"
    if pod.taken_away:
        return f"{killed}: {pod.taken_away[:400]}"
    words = pod.termination_message.strip()[-400:]
    return f"{killed}; its state doesn't show out of memory{f': {words}' if words else ''}"


def recall_failure(
    told: FailureStatus | None, job: JobView, pods: Sequence[PodView]
) -> FailureStatus | None:
    """What status tells about the failure of this very Job, once the pod that it is from is gone:
    what is left would tell less. None while the pod is there, and of another Job."""
    if told is None or told.job_uid != job.uid or told.attempt is None:
        return None
    return None if any(p.uid == told.attempt for p in pods) else told
