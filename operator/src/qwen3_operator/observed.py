"""Frozen views of everything a decision looks at. Missing is None, never an exception.

`gather` code builds these once per reconcile; nothing later reads the cluster or the bucket again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from qwen3_api.job.export import Export
from qwen3_api.job.preflight import Preflight
from qwen3_api.job.report import Commit, Progress, TrainReport
from qwen3_api.job.train import StartAdapter
from qwen3_api.serving.pool import AgentStatus, CurrentAlias
from qwen3_api.v1alpha1.evaluation import EvalSpec, EvalStatus
from qwen3_api.v1alpha1.finetune import FineTuneSpec
from qwen3_api.v1alpha1.finetune_status import FineTuneStatus
from qwen3_api.v1alpha1.resources import ArtifactsSpec

Object = Mapping[str, Any]


def parse_time(text: str) -> datetime:
    """RFC 3339 to an aware datetime."""
    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def wire_time(text: str | None) -> str | None:
    """A time that a pod wrote, as status takes it; None if it is no time at all.

    The API server refuses a whole status over one bad date-time, and pods are tenants'.
    """
    try:
        when = parse_time(text) if text else None
    except (ValueError, OverflowError):
        return None
    # Not strftime: it writes the year 1 as "1".
    return f"{when.replace(tzinfo=None, microsecond=0).isoformat()}Z" if when else None


@dataclass(frozen=True)
class Meta:
    """The part of metadata that decisions need."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool
    finalizers: tuple[str, ...]


def parse_meta(body: Object) -> Meta:
    """Metadata of any custom resource."""
    m = body["metadata"]
    return Meta(
        namespace=m["namespace"],
        name=m["name"],
        uid=m["uid"],
        generation=m.get("generation", 1),
        created=parse_time(m["creationTimestamp"]),
        deleting="deletionTimestamp" in m,
        finalizers=tuple(m.get("finalizers", ())),
    )


@dataclass(frozen=True)
class FineTune:
    """A parsed Qwen3FineTune. `spec` is None when it can't be parsed; then `error` says why."""

    meta: Meta
    spec: FineTuneSpec | None
    status: FineTuneStatus
    error: str = ""
    artifacts: ArtifactsSpec | None = None
    """spec.artifacts, parsed on its own where the whole spec can't be; None if that can't be done
    either."""


@dataclass(frozen=True)
class Evaluation:
    """A parsed Qwen3Eval."""

    meta: Meta
    spec: EvalSpec | None
    status: EvalStatus
    error: str = ""


@dataclass(frozen=True)
class ScheduledRun:
    """A Qwen3Eval that a schedule made."""

    scheduled: datetime
    """The time that it runs for."""
    evaluation: Evaluation


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = "spec" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    # A rule's message begins with the field below the object that it is on.
    return f"{where}{message}" if message.startswith(".") else f"{where}: {message}"


def parse_finetune(body: Object) -> FineTune:
    """A Qwen3FineTune; never raises on a bad spec (it may be older than a rule)."""
    status = FineTuneStatus.model_validate(body.get("status") or {})
    try:
        spec = FineTuneSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return FineTune(parse_meta(body), None, status, _explain(error), _parse_artifacts(body))
    return FineTune(parse_meta(body), spec, status, artifacts=spec.artifacts)


def _parse_artifacts(body: Object) -> ArtifactsSpec | None:
    spec = body.get("spec")
    if not isinstance(spec, Mapping):
        return None
    try:
        return ArtifactsSpec.model_validate(spec.get("artifacts", {}))
    except ValidationError:
        return None


def parse_evaluation(body: Object) -> Evaluation:
    """A Qwen3Eval; never raises on a bad spec."""
    status = EvalStatus.model_validate(body.get("status") or {})
    try:
        spec = EvalSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return Evaluation(parse_meta(body), None, status, _explain(error))
    return Evaluation(parse_meta(body), spec, status)


def parse_run(body: Object) -> ScheduledRun | None:
    """A run of a schedule; None if it doesn't say for which time."""
    told = (body["metadata"].get("annotations") or {}).get("qwen3.dev/scheduled-time")
    try:
        scheduled = parse_time(told) if told else None
    except ValueError:
        scheduled = None
    return ScheduledRun(scheduled, parse_evaluation(body)) if scheduled is not None else None


@dataclass(frozen=True)
class PodView:
    """A pod of a Job."""

    name: str
    uid: str
    phase: str
    created: datetime
    deleting: bool
    exit_code: int | None
    termination_message: str
    waiting_reason: str
    """Why the container waits (ErrImagePull, CreateContainerConfigError, …), or ""."""
    waiting_message: str
    unschedulable: str
    """Message of PodScheduled=False, or ""."""
    node_labels: str = ""
    """Those that its node must have, as `name=value, …`."""
    started: str | None = None
    """When its container, which runs, was started."""
    ended_reason: str = ""
    """What the kubelet calls the end of its container: Completed, Error, OOMKilled, …"""
    taken_away: str = ""
    """Why the cluster ended the pod (eviction, preemption, shutdown of its node), or ""."""

    @property
    def out_of_memory(self) -> bool:
        """The kubelet saw the kernel's out-of-memory killer in its container."""
        return self.ended_reason == "OOMKilled"

    @property
    def ending(self) -> str:
        """How its container ended, in words."""
        plain = self.ended_reason in ("", "Completed", "Error")
        return f"code {self.exit_code}{'' if plain else f' ({self.ended_reason})'}"

    @property
    def running(self) -> bool:
        """The container runs."""
        return self.phase == "Running"

    @property
    def live(self) -> bool:
        """It runs or may yet run, be it in its grace period."""
        return self.phase not in ("Succeeded", "Failed")


def parse_pod(body: Object) -> PodView:
    """A pod of a Job, by its first container."""
    status = body.get("status", {})
    statuses = status.get("containerStatuses") or [{}]
    state = statuses[0].get("state", {})
    terminated, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    conditions: list[Object] = status.get("conditions", [])
    scheduled: Object = next((c for c in conditions if c["type"] == "PodScheduled"), {})
    disrupted: Object = next(
        (c for c in conditions if (c["type"], c.get("status")) == ("DisruptionTarget", "True")), {}
    )
    # Eviction and shutdown of the node are in the status itself, other reasons in the condition.
    taken = status if status.get("reason") else disrupted
    return PodView(
        name=body["metadata"]["name"],
        uid=body["metadata"]["uid"],
        phase=status.get("phase", "Pending"),
        created=parse_time(body["metadata"]["creationTimestamp"]),
        deleting="deletionTimestamp" in body["metadata"],
        exit_code=terminated.get("exitCode"),
        termination_message=terminated.get("message", ""),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        unschedulable=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        node_labels=", ".join(
            f"{name}={value}"
            for name, value in (body.get("spec", {}).get("nodeSelector") or {}).items()
        ),
        started=(state.get("running") or {}).get("startedAt"),
        ended_reason=terminated.get("reason", ""),
        taken_away=": ".join(w for w in (taken.get("reason"), taken.get("message")) if w),
    )


@dataclass(frozen=True)
class JobView:
    """A batch/v1 Job."""

    name: str
    uid: str
    owner_uid: str
    """uid of the custom resource that controls it; "" if none does."""
    revision: str
    suspended: bool
    parked: bool
    """We suspended it, because of spec.suspend."""
    complete: bool
    failed: bool
    failed_reason: str
    """Reason of the Failed condition: PodFailurePolicy, BackoffLimitExceeded, DeadlineExceeded."""
    failed_message: str
    failures: int
    """Counted failures (status.failed)."""
    start_time: str | None
    ttl: int | None
    deleting: bool
    resources: str = ""
    """`resources_digest` of the spec that it was made for; "" if it doesn't say."""
    created: datetime | None = None
    checks: str = ""
    """`checks_digest` of the spec that a preflight was made for."""
    export: str = ""
    """`export_digest` of the spec that an export was made for."""

    @property
    def finished(self) -> bool:
        """It will start no more pods."""
        return self.complete or self.failed


def controller_uid(body: Object) -> str:
    """uid of the object that controls this one; "" if none does."""
    owners: list[Object] = body["metadata"].get("ownerReferences") or []
    return next((o["uid"] for o in owners if o.get("controller")), "")


def parse_job(body: Object) -> JobView:
    """A Job by its own conditions: FailureTarget and SuccessCriteriaMet are not ends yet."""
    status = body.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions", ()) if c["status"] == "True"}
    failed = conditions.get("Failed", {})
    return JobView(
        name=body["metadata"]["name"],
        uid=body["metadata"]["uid"],
        owner_uid=controller_uid(body),
        revision=body["metadata"].get("labels", {}).get("qwen3.dev/revision", ""),
        suspended=bool(body["spec"].get("suspend")),
        parked="qwen3.dev/parked" in body["metadata"].get("annotations", {}),
        complete="Complete" in conditions,
        failed="Failed" in conditions,
        failed_reason=failed.get("reason", ""),
        failed_message=failed.get("message", ""),
        failures=status.get("failed", 0),
        start_time=status.get("startTime"),
        ttl=body["spec"].get("ttlSecondsAfterFinished"),
        deleting="deletionTimestamp" in body["metadata"],
        resources=body["metadata"].get("annotations", {}).get("qwen3.dev/resources", ""),
        created=parse_time(body["metadata"]["creationTimestamp"])
        if "creationTimestamp" in body["metadata"]
        else None,
        checks=body["metadata"].get("annotations", {}).get("qwen3.dev/checks", ""),
        export=body["metadata"].get("annotations", {}).get("qwen3.dev/export", ""),
    )


@dataclass(frozen=True)
class Problem:
    """Something that stops an object, in the vocabulary of the API."""

    reason: str
    message: str
    hint: str = ""
    user: bool = True
    exit_code: int | None = None
    retriable: bool = False
    job_uid: str | None = None
    """The Job that failed."""
    attempt: str | None = None
    """The pod that told why."""
    reported: bool = False
    """It left a report.json."""

    @property
    def told(self) -> str:
        """What happened, and what to do about it where that is known."""
        return f"{self.message}. {self.hint}" if self.hint else self.message


@dataclass(frozen=True)
class PoolPod:
    """A pod of a serving pool and what its sidecar says. `agent` is None if it didn't answer."""

    name: str
    ready: bool
    agent: AgentStatus | None


@dataclass(frozen=True)
class PoolView:
    """A serving pool as seen from one fine-tune."""

    name: str
    exists: bool
    desired_replicas: int
    pods: tuple[PoolPod, ...] = ()
    trouble: Problem | None = None
    """Why its pods can't start, if the kubelet or the scheduler says so."""


@dataclass(frozen=True)
class Alias:
    """The pointer behind a public name, with the ETag that a compare-and-swap needs."""

    current: CurrentAlias | None
    """None: what lies there is no pointer; the next promotion overwrites it."""
    etag: str


@dataclass(frozen=True)
class Observed:
    """The world around one fine-tune."""

    job: JobView | None = None
    """The Job of the current revision."""
    other_jobs: tuple[JobView, ...] = ()
    """Jobs of other revisions."""
    pods: tuple[PodView, ...] = ()
    """Pods of the current Job, oldest first."""
    preflight_job: JobView | None = None
    """The preflight Job of the current revision."""
    preflight_pods: tuple[PodView, ...] = ()
    """Its pods, oldest first."""
    preflight: Preflight | None = None
    """preflight.json of the current revision."""
    start: StartAdapter | Problem | None = None
    """The adapter that spec.adapter.from names, or why there is none."""
    export_job: JobView | None = None
    """The export Job of the current revision."""
    export_pods: tuple[PodView, ...] = ()
    """Its pods, oldest first."""
    exports: tuple[Export, ...] = ()
    """Artifacts of the current revision that are asked for and complete."""
    export_problem: Problem | None = None
    """An EXPORT.json that isn't what the contract says."""
    commit: Commit | None = None
    verified: bool = False
    """The commit's files were all found as it says."""
    artifact_problem: Problem | None = None
    """What is wrong with the committed files."""
    storage_problem: Problem | None = None
    """The bucket can't be used; nothing else about it is known then."""
    progress: Progress | None = None
    """Of the newest pod that wrote any."""
    report: TrainReport | None = None
    """Of the newest finished pod."""
    alias: Alias | None = None
    rollback: Commit | Problem | None = None
    """The verified commit of promotion.rollbackTo, or why there is none."""
    evaluation: Evaluation | None = None
    """The fine-tune's own Qwen3Eval that decides about its current revision."""
    other_evaluations: tuple[Evaluation, ...] = ()
    """Its others, of other revisions or questions."""
    alias_owner: str | None = None
    """Name of another fine-tune that has the older claim on the public name."""
    pool: PoolView | None = None
