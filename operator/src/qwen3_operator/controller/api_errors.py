"""The one place where an answer of the API server becomes an error of ours.

| Answer | Becomes | Because |
|---|---|---|
| 404 | None, by the client's methods | absence is a fact to decide on, not a failure |
| 409 | Conflict | somebody wrote first, or another manager owns a field |
| 429, 5xx, 401, timeouts, connection errors | Transient | the API server is busy or away |
| 400, 413, 415, 422 | Stalled | the same object will be refused again |
| 403 | Stalled, rechecked slowly | a right is missing; granting it raises no event for us |

Three answers say something else than their status, and are told by their text: a quota (403), a
namesake with another uid (422) and an apply with a field that the schema lacks (500).

401 is transient because the token in the pod is replaced by the kubelet and read again for every
request.
"""

import json
from collections.abc import Mapping

import aiohttp

from qwen3_operator.controller.errors import Conflict, OperatorError, Stalled, Transient

FORBIDDEN_RECHECK_SECONDS = 300.0
_REFUSED = frozenset({400, 413, 415, 422})
_MESSAGE_LIMIT = 800


def classify_response(
    status: int, body: bytes, headers: Mapping[str, str], what: str
) -> OperatorError:
    """The error for an answer with a status of 400 or more, except 404 on a read.

    what: the request in words ("PATCH jobs/x in team-a"), for the message.
    """
    message, reason = _message_and_reason(body)
    text = f"{what}: {message or f'HTTP {status}'}"[:_MESSAGE_LIMIT]
    if status == 409:
        return Conflict(reason or "Conflict", text)
    if status == 422 and "metadata.uid: Invalid value" in message:
        return Conflict("UidMismatch", text)
    if status == 500 and message.startswith("failed to create typed patch object"):
        return Stalled("Invalid", text)
    if status == 403 and "exceeded quota" in message:
        # ResourceQuota answers 403 as well, but room in it comes and goes without anybody's hand.
        return Transient("QuotaExceeded", text)
    if status == 403 and "it is being terminated" in message:
        return Stalled("NamespaceTerminating", text)
    if status == 403:
        return Stalled("Forbidden", text, recheck=FORBIDDEN_RECHECK_SECONDS)
    if status in _REFUSED:
        return Stalled(reason or "Invalid", text)
    if status == 404:
        return Stalled(reason or "NotFound", text, recheck=FORBIDDEN_RECHECK_SECONDS)
    return Transient(reason or f"Http{status}", text, _retry_after(headers))


def classify_exception(error: BaseException, what: str) -> Transient:
    """The error for a request that got no answer."""
    if isinstance(error, TimeoutError):
        return Transient("ApiTimeout", f"{what}: timed out")
    kind = "ApiUnreachable" if isinstance(error, aiohttp.ClientConnectionError) else "ApiFailure"
    return Transient(kind, f"{what}: {error!r}"[:_MESSAGE_LIMIT])


def _message_and_reason(body: bytes) -> tuple[str, str]:
    """`message` and `reason` of a Status object; plain text is its own message."""
    try:
        status = json.loads(body)
    except ValueError:
        return body.decode(errors="replace").strip(), ""
    if not isinstance(status, dict):
        return str(status), ""
    return str(status.get("message") or ""), str(status.get("reason") or "")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None
