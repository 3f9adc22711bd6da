"""An unexpected failure, reported in the status of its own object.

The failure may come from anywhere between reading the object and writing it, so nothing of that is
used here: the stored status is taken as it is, and only its summary is replaced.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.failure import FailureClass, FailureStatus
from qwen3_operator.context import Context, reference
from qwen3_operator.controller.errors import OperatorError
from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.controller.reconciler import incident_of
from qwen3_operator.resources import keys
from qwen3_operator.resources.conditions import format_time
from qwen3_operator.resources.kinds import EVALUATION, FINE_TUNE

logger = get_logger(__name__)
KINDS = {keys.FINE_TUNE: FINE_TUNE, keys.EVAL: EVALUATION}
"""Keys that have a status of their own. A pool has none: its failure is in the log and a metric."""
HINT = (
    "Nothing that runs or serves was changed, and the operator retries. Give this id to the "
    "platform team: the operator's log has it, with the cause."
)


async def report_incident(ctx: Context, key: Key, error: Exception) -> None:
    """Writes the incident into the object's status, once for each incident.

    Raises:
        NotLeader: the lease is lost.
    """
    kind = KINDS.get(key.kind)
    body = ctx.cache.get(kind, key.namespace, key.name) if kind is not None else None
    if body is None:
        return
    status = with_incident(body, incident_of(key, error), ctx.now())
    if status == body.get("status"):
        return
    try:
        await ctx.client.apply_status(reference(body) | {"status": status})
    except OperatorError as refused:
        # The next retry writes it; the traceback is logged in any case.
        logger.warning("incident not reported", extra={"error": str(refused)})


def with_incident(body: Mapping[str, Any], incident: str, now: datetime) -> dict[str, Any]:
    """The stored status with Ready and Stalled of this incident; the rest as it is, but for
    Reconciling, which Stalled excludes."""
    status = dict(body.get("status") or {})
    generation = body["metadata"].get("generation", 1)
    message = f"internal error {incident}. {HINT}"
    before = {c["type"]: c for c in status.get("conditions", ())}
    kept = {type_: c for type_, c in before.items() if type_ != ConditionType.RECONCILING}
    for type_, value in ((ConditionType.READY, "False"), (ConditionType.STALLED, "True")):
        known = before.get(type_, {})
        since = known.get("lastTransitionTime") if known.get("status") == value else None
        kept[type_] = {
            "type": str(type_),
            "status": value,
            "observedGeneration": generation,
            "lastTransitionTime": since or format_time(now),
            "reason": str(Reason.INTERNAL_ERROR),
            "message": message,
        }
    failure = FailureStatus(
        reason=str(Reason.INTERNAL_ERROR),
        failure_class=FailureClass.SYSTEM,
        message=f"internal error {incident}",
        hint=HINT,
        retriable=True,
    )
    return status | {
        "observedGeneration": generation,
        "stage": str(Reason.INTERNAL_ERROR),
        "conditions": sorted(kept.values(), key=lambda c: (c["type"] != "Ready", c["type"])),
        "failure": failure.to_wire(),
    }
