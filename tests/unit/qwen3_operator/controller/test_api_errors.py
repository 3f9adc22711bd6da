"""What each answer of the API server becomes."""

import json

import aiohttp
import pytest

from qwen3_operator.controller.api_errors import classify_exception, classify_response
from qwen3_operator.controller.errors import Conflict, OperatorError, Stalled, Transient


def status(message: str = "", reason: str = "") -> bytes:
    return json.dumps({"kind": "Status", "message": message, "reason": reason}).encode()


@pytest.mark.parametrize(
    ("code", "body", "kind", "reason"),
    [
        (409, status("modified", "Conflict"), Conflict, "Conflict"),
        (422, status("Job is invalid: spec.x", "Invalid"), Stalled, "Invalid"),
        (
            422,
            status("metadata.uid: Invalid value: field is immutable", "Invalid"),
            Conflict,
            "UidMismatch",
        ),
        (400, status("bad", "BadRequest"), Stalled, "BadRequest"),
        (413, b"too large", Stalled, "Invalid"),
        (403, status("cannot create jobs", "Forbidden"), Stalled, "Forbidden"),
        (403, status("exceeded quota: gpus", "Forbidden"), Transient, "QuotaExceeded"),
        (
            403,
            status("unable to create new content in x because it is being terminated"),
            Stalled,
            "NamespaceTerminating",
        ),
        (401, status("Unauthorized", "Unauthorized"), Transient, "Unauthorized"),
        (429, b"", Transient, "Http429"),
        (500, status("etcdserver: request timed out"), Transient, "Http500"),
        (
            500,
            status("failed to create typed patch object: .spec.foo: field not declared"),
            Stalled,
            "Invalid",
        ),
        (503, b"<html>", Transient, "Http503"),
        (504, b"[]", Transient, "Http504"),
    ],
)
def test_each_answer(code: int, body: bytes, kind: type[OperatorError], reason: str) -> None:
    error = classify_response(code, body, {}, "apply jobs/x in team-a")
    assert type(error) is kind
    assert isinstance(error, Stalled | Transient)
    assert error.reason == reason
    assert error.message.startswith("apply jobs/x in team-a: ")


def test_a_missing_right_is_looked_at_again_slowly() -> None:
    error = classify_response(403, status("no", "Forbidden"), {}, "list jobs")
    assert isinstance(error, Stalled)
    assert error.recheck == 300


@pytest.mark.parametrize(
    ("header", "expected"), [("7", 7.0), ("soon", None), (None, None)], ids=str
)
def test_the_server_may_ask_for_patience(header: str | None, expected: float | None) -> None:
    headers = {} if header is None else {"Retry-After": header}
    error = classify_response(429, b"", headers, "list jobs")
    assert isinstance(error, Transient)
    assert error.retry_after == expected


def test_messages_are_bounded() -> None:
    error = classify_response(500, b"x" * 100_000, {}, "list jobs")
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), "ApiTimeout"),
        (aiohttp.ServerDisconnectedError(), "ApiUnreachable"),
        (aiohttp.ClientPayloadError(), "ApiFailure"),
        (ConnectionResetError(), "ApiFailure"),
    ],
)
def test_no_answer(error: Exception, reason: str) -> None:
    assert classify_exception(error, "get jobs/x").reason == reason
