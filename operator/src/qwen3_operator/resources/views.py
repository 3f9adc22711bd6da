"""Frozen views of the objects that decisions read. Missing is None, never an exception."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

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


Status = TypeVar("Status", bound=BaseModel)


def salvage(model: type[Status], wire: object, fields: Sequence[str]) -> Status:
    """The part of a stored status that can be read: of these fields, each on its own."""
    found: dict[str, Any] = {}
    if not isinstance(wire, Mapping):
        return model()
    for name in fields:
        one = {name: wire[name]} if name in wire else {}
        try:
            model.model_validate(one)
        except ValidationError:
            continue
        found |= one
    return model.model_validate(found)


def explain_invalid(error: ValidationError) -> str:
    first = error.errors()[0]
    where = "spec" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    # A rule's message begins with the field below the object that it is on.
    return f"{where}{message}" if message.startswith(".") else f"{where}: {message}"


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
